package onprofit_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/onprofit"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/domain"
)

func newCodec(tb testing.TB, c onprofit.Config) *onprofit.Codec {
	tb.Helper()
	codec, err := onprofit.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return codec
}

func newCase(tb testing.TB) providertest.Case {
	tb.Helper()
	return providertest.Case{
		Codec:    newCodec(tb, onprofit.Config{Reference: "custom_fields.pedido"}),
		Provider: provider.OnProfit,
		Fixtures: "testdata/fixtures", Golden: "testdata/golden",
		Samples: []providertest.Samples{{Statuses: onprofit.SampleStatuses(), Sample: onprofit.Sample}},
	}
}

func TestCodec(t *testing.T) { providertest.Run(t, newCase(t)) }

func FuzzDecode(f *testing.F) { providertest.Fuzz(f, newCase(f)) }

func fixture(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile("testdata/fixtures/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func decode(t *testing.T, c onprofit.Config, body string) []domain.Fact {
	t.Helper()
	facts, err := newCodec(t, c).Decode(domain.Message{Account: "principal", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestAuthorizedWithConfirmation(t *testing.T) {
	confirmed, open := fixture(t, "onprofit-authorized-confirmed"), fixture(t, "onprofit-authorized")
	paid := decode(t, onprofit.Config{}, fixture(t, "onprofit-paid"))[0]
	tests := []struct {
		name, body string
		config     onprofit.Config
		kind       domain.Kind
		phase      string
	}{
		{"confirmed is approved", confirmed, onprofit.Config{}, domain.KindApproved, ""},
		{"confirmed stays pending by setting", confirmed, onprofit.Config{AuthorizedIsPending: true}, domain.KindPending, "authorized"},
		{"open is pending", open, onprofit.Config{}, domain.KindPending, "authorized"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := decode(t, tt.config, tt.body)
			if len(got) != 1 || got[0].Kind != tt.kind || got[0].Payment.Phase != tt.phase {
				t.Errorf("facts %v, want one %s(%s)", got, tt.kind, tt.phase)
			}
			if same := got[0].Key == paid.Key; same != (tt.kind == domain.KindApproved) {
				t.Errorf("key %s, that of PAID is %s", got[0].Key, paid.Key)
			}
		})
	}
}

func TestReference(t *testing.T) {
	body := strings.Replace(fixture(t, "onprofit-refused-documented-field"), `"currency"`, `"src": "EX003", "currency"`, 1)
	for setting, want := range map[string]string{
		"": "", "src": "EX003", "custom_fields.pedido": "EX002", "custom_fields.outro": "",
	} {
		if got := decode(t, onprofit.Config{Reference: setting}, body)[0].Reference; got != want {
			t.Errorf("reference by %q is %q, want %q", setting, got, want)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, reference := range []string{"pedido", "custom_fields.", "custom_fields"} {
		if _, err := onprofit.New(onprofit.Config{Reference: reference}); err == nil {
			t.Errorf("reference %q is accepted", reference)
		}
	}
}

func TestTimesAreOfBrasilia(t *testing.T) {
	tests := map[string]time.Time{
		"onprofit-paid":        time.Date(2026, time.May, 9, 17, 32, 14, 0, time.UTC),
		"onprofit-summer-time": time.Date(2018, time.December, 24, 22, 0, 10, 0, time.UTC), // −2 hours then
	}
	for name, want := range tests {
		if got := decode(t, onprofit.Config{}, fixture(t, name))[0].OccurredAt; !got.Equal(want) {
			t.Errorf("%s at %s, want %s", name, got, want)
		}
	}
}

func TestUndatedStatuses(t *testing.T) {
	for _, name := range []string{"onprofit-refunded", "onprofit-chargeback", "onprofit-cancelled", "onprofit-refused-documented-field"} {
		facts := decode(t, onprofit.Config{}, fixture(t, name))
		own := facts[len(facts)-1]
		if !own.OccurredAt.IsZero() {
			t.Errorf("%s: %s is dated %s", name, own.Kind, own.OccurredAt)
		}
		takenBack := own.Kind == domain.KindRefunded || own.Kind == domain.KindChargeback
		if inferred := len(facts) == 2 && facts[0].Inferred && facts[0].Kind == domain.KindApproved; inferred != takenBack {
			t.Errorf("%s: an approval is inferred: %t", name, inferred)
		}
	}
}

func TestOrderAndCartHaveTheirOwnIDs(t *testing.T) {
	cart := decode(t, onprofit.Config{}, `{"object": "cart_abandonment", "id": 12345678}`)[0]
	order := decode(t, onprofit.Config{}, fixture(t, "onprofit-paid"))[0]
	if cart.ProviderOrderID != "cart_abandonment/12345678" || order.ProviderOrderID != "order/12345678" {
		t.Errorf("ids %s and %s", cart.ProviderOrderID, order.ProviderOrderID)
	}
	text := decode(t, onprofit.Config{}, fixture(t, "onprofit-text-id"))[0]
	if text.ProviderOrderID != order.ProviderOrderID || text.Key != order.Key {
		t.Errorf("an id as text makes another order: %s %s", text.ProviderOrderID, text.Key)
	}
}
