package brazil

import "strings"

// PostalCode normalises a CEP to its 8 digits; false when it has not 8.
func PostalCode(text string) (string, bool) {
	code := onlyDigits(text, "-. ")
	return code, len(code) == 8
}

// Lengths of numbers, in digits.
const (
	e164Min, e164Max = 8, 15
	landline         = 10 // area code and 8 digits
	mobile           = 11 // area code, 9 and 8 digits
)

// Phone makes an E.164 number of text, as "+5511999999999"; false when it cannot.
// A number of Brazil in its national form, area code and all, gets the country
// code. No digit is ever put inside a number: a mobile without its ninth digit
// keeps lacking it.
func Phone(text string) (string, bool) {
	text = strings.TrimSpace(text)
	international := strings.HasPrefix(text, "+")
	digits := onlyDigits(strings.TrimPrefix(text, "+"), "()-. ")
	switch {
	case digits == "" || digits[0] == '0' || len(digits) > e164Max:
		return "", false
	case international:
		return "+" + digits, len(digits) >= e164Min
	case national(digits):
		return "+55" + digits, true
	case strings.HasPrefix(digits, "55") && national(digits[2:]):
		return "+" + digits, true
	default:
		return "", false
	}
}

// national reports whether digits are an area code (none has a zero) and a
// number of 8 digits that starts with 2 to 5, or of 9 that starts with 9.
func national(digits string) bool {
	if len(digits) < landline || digits[0] == '0' || digits[1] == '0' {
		return false
	}
	switch first := digits[2]; len(digits) {
	case landline:
		return first >= '2' && first <= '5'
	case mobile:
		return first == '9'
	default:
		return false
	}
}

// onlyDigits is s without the bytes of skip; "" when anything but digits is left.
func onlyDigits(s, skip string) string {
	out := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9':
			out = append(out, c)
		case strings.IndexByte(skip, c) < 0:
			return ""
		}
	}
	return string(out)
}

// Country is the ISO 3166-1 alpha-2 code of a country as the platforms write
// it: two letters in any case, or the name of Brazil; false when it is neither.
func Country(text string) (string, bool) {
	switch code := strings.ToUpper(strings.TrimSpace(text)); {
	case code == "BRASIL" || code == "BRAZIL" || code == "BRA":
		return "BR", true
	case len(code) == 2 && charset(code, true) && code[0] > '9' && code[1] > '9':
		return code, true
	default:
		return "", false
	}
}
