package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/proto/wire"
)

// step is one webhook: where to, what, and what must come of its last fact.
type step struct {
	path, body      string
	outcome, status string
}

// TestCases are the cases that must hold, whatever else changes: real bodies go
// in over HTTP, and the right order and history come out over gRPC.
func TestCases(t *testing.T) {
	ap := func(name string, changes ...string) string { return fixture(t, "aprovei-"+name, changes...) }
	op := func(name string, changes ...string) string { return fixture(t, "onprofit-"+name, changes...) }
	fact := func(kind, subject, when, data string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"%s-%s","source":"checkout","type":"comanda.fact.%s.v1","subject":"%s"%s,"data":{%s}}`,
			kind, subject, kind, subject, when, data)
	}
	cases := []struct {
		name    string
		given   []step
		status  string
		history []string
	}{
		{
			name: "one token is no key: pending, approved, refunded are three transitions, and the same again are none",
			given: []step{
				{"loja-aprovei", ap("pending"), "applied", "pending"},
				{"loja-aprovei", ap("approved"), "applied", "approved"},
				{"loja-aprovei", ap("refunded"), "applied", "refunded"},
				{"loja-aprovei", ap("pending"), "duplicate", "refunded"},
				{"loja-aprovei", ap("approved"), "duplicate", "refunded"},
				{"loja-aprovei", ap("refunded"), "duplicate", "refunded"},
			},
			status:  "refunded",
			history: []string{"pending applied none>pending", "approved applied pending>approved", "refunded applied approved>refunded"},
		},
		{
			name: "approved before pending",
			given: []step{
				{"loja-aprovei", ap("approved"), "applied", "approved"},
				{"loja-aprovei", ap("pending"), "late", "approved"},
			},
			status:  "approved",
			history: []string{"approved applied none>approved", "pending late approved>approved"},
		},
		{
			name: "chargeback first carries its approval; the real one comes late and moves nothing",
			given: []step{
				{"loja-aprovei", ap("chargeback"), "applied", "chargeback"},
				{"loja-aprovei", ap("approved"), "late", "chargeback"},
			},
			status: "chargeback",
			history: []string{
				"approved applied none>approved", "chargeback applied approved>chargeback", "approved late chargeback>chargeback",
			},
		},
		{
			name: "an approval dated before an expiry that was recorded first",
			given: []step{
				{"loja-checkout", fact("pending", "A-1", `,"time":"2026-05-09T17:00:00Z"`, ``), "applied", "pending"},
				{"loja-checkout", fact("expired", "A-1", `,"time":"2026-05-09T18:00:00Z"`, ``), "applied", "cancelled"},
				{"loja-checkout", fact("approved", "A-1", `,"time":"2026-05-09T17:30:00Z"`, `"paid":12000,"total":12000`), "applied", "approved"},
			},
			status: "approved",
			history: []string{
				"pending applied none>pending", "expired applied pending>cancelled", "approved applied cancelled>approved",
			},
		},
		{
			name: "OnProfit refunded without a date after paid",
			given: []step{
				{"loja-onprofit", op("paid"), "applied", "approved"},
				{"loja-onprofit", op("refunded"), "applied", "refunded"},
			},
			status:  "refunded",
			history: []string{"approved applied none>approved", "refunded applied approved>refunded"},
		},
		{
			name: "OnProfit refunded without a date before paid",
			given: []step{
				{"loja-onprofit", op("refunded"), "applied", "refunded"},
				{"loja-onprofit", op("paid"), "late", "refunded"},
			},
			status: "refunded",
			history: []string{
				"approved applied none>approved", "refunded applied approved>refunded", "approved late refunded>refunded",
			},
		},
		{
			name: "OnProfit waiting, then started late",
			given: []step{
				{"loja-onprofit", op("waiting"), "applied", "pending"},
				{"loja-onprofit", op("started"), "noted", "pending"}, // of the same moment, so not late by its date
			},
			status:  "pending",
			history: []string{"pending applied none>pending", "started noted pending>pending"},
		},
		{
			name: "the checkout's started and the platform's approved meet in one order",
			given: []step{
				{
					"loja-checkout",
					fact("started", "VCP1O8SB9GJ", `,"time":"2024-10-07T14:20:00Z"`, `"about":{"provider":"aprovei","account":"principal"}`),
					"applied", "started",
				},
				{"loja-aprovei", ap("approved"), "applied", "approved"},
			},
			status:  "approved",
			history: []string{"started applied none>started", "approved applied started>approved"},
		},
		{
			name: "Voxuy 99 moves nothing",
			given: []step{
				{"loja-voxuy", fixture(t, "voxuy-sample-request"), "", ""},
			},
			status:  "none",
			history: []string{"details noted none>none"},
		},
		{
			name: "iSET removed after paid is no refund",
			given: []step{
				{"loja-iset/changed", `{"id":"77","status":"pago","total":120.00}`, "applied", "approved"},
				{"loja-iset/removed", `{"id":"77"}`, "noted", "approved"},
			},
			status:  "approved",
			history: []string{"approved applied none>approved", "flagged noted approved>approved", "cancelled noted approved>approved"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := startServer(t, t.TempDir(), sourcesYAML)
			var last answer
			for i, g := range c.given {
				t.Logf("step %d", i+1)
				if g.path == "loja-voxuy" {
					last = s.voxuy(g.body, "<id-do-seu-sistema>")
					continue
				}
				last = s.expect(g.path, g.body, g.outcome, g.status)
			}
			if diff := cmp.Diff(c.history, s.history(last)); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if o := s.order(last); wire.Word(o.GetStatus()) != c.status || len(o.GetConflicts()) != 0 {
				t.Errorf("the order is %s with conflicts %v, want %s and none", wire.Word(o.GetStatus()), o.GetConflicts(), c.status)
			}
		})
	}
}
