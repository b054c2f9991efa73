package fields

import (
	"strconv"
	"strings"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/money"
	"comanda.internal/adapters/provider/strictjson"
	"comanda.internal/domain"
)

// Lengths in bytes.
const (
	maxID   = 256  // identities, references, keys
	maxText = 1024 // names, streets, titles
	maxLong = 4096 // URLs, Pix codes
	maxName = 64   // names of free members
	maxWord = 64   // short words that stay in the clear
)

// Status is the required text of a status: text that is not empty, or the
// digits of a whole number. "" after an error.
func (o Object) Status(name string) string { return o.required(name) }

// ID is a required identity: text, or the digits of a whole number. "" after an error.
func (o Object) ID(name string) string { return o.required(name) }

// OptionalID is an identity that may be missing or blank, which is ""; of the
// wrong type it is an error all the same.
func (o Object) OptionalID(name string) string {
	v := o.value.Get(name)
	if v.Missing() || v.Kind() == strictjson.String && strings.TrimSpace(v.Text()) == "" {
		return ""
	}
	return o.required(name)
}

func (o Object) required(name string) string {
	v := o.value.Get(name)
	text, ok := scalarText(v)
	switch {
	case v.Missing():
		o.Fail(name, ruleRequired)
	case !ok:
		o.Fail(name, ruleText)
	case v.Kind() == strictjson.Number && !wholeNumber(text):
		o.Fail(name, ruleWhole)
	case strings.TrimSpace(text) == "":
		o.Fail(name, ruleRequired)
	case len(text) > maxID:
		o.Fail(name, ruleLong)
	case hasControl(text):
		o.Fail(name, ruleControl)
	default:
		return text
	}
	return ""
}

// Text is optional text without surrounding space. A number is its digits:
// platforms write house numbers and postal codes both ways.
func (o Object) Text(name string) string { return o.text(name, maxText) }

// Long is optional text of up to 4,096 bytes, as a URL or a Pix code.
func (o Object) Long(name string) string { return o.text(name, maxLong) }

// Reference is an optional identity: text of at most 256 bytes without control characters.
func (o Object) Reference(name string) string {
	text := o.text(name, maxID)
	if hasControl(text) {
		o.Warn(name, ruleControl)
		return ""
	}
	return text
}

func (o Object) text(name string, limit int) string {
	v := o.value.Get(name)
	if v.Missing() {
		return ""
	}
	text, ok := scalarText(v)
	switch text = strings.TrimSpace(text); {
	case !ok:
		o.Warn(name, ruleText)
	case len(text) > limit:
		o.Warn(name, ruleLong)
	default:
		return text
	}
	return ""
}

// Detail is a platform's own short words that stay in the clear, as
// "insufficient funds": what could hold an address or a number of a person is left out.
func (o Object) Detail(name string) string {
	text := o.text(name, maxText)
	if len(text) > maxWord || strings.ContainsRune(text, '@') || hasControl(text) || countDigits(text) > 5 {
		o.Warn(name, ruleNotInClear)
		return ""
	}
	return text
}

// Word is an optional code word of [provider.IsWord], in lower case.
func (o Object) Word(name string) string {
	text := strings.ToLower(o.text(name, maxWord))
	if text != "" && !provider.IsWord(text) {
		o.Warn(name, ruleNotInClear)
		return ""
	}
	return text
}

// Method is our word for the payment method in the field of this name.
func (o Object) Method(name string) string {
	text := o.text(name, maxWord)
	if text == "" {
		return ""
	}
	method, ok := provider.Method(text)
	if !ok {
		o.Warn(name, ruleNotInClear)
		return ""
	}
	return method
}

// Integer is an optional whole number that is not negative; false when there is
// none or, with a warning, when it is not one.
func (o Object) Integer(name string) (int64, bool) {
	v := o.value.Get(name)
	if v.Missing() {
		return 0, false
	}
	n, rule := integer(v)
	if rule != "" {
		o.Warn(name, rule)
		return 0, false
	}
	return n, true
}

// RequiredInteger is a whole number that is not negative; false after an error.
func (o Object) RequiredInteger(name string) (int64, bool) {
	v := o.value.Get(name)
	if v.Missing() {
		o.Fail(name, ruleRequired)
		return 0, false
	}
	n, rule := integer(v)
	if rule != "" {
		o.Fail(name, rule)
		return 0, false
	}
	return n, true
}

func integer(v strictjson.Value) (n int64, rule string) {
	text := v.Text()
	if v.Kind() != strictjson.Number || !wholeNumber(text) {
		return 0, ruleWhole
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, ruleRange
	}
	return n, ""
}

// Minor is an optional sum in whole minor units, which must be a JSON number.
// Anything else is an error: a wrong sum is worse than a message in quarantine.
func (o Object) Minor(name string) domain.Amount {
	v := o.value.Get(name)
	switch {
	case v.Missing():
		return domain.Amount{}
	case v.Kind() != strictjson.Number:
		o.Fail(name, money.ErrSyntax.Error())
		return domain.Amount{}
	}
	return o.amount(name, v.Text(), money.ParseMinor)
}

// Decimal is an optional sum in major units with at most two decimals, as a JSON
// number or as text. Anything else is an error.
func (o Object) Decimal(name string) domain.Amount {
	v := o.value.Get(name)
	if v.Missing() {
		return domain.Amount{}
	}
	text, ok := scalarText(v)
	if !ok {
		o.Fail(name, money.ErrSyntax.Error())
		return domain.Amount{}
	}
	return o.amount(name, text, money.ParseDecimal)
}

func (o Object) amount(name, text string, parse func(string) (int64, error)) domain.Amount {
	n, err := parse(text)
	if err != nil {
		o.Fail(name, err.Error())
		return domain.Amount{}
	}
	return domain.Minor(n)
}

// Currency is an optional ISO 4217 code in any case.
func (o Object) Currency(name string) string {
	code := strings.ToUpper(o.text(name, maxWord))
	if code == "" {
		return ""
	}
	if len(code) != 3 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		o.Warn(name, "must be an ISO 4217 code")
		return ""
	}
	return code
}

// Date is a moment in UTC and the text it was read from; the zero Date is none.
type Date struct {
	At   time.Time
	Text string
}

// Years that a date of an order can have: outside of them it is a mistake, as the
// zero of a clock (1970, 1900, 1) in place of null, and not every store could hold it.
const firstYear, lastYear = 2000, 2200

// Other zones of ISO 8601: as PHP's DATE_ISO8601 writes them, and whole hours alone.
const (
	isoWithoutColon = "2006-01-02T15:04:05Z0700"
	isoHoursOnly    = "2006-01-02T15:04:05Z07"
)

// Date is an optional moment in ISO 8601 with its zone. zone is that of times
// which name none, as "2006-01-02 15:04:05"; nil refuses them.
func (o Object) Date(name string, zone *time.Location) Date {
	text := o.text(name, maxWord)
	if text == "" {
		return Date{}
	}
	at, ok := parseTime(text, zone)
	switch {
	case !ok:
		o.Warn(name, "must be a date and time")
		return Date{}
	case at.Year() < firstYear || at.Year() > lastYear:
		o.Warn(name, ruleRange)
		return Date{}
	}
	return Date{At: at, Text: text}
}

// The forms of a moment, the most frequent first: with its zone, and without.
var (
	zoned    = []string{time.RFC3339, isoWithoutColon, isoHoursOnly, "2006-01-02 15:04:05Z07:00"}
	zoneless = []string{time.DateTime, "2006-01-02T15:04:05"}
)

func parseTime(text string, zone *time.Location) (time.Time, bool) {
	if zone != nil {
		for _, layout := range zoneless {
			if wall, err := time.Parse(layout, text); err == nil {
				return clockOf(wall, zone), true
			}
		}
	}
	for _, layout := range zoned {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// clockOf is the moment at which a clock of zone shows what wall shows in UTC. An
// hour that comes twice, when summer time ends, is the first; one that is left
// out, when it begins, counts from before, as in RFC 5545: time.Date would put it
// an hour back, before moments that clocks of the zone showed earlier.
func clockOf(wall time.Time, zone *time.Location) time.Time {
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	if _, offset := at.Zone(); at.Add(time.Duration(offset) * time.Second).Equal(wall) {
		return at.UTC()
	}
	_, before := wall.AddDate(0, 0, -1).In(zone).Zone()
	return wall.Add(-time.Duration(before) * time.Second)
}

// scalarText is the text of a string or number.
func scalarText(v strictjson.Value) (string, bool) {
	return v.Text(), v.Kind() == strictjson.String || v.Kind() == strictjson.Number
}

func wholeNumber(text string) bool {
	return strings.Trim(strings.TrimPrefix(text, "-"), "0123456789") == ""
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func countDigits(s string) int {
	n := 0
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' {
			n++
		}
	}
	return n
}
