package intake_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

func TestReceiptAnswer(t *testing.T) {
	at := domain.Position{}.With(0, 7)
	applied := domain.Outcome{
		Verdict: domain.VerdictApplied, OrderID: "ord_a", Status: domain.StatusApproved, Revision: 2, EventID: "e2", Position: at,
	}
	duplicate := domain.Outcome{
		Verdict: domain.VerdictDuplicate, OrderID: "ord_a", Status: domain.StatusApproved, Revision: 1, EventID: "e1",
		Position: domain.Position{}.With(0, 3), IDReused: true,
	}
	for _, c := range []struct {
		name    string
		receipt intake.Receipt
		word    string
		want    string
	}{
		{
			"one fact",
			intake.Receipt{Outcomes: []domain.Outcome{applied}},
			"applied",
			`{"outcome":"applied","order_id":"ord_a","status":"approved","revision":2,"event_id":"e2","position":"` + at.String() + `"}`,
		},
		{
			"several facts: the last one leads",
			intake.Receipt{Outcomes: []domain.Outcome{applied, duplicate}},
			"duplicate",
			`{"outcome":"duplicate","order_id":"ord_a","status":"approved","revision":1,"event_id":"e1","position":"AQAD","id_reused":true,` +
				`"results":[{"outcome":"applied","order_id":"ord_a","status":"approved","revision":2,"event_id":"e2","position":"AQAH"},` +
				`{"outcome":"duplicate","order_id":"ord_a","status":"approved","revision":1,"event_id":"e1","position":"AQAD","id_reused":true}]}`,
		},
		{
			"quarantined with fields",
			intake.Receipt{
				QuarantineID: "q1", Reason: provider.InvalidFields,
				Fields: map[string][]string{"b": {"required"}, "a\"": {"not a number", "too long"}},
			},
			"quarantined",
			`{"outcome":"quarantined","quarantine_id":"q1","reason":"invalid_fields","errors":{"a\"":["not a number","too long"],"b":["required"]}}`,
		},
		{
			"quarantined after a fact was recorded",
			intake.Receipt{
				QuarantineID: "q1", Reason: provider.TooManyFacts, Detail: "1000\nfacts", Outcomes: []domain.Outcome{applied},
			},
			"quarantined",
			`{"outcome":"quarantined","quarantine_id":"q1","reason":"too_many_facts","detail":"1000\nfacts",` +
				`"results":[{"outcome":"applied","order_id":"ord_a","status":"approved","revision":2,"event_id":"e2","position":"AQAH"}]}`,
		},
		{"relayed", intake.Receipt{Relayed: true}, "relayed", `{"outcome":"relayed"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.receipt.AppendJSON(nil)
			if !json.Valid(got) {
				t.Errorf("not JSON: %s", got)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if w := c.receipt.Word(); w != c.word {
				t.Errorf("word %q, want %q", w, c.word)
			}
		})
	}
}
