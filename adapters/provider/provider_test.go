package provider_test

import (
	"strings"
	"testing"
	"time"

	"comanda.internal/adapters/provider"
)

func TestCanonical(t *testing.T) {
	for _, name := range provider.Names() {
		if got, ok := provider.Canonical(name); got != name || !ok {
			t.Errorf("%s is %s, %t", name, got, ok)
		}
	}
	if got, ok := provider.Canonical("vega"); got != "aprovei" || !ok {
		t.Errorf("vega is %s, %t", got, ok)
	}
	for _, name := range []string{"", "Aprovei", "stripe"} {
		if got, ok := provider.Canonical(name); ok || got != "" {
			t.Errorf("%q is %s", name, got)
		}
	}
}

func TestNoTwoListsMakeOneKey(t *testing.T) {
	lists := [][]string{
		{"a", "b"}, {"a|b"}, {`a\`, "b"}, {`a\|b`}, {`a\\`, "b"}, {"a", "b", ""}, {"", "a", "b"}, {"a", "", "b"}, {"a"}, {""}, {"", ""}, {"|"}, {`\|`},
	}
	seen := make(map[string][]string)
	for _, list := range lists {
		key := provider.Key(list...)
		if other, taken := seen[key]; taken {
			t.Errorf("%q and %q are both %s", other, list, key)
		}
		seen[key] = list
	}
	if got := provider.Key("T1", "approved", "", "2026", "100"); got != "T1|approved||2026|100" {
		t.Errorf("key %s", got)
	}
}

func TestKeyTimeIsUTC(t *testing.T) {
	brasilia := time.FixedZone("", -3*60*60)
	at := time.Date(2026, time.May, 9, 14, 32, 14, 0, brasilia)
	if got := provider.KeyTime(at); got != "2026-05-09T17:32:14Z" {
		t.Errorf("time %s", got)
	}
	if got := provider.KeyTime(time.Time{}); got != "" {
		t.Errorf("no time is %q", got)
	}
}

func TestMethod(t *testing.T) {
	for word, want := range map[string]string{
		"pix": "pix", "PIX": "pix", "cc": "card", "credit_card": "card", "Boleto": "boleto", "crypto": "crypto",
		"": "", "pix à vista": "", strings.Repeat("a", 41): "", "a@b": "",
	} {
		got, ok := provider.Method(word)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q is %q, %t; want %q", word, got, ok, want)
		}
	}
}

func TestErrorNamesFieldsInOrder(t *testing.T) {
	err := &provider.Error{
		Reason: provider.InvalidFields, Fields: map[string][]string{"b": {"is required"}, "a": {"must be text", "is too long"}},
	}
	if got, want := err.Error(), "invalid_fields; a: must be text, is too long; b: is required"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}
