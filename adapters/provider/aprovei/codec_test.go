package aprovei_test

import (
	"os"
	"strings"
	"testing"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/domain"
)

func newCase(tb testing.TB) providertest.Case {
	tb.Helper()
	codec, err := aprovei.New(aprovei.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return providertest.Case{
		Codec: codec, Provider: provider.Aprovei,
		Fixtures: "testdata/fixtures", Golden: "testdata/golden",
		Samples: []providertest.Samples{
			{Statuses: aprovei.SampleStatuses(), Sample: aprovei.Sample},
			{Name: "vega", Statuses: aprovei.SampleVegaStatuses(), Sample: aprovei.SampleVega},
		},
	}
}

func TestCodec(t *testing.T) { providertest.Run(t, newCase(t)) }

func FuzzDecode(f *testing.F) { providertest.Fuzz(f, newCase(f)) }

func decode(t *testing.T, body []byte) []domain.Fact {
	t.Helper()
	facts, err := newCase(t).Codec.Decode(domain.Message{Account: "principal", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	body, err := os.ReadFile("testdata/fixtures/" + name + ".json")
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// The documents' PHP sample marks the token as processed, and so loses the
// approval that follows the pending one.
func TestOneTokenHasThreeKeys(t *testing.T) {
	keys := make(map[string]domain.Kind)
	for _, name := range []string{"aprovei-pending", "aprovei-approved", "aprovei-refunded"} {
		facts := decode(t, fixture(t, name))
		own := facts[len(facts)-1]
		if own.ProviderOrderID != "VCP1O8SB9GJ" {
			t.Fatalf("%s is about %q", name, own.ProviderOrderID)
		}
		if kind, taken := keys[own.Key]; taken {
			t.Errorf("%s has the key of the %s: %s", name, kind, own.Key)
		}
		keys[own.Key] = own.Kind
	}
	if len(keys) != 3 {
		t.Errorf("keys %v, want three", keys)
	}
}

func TestSecondPartialChangeOfDateOrAmountIsAnotherFact(t *testing.T) {
	body := string(fixture(t, "aprovei-approved"))
	first := decode(t, []byte(body))[0].Key
	for name, other := range map[string]string{
		"date":   strings.Replace(body, "14:21:02Z", "14:21:03Z", 1),
		"amount": strings.Replace(body, `"transaction_amount": 12000`, `"transaction_amount": 12001`, 1),
		"token":  strings.Replace(body, "VCP1O8SB9GJ", "VCP1O8SB9GK", 1),
	} {
		if other == body || decode(t, []byte(other))[0].Key == first {
			t.Errorf("another %s has the same key", name)
		}
	}
	// What is not of the approval does not make another one.
	for name, other := range map[string]string{
		"date of creation": strings.Replace(body, "14:20:30Z", "14:20:31Z", 1),
		"zone":             strings.Replace(body, "14:21:02Z", "11:21:02-03:00", 1),
		"customer":         strings.Replace(body, "Teste da Silva", "Teste de Souza", 1),
	} {
		if other == body || decode(t, []byte(other))[0].Key != first {
			t.Errorf("another %s has another key", name)
		}
	}
}

func TestRefundAndChargebackInferTheApproval(t *testing.T) {
	approved := decode(t, fixture(t, "aprovei-approved"))[0]
	for _, name := range []string{"aprovei-refunded", "aprovei-chargeback"} {
		facts := decode(t, fixture(t, name))
		if len(facts) != 2 {
			t.Fatalf("%s: %d facts", name, len(facts))
		}
		inferred := facts[0]
		if inferred.Kind != domain.KindApproved || !inferred.Inferred || facts[1].Inferred {
			t.Errorf("%s: first fact is %s, inferred %t", name, inferred.Kind, inferred.Inferred)
		}
		if inferred.Key != approved.Key+"|inferred" || !inferred.OccurredAt.Equal(approved.OccurredAt) {
			t.Errorf("%s: key %s at %s, want that of the approval, marked", name, inferred.Key, inferred.OccurredAt)
		}
		if inferred.Amounts.Paid != domain.Minor(12000) || facts[1].Amounts.Refunded.Known {
			t.Errorf("%s: paid %v, refunded %v", name, inferred.Amounts.Paid, facts[1].Amounts.Refunded)
		}
	}
}

func TestBothShapesAreOneOrder(t *testing.T) {
	vega := strings.Replace(string(fixture(t, "vega-approved")), "VCCL1O8SCFH0", "VCP1O8SB9GJ", 1)
	got, want := decode(t, []byte(vega))[0], decode(t, fixture(t, "aprovei-approved"))[0]
	if got.Key != want.Key || got.Identity("loja") != want.Identity("loja") {
		t.Errorf("vega: %v %s, aprovei: %v %s", got.Identity("loja"), got.Key, want.Identity("loja"), want.Key)
	}
}

func BenchmarkDecode(b *testing.B) {
	codec := newCase(b).Codec
	m := domain.Message{Account: "principal", Body: fixture(b, "aprovei-approved")}
	b.ReportAllocs()
	b.SetBytes(int64(len(m.Body)))
	for b.Loop() {
		if _, err := codec.Decode(m); err != nil {
			b.Fatal(err)
		}
	}
}
