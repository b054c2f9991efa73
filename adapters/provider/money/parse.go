package money

import (
	"errors"
	"math"
	"strings"
)

// What can be wrong with a sum. The texts are rules, fit for the errors of a field.
var (
	ErrSyntax   = errors.New("must be a number")
	ErrNegative = errors.New("must not be negative")
	ErrExponent = errors.New("must have no exponent")
	ErrWhole    = errors.New("must be a whole number of minor units")
	ErrDecimals = errors.New("must have at most two decimals")
	ErrRange    = errors.New("is too large")
)

// minorPerMajor is how many minor units a major unit has, in every currency that
// we meet in decimals.
const minorPerMajor = 100

// ParseMinor reads a whole number of minor units, as "12000".
func ParseMinor(text string) (int64, error) {
	whole, decimals, hasPoint, err := split(text)
	switch {
	case err != nil:
		return 0, err
	case hasPoint || decimals != "":
		return 0, ErrWhole
	}
	return digits(whole)
}

// ParseDecimal reads major units with at most two decimals after a point, as
// "120", "120.5" or "120.50", which are 12000, 12050 and 12050 minor units.
func ParseDecimal(text string) (int64, error) {
	whole, decimals, hasPoint, err := split(text)
	switch {
	case err != nil:
		return 0, err
	case hasPoint && decimals == "":
		return 0, ErrSyntax
	case len(decimals) > 2:
		return 0, ErrDecimals
	}
	major, err := digits(whole)
	if err != nil {
		return 0, err
	}
	minor, err := digits((decimals + "00")[:2])
	if err != nil {
		return 0, err
	}
	if major > (math.MaxInt64-minor)/minorPerMajor {
		return 0, ErrRange
	}
	return major*minorPerMajor + minor, nil
}

// split takes text apart at its point, and refuses signs and exponents.
func split(text string) (whole, decimals string, hasPoint bool, err error) {
	if strings.HasPrefix(text, "-") {
		return "", "", false, ErrNegative
	}
	if len(text) > 1 && strings.ContainsAny(text[1:], "eE") {
		return "", "", false, ErrExponent
	}
	whole, decimals, hasPoint = strings.Cut(text, ".")
	if whole == "" || !allDigits(whole) || !allDigits(decimals) {
		return "", "", false, ErrSyntax
	}
	return whole, decimals, hasPoint, nil
}

// digits is the value of a text of digits.
func digits(s string) (int64, error) {
	var n int64
	for _, c := range []byte(s) {
		d := int64(c - '0')
		if n > (math.MaxInt64-d)/10 {
			return 0, ErrRange
		}
		n = n*10 + d
	}
	return n, nil
}

func allDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
