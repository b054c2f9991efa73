package intake_test

import (
	"strings"
	"testing"

	"comanda.internal/adapters/intake"
)

func TestValidTraceparent(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for value, want := range map[string]bool{
		"00-" + trace + "-" + parent + "-01":                              true,
		"00-" + trace + "-" + parent + "-00":                              true,
		"cc-" + trace + "-" + parent + "-01":                              true,  // a later version
		"cc-" + trace + "-" + parent + "-01-what-the-future-will-be-like": true,  // with more to say
		"cc-" + trace + "-" + parent + "-01.what":                         false, // but not like this
		"00-" + trace + "-" + parent + "-01-more":                         false, // version 00 ends here
		"ff-" + trace + "-" + parent + "-01":                              false, // forbidden
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":            false, // no trace
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":             false, // no parent
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":             false, // lower case only
		"00-" + trace + "-" + parent + "-0":                               false, // cut short
		"00-" + trace + "-" + parent + "-0g":                              false, // no hex
		"00_" + trace + "-" + parent + "-01":                              false, // no hyphen
		"":                                                                false,
		"cc-" + trace + "-" + parent + "-01-" + strings.Repeat("a", 1000): false, // endless
	} {
		if got := intake.ValidTraceparent(value); got != want {
			t.Errorf("ValidTraceparent(%q) = %t, want %t", value, got, want)
		}
	}
}

func TestValidRequestID(t *testing.T) {
	for value, want := range map[string]bool{
		"a":                      true,
		"0HM8U2U27H831:00000001": true,
		"7f1c.b_2-3":             true,
		strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false,
		"":                       false,
		"with space":             false,
		"new\nline":              false,
		"josé":                   false,
		"a@example.com":          false,
	} {
		if got := intake.ValidRequestID(value); got != want {
			t.Errorf("ValidRequestID(%q) = %t, want %t", value, got, want)
		}
	}
}

func TestSanitizeSource(t *testing.T) {
	for token, want := range map[string]string{
		"loja-aprovei":           "loja-aprovei",
		"LOJA_Aprovei":           "loja-aprovei",
		"joão@x":                 "jo-o-x",
		"\xff\xfe":               "unknown",
		"":                       "unknown",
		"***":                    "unknown",
		strings.Repeat("ab", 40): strings.Repeat("ab", 20),
	} {
		got := intake.SanitizeSource(token)
		if string(got) != want || !got.Valid() {
			t.Errorf("SanitizeSource(%q) = %q, want %q, valid", token, got, want)
		}
	}
}
