package comanda_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/comanda"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/domain"
)

func newCase(tb testing.TB) providertest.Case {
	tb.Helper()
	codec, err := comanda.New(comanda.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return providertest.Case{
		Codec: codec, Provider: provider.Comanda, OtherProviders: true,
		Fixtures: "testdata/fixtures", Golden: "testdata/golden",
		Samples: []providertest.Samples{{Statuses: comanda.SampleStatuses(), Sample: comanda.Sample}},
	}
}

func TestCodec(t *testing.T) { providertest.Run(t, newCase(t)) }

func FuzzDecode(f *testing.F) { providertest.Fuzz(f, newCase(f)) }

// event is an event of this type with this data.
func event(eventType, data string) domain.Message {
	return domain.Message{Account: "principal", Body: fmt.Appendf(nil,
		`{"specversion": "1.0", "id": "evt-1", "source": "checkout", "type": %q, "subject": "A-1", "data": %s}`, eventType, data)}
}

func decode(t *testing.T, m domain.Message) domain.Fact {
	t.Helper()
	facts, err := newCase(t).Codec.Decode(m)
	if err != nil {
		t.Fatal(err)
	}
	if len(facts) != 1 {
		t.Fatalf("%d facts", len(facts))
	}
	return facts[0]
}

func TestEveryKindButResolved(t *testing.T) {
	for kind := domain.KindStarted; kind < domain.KindResolved; kind++ {
		f := decode(t, event(comanda.Type(kind), `{"shipping": {"event": "posted"}}`))
		if f.Kind != kind || f.Key != "evt-1" || f.ProviderOrderID != "A-1" || f.Provider != "comanda" || f.Account != "principal" {
			t.Errorf("%s: %+v", kind, f)
		}
	}
	for eventType, want := range map[string]provider.ErrorReason{
		"comanda.fact.resolved.v1": provider.RefusedContent,
		"comanda.fact.unknown.v1":  provider.UnknownStatus,
		"comanda.fact..v1":         provider.UnknownStatus,
		"comanda.fact.approved":    provider.UnknownStatus,
		"approved":                 provider.UnknownStatus,
	} {
		_, err := newCase(t).Codec.Decode(event(eventType, "{}"))
		var refused *provider.Error
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%s: %v, want %s", eventType, err, want)
		}
	}
}

func TestAboutAnotherProvidersOrder(t *testing.T) {
	for name, want := range map[string]string{"aprovei": "aprovei", "vega": "aprovei", "onprofit": "onprofit", "comanda": "comanda"} {
		f := decode(t, event("comanda.fact.started.v1", `{"about": {"provider": "`+name+`", "account": "outra"}}`))
		if f.Provider != want || f.Account != "outra" || f.ProviderOrderID != "A-1" {
			t.Errorf("about %s: %s, %s, %s", name, f.Provider, f.Account, f.ProviderOrderID)
		}
	}
	// One merchant's sources mostly share the account's name; "" is a name as well.
	for about, want := range map[string]string{
		`{"provider": "aprovei"}`: "principal", `{"provider": "aprovei", "account": null}`: "principal", `{"provider": "aprovei", "account": ""}`: "",
	} {
		if f := decode(t, event("comanda.fact.started.v1", `{"about": `+about+`}`)); f.Account != want || f.Provider != "aprovei" {
			t.Errorf("about %s: account %q of %s, want %q", about, f.Account, f.Provider, want)
		}
	}
	for _, about := range []string{`"aprovei"`, `[]`, `{}`, `{"provider": "stripe"}`, `{"provider": "aprovei", "account": {}}`} {
		if _, err := newCase(t).Codec.Decode(event("comanda.fact.started.v1", `{"about": `+about+`}`)); err == nil {
			t.Errorf("about %s is accepted", about)
		}
	}
}

func TestAbsentSumsAreUnknown(t *testing.T) {
	f := decode(t, event("comanda.fact.approved.v1", `{"paid": 0}`))
	if f.Amounts.Paid != domain.Minor(0) || f.Amounts.Total.Known || f.Amounts.Refunded.Known {
		t.Errorf("amounts %+v", f.Amounts)
	}
}

func TestRefundAmountIsOfARefund(t *testing.T) {
	f := decode(t, event("comanda.fact.partially_refunded.v1", `{"refund_id": "r1", "refund_amount": 300}`))
	if f.Payment.RefundID != "r1" || f.Amounts.Refund != domain.Minor(300) {
		t.Errorf("refund %s %v", f.Payment.RefundID, f.Amounts.Refund)
	}
	f = decode(t, event("comanda.fact.approved.v1", `{"refund_id": "", "refund_amount": 0}`))
	if f.Amounts.Refund.Known {
		t.Error("no refund has an amount")
	}
	if _, err := newCase(t).Codec.Decode(event("comanda.fact.refunded.v1", `{"refund_amount": 300}`)); err == nil {
		t.Error("an amount of no refund is accepted")
	}
}

func TestUTMNames(t *testing.T) {
	f := decode(t, event("comanda.fact.details.v1", `{"utm": {"source": "google", "utm_medium": "cpc", "sck": "x"}}`))
	if utm := f.UTM.Map(); utm["utm_source"] != "google" || utm["utm_medium"] != "cpc" || utm["sck"] != "x" || len(utm) != 3 {
		t.Errorf("utm %v", f.UTM)
	}
	var many strings.Builder
	for i := range 40 {
		fmt.Fprintf(&many, `"k%02d": "v",`, i)
	}
	f = decode(t, event("comanda.fact.details.v1", `{"utm": {`+strings.TrimSuffix(many.String(), ",")+`}}`))
	if len(f.UTM) != 16 || len(f.Warnings) != 1 {
		t.Errorf("%d parameters, warnings %q", len(f.UTM), f.Warnings)
	}
}
