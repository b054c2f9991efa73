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

func TestTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	long := "l=" + strings.Repeat("v", 150)
	shorts := "a=" + strings.Repeat("1", 118) + ",b=" + strings.Repeat("2", 118) + ",c=" + strings.Repeat("3", 118) + ",d=" + strings.Repeat("4", 118)
	many := make([]string, 32)
	for n := range many {
		many[n] = string(rune('a'+n%26)) + strings.Repeat("z", n/26) + "=1"
	}
	for name, c := range map[string]struct {
		states []string
		want   string
	}{
		"none":                      {nil, ""},
		"one":                       {[]string{"rojo=00f067aa0ba902b7"}, "rojo=00f067aa0ba902b7"},
		"a tenant's":                {[]string{"0tenant*/_-@sys=v"}, "0tenant*/_-@sys=v"},
		"several headers are one":   {[]string{"rojo=1,congo=t 6", "z=!~"}, "rojo=1,congo=t 6,z=!~"},
		"spaces and empty members":  {[]string{" rojo=1 ,,\tcongo=2", ""}, "rojo=1,congo=2"},
		"as many as there may be":   {[]string{strings.Join(many, ",")}, strings.Join(many, ",")},
		"one more":                  {[]string{strings.Join(many, ",") + ",more=1"}, ""},
		"a key twice":               {[]string{"rojo=1", "rojo=2"}, ""},
		"no value":                  {[]string{"rojo=1,congo="}, ""},
		"no key":                    {[]string{"=1"}, ""},
		"two equals signs":          {[]string{"rojo=1=2"}, ""},
		"upper case":                {[]string{"Rojo=1"}, ""},
		"a line":                    {[]string{"rojo=1\r\nx: y"}, ""},
		"not ASCII":                 {[]string{"rojo=é"}, ""},
		"a value that is too long":  {[]string{"rojo=" + strings.Repeat("v", 257)}, ""},
		"512 characters":            {[]string{shorts + ",e=" + strings.Repeat("5", 26)}, shorts + ",e=" + strings.Repeat("5", 26)},
		"one more than 512":         {[]string{shorts + ",e=" + strings.Repeat("5", 27)}, shorts},
		"a long member goes first":  {[]string{long + "," + shorts + ",e=5"}, shorts + ",e=5"},
		"and no more than one must": {[]string{"k=" + strings.Repeat("v", 150) + "," + long + "," + shorts[:241]}, "k=" + strings.Repeat("v", 150) + "," + shorts[:241]},
	} {
		t.Run(name, func(t *testing.T) {
			if gotParent, got := intake.Trace([]string{parent}, c.states); gotParent != parent || got != c.want {
				t.Errorf("%q is %q, %q, want %q", c.states, gotParent, got, c.want)
			}
		})
	}
	for _, parents := range [][]string{nil, {""}, {"00-1-2-3"}, {parent, parent}} {
		if gotParent, got := intake.Trace(parents, []string{"rojo=1"}); gotParent != "" || got != "" {
			t.Errorf("of %q there is %q, %q", parents, gotParent, got)
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
