package iset_test

import (
	"errors"
	"strings"
	"testing"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/iset"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/domain"
)

func newCodec(tb testing.TB, c iset.Config) *iset.Codec {
	tb.Helper()
	codec, err := iset.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return codec
}

func newCase(tb testing.TB) providertest.Case {
	tb.Helper()
	return providertest.Case{
		Codec: newCodec(tb, iset.SampleConfig()), Provider: provider.ISET,
		Fixtures: "testdata/fixtures", Golden: "testdata/golden",
		// A fixture's name says its action: "changed-paid", "bad-changed-money".
		Action: func(fixture string) string {
			action, _, _ := strings.Cut(strings.TrimPrefix(fixture, "bad-"), "-")
			return strings.TrimPrefix(action, "none")
		},
		Samples:       []providertest.Samples{{Statuses: iset.SampleStatuses(), Sample: iset.Sample}},
		KeyIsBodyHash: func(domain.Message) bool { return true },
	}
}

func TestCodec(t *testing.T) { providertest.Run(t, newCase(t)) }

func FuzzDecode(f *testing.F) { providertest.Fuzz(f, newCase(f)) }

func decode(t *testing.T, c iset.Config, action, body string) []domain.Fact {
	t.Helper()
	facts, err := newCodec(t, c).Decode(domain.Message{Account: "principal", Action: action, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func kinds(facts []domain.Fact) string {
	words := make([]string, len(facts))
	for i, f := range facts {
		words[i] = f.Kind.String()
	}
	return strings.Join(words, " ")
}

func TestZeroConfig(t *testing.T) {
	for action, want := range map[string]string{
		"started": "started", "changed": "pending details", "removed": "flagged cancelled",
	} {
		facts := decode(t, iset.Config{}, action, `{"id": 7, "status": "paid"}`)
		if got := kinds(facts); got != want {
			t.Errorf("%s is %q, want %q", action, got, want)
		}
		if facts[0].ProviderOrderID != "7" {
			t.Errorf("%s is about %q", action, facts[0].ProviderOrderID)
		}
	}
}

// Without a status map an order is pending once, and details for every change.
func TestUnmappedSnapshotIsPendingOnce(t *testing.T) {
	first := decode(t, iset.Config{}, "changed", `{"id": 7, "total": 1}`)
	second := decode(t, iset.Config{}, "changed", `{"id": 7, "total": 2}`)
	if first[0].Key != second[0].Key || first[1].Key == second[1].Key {
		t.Errorf("keys %s and %s of pending, %s and %s of details", first[0].Key, second[0].Key, first[1].Key, second[1].Key)
	}
}

func TestMappedSnapshot(t *testing.T) {
	const paid = `{"id": "P", "status": "paid", "status_at": "2026-05-09 14:32:14"}`
	first := decode(t, iset.SampleConfig(), "changed", paid)
	other := decode(t, iset.SampleConfig(), "changed", strings.Replace(paid, "{", `{"customer": {"name": "B"}, `, 1))
	if kinds(first) != "approved details" || kinds(other) != "approved details" {
		t.Fatalf("facts %s and %s", kinds(first), kinds(other))
	}
	if first[0].Key != other[0].Key || first[1].Key == other[1].Key {
		t.Error("the same status with other content is not details alone")
	}
	again := decode(t, iset.SampleConfig(), "changed", strings.Replace(paid, "14:32:14", "15:00:00", 1))
	if again[0].Key == first[0].Key {
		t.Error("the status at another time has the same key: it would be lost")
	}
	undated := decode(t, iset.SampleConfig(), "changed", `{"id": "P", "status": "paid"}`)
	if kinds(undated) != "approved" || !strings.HasPrefix(undated[0].Key, "changed|") {
		t.Errorf("undated: %s, key %s", kinds(undated), undated[0].Key)
	}
}

func TestRemoved(t *testing.T) {
	facts := decode(t, iset.SampleConfig(), "removed", `{"id": "P", "removed_at": "2026-05-10 09:00:00"}`)
	flag, cancellation := facts[0], facts[1]
	if flag.Kind != domain.KindFlagged || flag.Detail != "removed_from_source" || flag.OccurredAt.IsZero() {
		t.Errorf("flag %s %q at %s", flag.Kind, flag.Detail, flag.OccurredAt)
	}
	if cancellation.Kind != domain.KindCancelled || cancellation.Reason != domain.ReasonRemoved || !cancellation.OccurredAt.IsZero() {
		t.Errorf("cancellation %s(%s) at %s, want undated", cancellation.Kind, cancellation.Reason, cancellation.OccurredAt)
	}
}

func TestRelay(t *testing.T) {
	codec := newCodec(t, iset.Config{})
	body := []byte(` {"code": "SKU123"} `)
	for _, action := range []string{"product.changed", "product.removed", "stock.changed", "category.changed", "category.removed"} {
		m := domain.Message{Action: action, Body: body}
		event, relayed, err := codec.Relay(m)
		if err != nil || !relayed || event.Type != action || string(event.Body) != string(body) {
			t.Errorf("%s: %+v, relayed %t, %v", action, event, relayed, err)
		}
		var refused *provider.Error
		if _, err := codec.Decode(m); !errors.As(err, &refused) || refused.Reason != provider.UnknownAction {
			t.Errorf("%s as a fact: %v", action, err)
		}
	}
	for _, action := range []string{"", "changed", "started", "removed", "produto"} {
		if _, relayed, err := codec.Relay(domain.Message{Action: action, Body: body}); relayed || err != nil {
			t.Errorf("%q: relayed %t, %v", action, relayed, err)
		}
	}
	_, relayed, err := codec.Relay(domain.Message{Action: "stock.changed", Body: []byte(`{"a":1,"a":2}`)})
	var refused *provider.Error
	if !relayed || !errors.As(err, &refused) || refused.Reason != provider.Malformed {
		t.Errorf("a duplicate name: relayed %t, %v", relayed, err)
	}
}

func TestConfigMistakesAreJoined(t *testing.T) {
	_, err := iset.New(iset.Config{
		Fields: iset.FieldMap{OrderID: "id", Status: "/status", Total: "/total", Email: "/a~2"},
		Statuses: map[string]string{
			"a": "paid", "b": "pending:soon", "c": "approved:x", "d": "cancelled:Não", "e": "resolved", "f": "flagged",
		},
		Zone: "America/Campinas", Money: "reais",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"fields.order_id", "fields.email", `statuses: "a"`, `statuses: "b"`, `statuses: "c"`, `statuses: "d"`, `statuses: "e"`, `statuses: "f"`,
		"zone", "money",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in %q", want, err)
		}
	}
	for name, c := range map[string]iset.Config{
		"status without map":  {Fields: iset.FieldMap{Status: "/status"}},
		"map without status":  {Statuses: map[string]string{"a": "approved"}},
		"date without status": {Fields: iset.FieldMap{StatusAt: "/at"}},
		"sum without form":    {Fields: iset.FieldMap{Freight: "/freight"}},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := (iset.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestMeanings(t *testing.T) {
	c := iset.Config{
		Fields: iset.FieldMap{OrderID: "/order/id", Status: "/order/status", Total: "/order/total"}, Money: "minor",
		Statuses: map[string]string{"7": "pending:in_analysis", "x": "cancelled:void", "n": "details"},
	}
	for status, want := range map[string]string{`7`: "pending in_analysis ", `"7"`: "pending in_analysis ", `"x"`: "cancelled  void", `"n"`: "details  "} {
		f := decode(t, c, "changed", `{"order": {"id": 1, "total": 1200, "status": `+status+`}}`)[0]
		if got := f.Kind.String() + " " + f.Payment.Phase + " " + string(f.Reason); got != want {
			t.Errorf("%s is %q, want %q", status, got, want)
		}
		if f.Amounts.Total != domain.Minor(1200) {
			t.Errorf("total %v", f.Amounts.Total)
		}
	}
}
