package iset

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/strictjson"
	"comanda.internal/domain"
)

// Config are the settings; the zero value works, see [FieldMap].
type Config struct {
	Fields FieldMap `yaml:"fields"`
	// Statuses maps the shop's status, as text, to a kind of fact, with the
	// phase of a pending or the reason of a cancelled, expired or refused after
	// a colon: "approved", "pending:in_analysis", "cancelled:void".
	Statuses map[string]string `yaml:"statuses"`
	// Zone is that of dates which name none; "" is America/Sao_Paulo.
	Zone string `yaml:"zone"`
	// Money is how sums are written: "minor" (centavos, a whole number) or
	// "decimal" (reais). It has no default: required when a sum is mapped.
	Money string `yaml:"money"`
}

// FieldMap are JSON pointers (RFC 6901) to the fields of a body, as
// "/order/customer/email", whose last part names a member of an object. "" is
// not mapped; OrderID is then "/id".
type FieldMap struct {
	OrderID   string `yaml:"order_id"`
	Reference string `yaml:"reference"`
	Status    string `yaml:"status"`
	StatusAt  string `yaml:"status_at"`  // since when the order has its status
	CreatedAt string `yaml:"created_at"` // dates started, abandoned and pending
	RemovedAt string `yaml:"removed_at"`
	Total     string `yaml:"total"`
	Freight   string `yaml:"freight"`
	Discount  string `yaml:"discount"`
	Method    string `yaml:"method"`
	Name      string `yaml:"name"`
	Email     string `yaml:"email"`
	Phone     string `yaml:"phone"`
	Document  string `yaml:"document"`
}

// How sums may be written.
const (
	moneyMinor   = "minor"
	moneyDecimal = "decimal"
)

const defaultOrderID = "/id"

// setDefaults fills what is empty and has a default.
func (c *Config) setDefaults() {
	if c.Fields.OrderID == "" {
		c.Fields.OrderID = defaultOrderID
	}
}

// Validate reports every mistake of c, joined.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// compile is the codec of c and every mistake of c.
func (c Config) compile() (*Codec, []error) {
	c.setDefaults()
	codec := &Codec{fields: c.Fields, statuses: make(map[string]meaning, len(c.Statuses)), decimal: c.Money == moneyDecimal}
	mistakes := c.Fields.mistakes()
	for _, status := range slices.Sorted(maps.Keys(c.Statuses)) {
		m, err := parseMeaning(c.Statuses[status])
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("statuses: %q: %w", status, err))
		}
		codec.statuses[status] = m
	}
	switch mapped := c.Fields.Status != ""; {
	case mapped && len(c.Statuses) == 0:
		mistakes = append(mistakes, errors.New("statuses: say what the values of fields.status mean"))
	case !mapped && len(c.Statuses) > 0:
		mistakes = append(mistakes, errors.New("fields.status: say where the status stands, for the map in statuses"))
	case !mapped && c.Fields.StatusAt != "":
		mistakes = append(mistakes, errors.New("fields.status_at: needs fields.status"))
	}
	sums := c.Fields.Total + c.Fields.Freight + c.Fields.Discount
	if c.Money != moneyMinor && c.Money != moneyDecimal && (c.Money != "" || sums != "") {
		mistakes = append(mistakes, fmt.Errorf("money %q: say how sums are written, %q or %q", c.Money, moneyMinor, moneyDecimal))
	}
	codec.zone = brazil.Brasilia()
	if c.Zone != "" {
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("zone %q: write a name of the IANA time zone database", c.Zone))
		}
		codec.zone = zone
	}
	return codec, mistakes
}

// mistakes are the pointers of f that are none.
func (f FieldMap) mistakes() []error {
	var mistakes []error
	for _, field := range []struct{ name, pointer string }{
		{"order_id", f.OrderID},
		{"reference", f.Reference},
		{"status", f.Status},
		{"status_at", f.StatusAt},
		{"created_at", f.CreatedAt},
		{"removed_at", f.RemovedAt},
		{"total", f.Total},
		{"freight", f.Freight},
		{"discount", f.Discount},
		{"method", f.Method},
		{"name", f.Name},
		{"email", f.Email},
		{"phone", f.Phone},
		{"document", f.Document},
	} {
		if !strictjson.ValidPointer(field.pointer) {
			mistakes = append(mistakes, fmt.Errorf("fields.%s %q: write a JSON pointer, as \"/order/id\"", field.name, field.pointer))
		}
	}
	return mistakes
}

// meaning is what a status of the shop says.
type meaning struct {
	kind   domain.Kind
	phase  string
	reason domain.Reason
}

// parseMeaning reads a value of the status map.
func parseMeaning(text string) (meaning, error) {
	word, more, has := strings.Cut(text, ":")
	kind, ok := domain.ParseKind(word)
	switch {
	case !ok || !kind.Moves() && kind != domain.KindDetails:
		return meaning{}, fmt.Errorf("%q: not a kind of fact that a snapshot can be", word)
	case !has:
		return meaning{kind: kind}, nil
	case kind == domain.KindPending && provider.IsPhase(more):
		return meaning{kind: kind, phase: more}, nil
	case kind == domain.KindPending:
		return meaning{}, fmt.Errorf("%q: not a phase of pending: %s", more, strings.Join(provider.Phases(), ", "))
	case kind != domain.KindCancelled && kind != domain.KindExpired && kind != domain.KindRefused:
		return meaning{}, fmt.Errorf("%q: only pending has a phase, and only cancelled, expired and refused a reason", text)
	case !provider.IsWord(more):
		return meaning{}, fmt.Errorf("%q: a reason is a short word in lower case", more)
	default:
		return meaning{kind: kind, reason: domain.Reason(more)}, nil
	}
}
