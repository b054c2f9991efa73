package proof_test

import (
	"slices"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// ways are the shortest ways to each status, by facts that name no payment and
// no amount.
var ways = map[domain.Status][]arrival{
	domain.StatusNone:       nil,
	domain.StatusStarted:    {fact(domain.KindStarted, "way", 0)},
	domain.StatusPending:    {fact(domain.KindPending, "way", 0)},
	domain.StatusApproved:   {fact(domain.KindApproved, "way", 0)},
	domain.StatusRefused:    {fact(domain.KindRefused, "way", 0)},
	domain.StatusCancelled:  {fact(domain.KindExpired, "way", 0)},
	domain.StatusRefunded:   {fact(domain.KindRefunded, "way", 0)},
	domain.StatusChargeback: {fact(domain.KindChargeback, "way", 0)},
}

// TestCells holds the machine to the hand-written table in every one of its 96 cells.
func TestCells(t *testing.T) {
	m := order.Default()
	cells := 0
	for status, way := range ways {
		for kind := range table {
			cells++
			t.Run(status.String()+"/"+kind.String(), func(t *testing.T) {
				h, _ := deliver(t, m, way...)
				if got := m.Fold(h).Status; got != status {
					t.Fatalf("the way to %s ends in %s", status, got)
				}
				_, decisions := deliver(t, m, append(slices.Clip(way), fact(kind, "it", 1))...)
				wantCell(t, cellOf(status, kind), status, decisions[len(decisions)-1])
			})
		}
	}
	if cells != 96 {
		t.Errorf("%d cells, want 96", cells)
	}
}

// wantCell checks a decision at the end of a shortest way, where the rules with
// a guard have one outcome: nothing was voided, nothing approved but in the
// status approved, and nothing refunded.
func wantCell(t *testing.T, c cell, status domain.Status, d order.Decision) {
	t.Helper()
	to, verdict, gap := c.to, domain.VerdictApplied, c.gap
	switch c.rule {
	case stays:
		to, verdict = status, domain.VerdictNoted
	case refuses:
		to, verdict = status, domain.VerdictConflict
	case settles:
		to = domain.StatusApproved
	case moves, reopens, implies:
	}
	e := &d.Event
	if e.From != status || e.To != to || e.Verdict != verdict || e.Gap != gap {
		t.Errorf("%s → %s %s gap=%v, want %s → %s %s gap=%v", e.From, e.To, e.Verdict, e.Gap, status, to, verdict, gap)
	}
	if d.After.Status != to || e.Correction {
		t.Errorf("after: %s, correction %v; want %s and none", d.After.Status, e.Correction, to)
	}
	if open := len(d.After.Conflicts) == 1 && d.After.Conflicts[0] == e.ID; open != (verdict == domain.VerdictConflict) {
		t.Errorf("open conflicts %v, verdict %s", d.After.Conflicts, e.Verdict)
	}
}
