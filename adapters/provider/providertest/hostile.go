package providertest

import (
	"bytes"
	"strings"
	"testing"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/strictjson"
)

// garbage is bodies that are no strict JSON object.
var garbage = map[string]string{
	"empty":             "",
	"space":             " \n",
	"word":              "approved",
	"form":              "payment_status=approved&id=1",
	"xml":               "<order/>",
	"NUL":               "\x00",
	"byte order mark":   "\xef\xbb\xbf{}",
	"list":              "[]",
	"string":            `"x"`,
	"number":            "1",
	"null":              "null",
	"cut":               `{"id": "1"`,
	"comma":             `{"id": "1",}`,
	"comment":           `{"id": "1"} // ok`,
	"single quotes":     `{'id': '1'}`,
	"name without text": `{1: 2}`,
	"leading zero":      `{"id": 01}`,
	"NaN":               `{"id": NaN}`,
	"control character": "{\"id\": \"a\nb\"}",
	"lone surrogate":    `{"id": "\ud800"}`,
	"two values":        `{} {}`,
}

// malformed: what is no strict JSON is Malformed, with the valid inputs broken
// in every way too.
func (c *Case) malformed(t *testing.T, inputs []input) {
	t.Helper()
	for _, in := range inputs {
		if in.bad() {
			continue // refused for a reason of its own, which may come first
		}
		for name, body := range broken(in.body) {
			other := in
			other.body = []byte(body)
			if got := c.ask(c.message(other)); reasonOf(got.err) != provider.Malformed {
				t.Errorf("%s, %s: answer %v, want malformed", in.name, name, got.err)
			}
		}
	}
	seen := make(map[string]bool)
	for _, in := range inputs {
		got := c.ask(c.message(in))
		if got.relayed != nil || reasonOf(got.err) == provider.UnknownAction || seen[in.action] {
			continue // a relayed body may be any JSON
		}
		seen[in.action] = true
		for name, body := range garbage {
			other := in
			other.body = []byte(body)
			if got := c.ask(c.message(other)); reasonOf(got.err) != provider.Malformed {
				t.Errorf("%s, %s: answer %v, want malformed", in.action, name, got.err)
			}
		}
	}
}

// broken is a good body made bad in the ways that a lenient reader lets pass.
func broken(body []byte) map[string]string {
	text := string(bytes.TrimSpace(body))
	head, members := text[:1], text[1:]
	nested := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	return map[string]string{
		"trailing brace":   text + "}",
		"trailing object":  text + "{}",
		"trailing word":    text + " x",
		"cut in the end":   text[:len(text)-1],
		"cut in half":      text[:len(text)/2],
		"name twice":       head + `"zq": 1, "zq": 2,` + members,
		"name escaped":     head + `"zq": 1, "z\u0071": 2,` + members,
		"name twice below": head + `"zq": [{"a": {"b": 1, "b": 1}}],` + members,
		"bad UTF-8":        head + "\"zq\": \"\xff\"," + members,
		"overlong UTF-8":   head + "\"zq\": \"\xc0\x80\"," + members,
		"surrogate UTF-8":  head + "\"zq\": \"\xed\xa0\x80\"," + members,
		"lone surrogate":   head + `"zq": "\udc00",` + members,
		"bad UTF-8 name":   head + "\"z\xffq\": 1," + members,
		"too deep":         head + `"zq": ` + nested(strictjson.MaxDepth) + "," + members,
		"far too deep":     head + `"zq": ` + nested(20_000) + "," + members,
	}
}

// Canaries are values that no rule and no field name contains.
const (
	canaryText   = "zqcanary"
	canaryNumber = "31415926535"
)

var canaries = []string{
	`"` + canaryText + ` ` + canaryNumber + `"`,
	`"` + canaryNumber + `"`,
	`"` + strings.Repeat(canaryText, 1000) + `"`,
	`"` + canaryText + `\u0000"`,
	canaryNumber,
	"-" + canaryNumber,
	canaryNumber + ".123",
	canaryNumber + "e5",
	canaryNumber + canaryNumber,
	`{"` + canaryText + `": "` + canaryNumber + `"}`,
	`["` + canaryText + `", ` + canaryNumber + `]`,
	`[]`,
	`true`,
	`null`,
}

// saysNoValues: whatever stands in any field, neither error nor warnings repeat it.
func (c *Case) saysNoValues(t *testing.T, in input) {
	t.Helper()
	original := c.ask(c.message(in))
	hidden := append(original.personal(), canaryText, canaryNumber)
	for _, place := range scalars(t, in.body) {
		for _, canary := range canaries {
			other := in
			other.body = replace(in.body, place, canary)
			got := c.ask(c.message(other))
			if err := c.checkAnswer(got); err != nil {
				t.Errorf("%s at %d, %.40s: %v", in.name, place.start, canary, err)
			}
			c.mentions(t, got, hidden)
		}
	}
	for cut := 0; cut < len(in.body); cut += 7 {
		other := in
		other.body = in.body[:cut]
		c.mentions(t, c.ask(c.message(other)), hidden)
	}
}

func (c *Case) mentions(t *testing.T, got answer, hidden []string) {
	t.Helper()
	for _, words := range got.words() {
		for _, value := range hidden {
			if strings.Contains(words, value) {
				t.Errorf("%q repeats a value of the body, %q", words, value)
			}
		}
	}
}
