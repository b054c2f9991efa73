package voxuy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/providertest"
	"comanda.internal/adapters/provider/voxuy"
	"comanda.internal/domain"
)

func newCase(tb testing.TB) providertest.Case {
	tb.Helper()
	codec, err := voxuy.New(voxuy.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	return providertest.Case{
		Codec: codec, Provider: provider.Voxuy,
		Fixtures: "testdata/fixtures", Golden: "testdata/golden",
		Samples: []providertest.Samples{{Statuses: voxuy.SampleStatuses(), Sample: voxuy.Sample}},
		// Without an id the body's hash is identity and key.
		KeyIsBodyHash: func(m domain.Message) bool {
			var message struct{ ID any }
			if json.Unmarshal(m.Body, &message) != nil {
				return false
			}
			text, isText := message.ID.(string)
			return message.ID == nil || isText && strings.TrimSpace(text) == ""
		},
	}
}

func TestCodec(t *testing.T) { providertest.Run(t, newCase(t)) }

func FuzzDecode(f *testing.F) { providertest.Fuzz(f, newCase(f)) }

func decode(t *testing.T, body string) []domain.Fact {
	t.Helper()
	facts, err := newCase(t).Codec.Decode(domain.Message{Account: "principal", Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// Written from document 002 and the rules for the way in, apart from the codec's map.
func TestStatuses(t *testing.T) {
	tests := []struct {
		status int
		want   string // kind, phase, reason
		dated  bool
	}{
		{0, "pending awaiting ", true},
		{1, "approved  ", false},
		{2, "cancelled  ", false},
		{3, "chargeback  ", false},
		{4, "refunded  ", false},
		{5, "pending in_analysis ", true},
		{6, "refund_requested  ", false},
		{7, "pending processing ", true},
		{8, "pending partially_paid ", true},
		{9, "flagged  blocked", false},
		{10, "refused  fraud", false},
		{11, "flagged  duplicate", false},
		{80, "abandoned  ", true},
		{99, "details  ", false},
	}
	keys := make(map[string]int)
	for _, tt := range tests {
		f := decode(t, fmt.Sprintf(`{"id": "V-1", "status": %d, "date": "2021-05-21T23:59:00Z"}`, tt.status))[0]
		if got := f.Kind.String() + " " + f.Payment.Phase + " " + string(f.Reason); got != tt.want {
			t.Errorf("status %d is %q, want %q", tt.status, got, tt.want)
		}
		if f.OccurredAt.IsZero() == tt.dated {
			t.Errorf("status %d: date %v, want one: %t", tt.status, f.OccurredAt, tt.dated)
		}
		if other, taken := keys[f.Key]; taken {
			t.Errorf("status %d has the key of status %d", tt.status, other)
		}
		keys[f.Key] = tt.status
	}
}

func TestKeyHoldsWhatTheRuleNames(t *testing.T) {
	const body = `{"id": "V-1", "status": 99, "date": "2021-05-21T23:59:00Z", "totalValue": 100, "customEvent": 63,
		"currentShippingEvent": 1, "shipping": {"city": "Recife", "date": "2021-05-22T00:00:00Z"}, "clientName": "A"}`
	first := decode(t, body)
	for _, change := range [][2]string{
		{`"V-1"`, `"V-2"`},
		{`"status": 99`, `"status": 0`},
		{`21T23:59:00Z`, `21T23:59:01Z`},
		{`100`, `101`},
		{`63`, `64`},
		{`"currentShippingEvent": 1`, `"currentShippingEvent": 2`},
		{`22T00:00:00Z`, `22T00:00:01Z`},
	} {
		other := decode(t, strings.Replace(body, change[0], change[1], 1))
		if other[0].Key == first[0].Key {
			t.Errorf("%s for %s has the same key", change[1], change[0])
		}
	}
	if other := decode(t, strings.Replace(body, `"A"`, `"B"`, 1)); other[0].Key != first[0].Key {
		t.Error("another name has another key")
	}
}

func TestShippingIsAFactOfItsOwn(t *testing.T) {
	facts := decode(t, `{"id": "V-1", "status": 1, "currentShippingEvent": 6, "shipping": {"city": "Recife", "date": "2021-05-22T00:00:00Z"}}`)
	if len(facts) != 2 || facts[0].Kind != domain.KindApproved || facts[1].Kind != domain.KindShipping {
		t.Fatalf("facts %v, want approved and shipping", facts)
	}
	news := facts[1]
	if facts[0].Shipping != nil || news.Shipping.Event != "delivered" || !news.Shipping.Date.Equal(news.OccurredAt) || news.OccurredAt.IsZero() {
		t.Errorf("shipping %+v at %s", news.Shipping, news.OccurredAt)
	}
}

func TestCustomEvent(t *testing.T) {
	facts := decode(t, `{"id": "V-1", "status": 99, "customEvent": 63}`)
	if len(facts) != 1 || facts[0].Kind != domain.KindDetails || facts[0].CustomEvent != "63" {
		t.Errorf("facts %v, want details with event 63", facts)
	}
}

func TestWithoutIDTheBodyIsTheOrder(t *testing.T) {
	one, again, other := decode(t, `{"status":0}`)[0], decode(t, `{"status":0}`)[0], decode(t, `{"status":1}`)[0]
	if one.Key != again.Key || one.ProviderOrderID != again.ProviderOrderID || one.ProviderOrderID == other.ProviderOrderID {
		t.Errorf("ids %s, %s and %s", one.ProviderOrderID, again.ProviderOrderID, other.ProviderOrderID)
	}
	if one.ProviderOrderID != "sha256:"+one.Key {
		t.Errorf("id %s, key %s: want the hash as both", one.ProviderOrderID, one.Key)
	}
}

func TestTheTokenIsNotRead(t *testing.T) {
	facts := decode(t, `{"id": "V-1", "status": 1, "apiToken": "zq-secret-token"}`)
	if text := fmt.Sprintf("%+v", facts); strings.Contains(text, "zq-secret-token") {
		t.Errorf("the token is in %s", text)
	}
}
