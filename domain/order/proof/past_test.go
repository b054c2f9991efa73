package proof_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// TestOccurred holds what had happened by each minute to the oracle's fold of the
// subset: the facts dated at it or before, and every operator's word.
func TestOccurred(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		for _, a := range drawArrivals(t, 6) {
			p.wantDecision(t, a)
			if rapid.IntRange(0, 2).Draw(t, "operator") == 0 {
				p.wantWord(t, drawWord(t, "w"+a.fact.Key, p.ids()))
			}
		}
		for n := -1; n < 20; n++ {
			p.wantOccurred(t, n)
		}
		last := slices.MaxFunc(p.records, func(a, b record) int { return a.at.Compare(b.at) }).at
		if all := p.machine.FoldOccurred(p.history, last); !same(all, p.machine.Fold(p.history)) {
			t.Fatalf("by the last fact's time: %v, want the order as it is", all)
		}
	})
}

func (p *pair) wantOccurred(t *rapid.T, n int) {
	count := uint64(0)
	subset := slices.DeleteFunc(slices.Clone(p.records), func(r record) bool {
		if !r.at.After(minute(n)) {
			count++
			return false
		}
		return r.fact.Kind != domain.KindResolved
	})
	s := p.machine.FoldOccurred(p.history, minute(n))
	if s == nil || count == 0 {
		if s != nil || count > 0 {
			t.Fatalf("by minute %d of %d facts: %v", n, count, s)
		}
		return
	}
	if s.Revision != count || s.UpdatedAt.After(minute(n)) {
		t.Fatalf("by minute %d: revision %d, updated %s; want %d facts", n, s.Revision, s.UpdatedAt, count)
	}
	if diff := cmp.Diff(reference(subset), viewOf(s), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("by minute %d: oracle (-), machine (+):\n%s", n, diff)
	}
}

// TestFormerReferences shows that they are those of every fact, rejected ones
// too, and not the order's own.
func TestFormerReferences(t *testing.T) {
	with := func(a arrival, reference string) arrival {
		a.fact.Reference = reference
		return a
	}
	first := with(fact(domain.KindPending, "a", 1), "EX1")
	h, _ := deliver(t, order.Default(), first, with(fact(domain.KindDetails, "b", 2), "EX3"),
		with(fact(domain.KindApproved, "c", 3), "EX2"), with(fact(domain.KindShipping, "d", 4), "EX3"),
		resolve(domain.ActionReject, eventID(first), "e"))
	s := order.Default().Fold(h)
	if diff := cmp.Diff([]string{"EX1", "EX2"}, s.FormerReferences); diff != "" || s.Reference != "EX3" {
		t.Errorf("of %s (-want +got):\n%s", s.Reference, diff)
	}
}

// TestDiffer holds the difference between two tables to the folds by both: there
// is one exactly where they do not agree, and up to its act they do.
func TestDiffer(t *testing.T) {
	t.Parallel()
	codes := order.Codes()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		for _, a := range drawArrivals(t, 6) {
			p.wantDecision(t, a)
		}
		status := domain.Status(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, "status"))
		kind := domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindDetails)-1).Draw(t, "kind"))
		table := func(c order.Code) order.Table { return order.DefaultTable().With(status, kind, c) }
		other, err := order.New(table(rapid.SampledFrom(codes).Filter(func(c order.Code) bool {
			_, err := order.New(table(c)) // not an edge to itself
			return err == nil
		}).Draw(t, "code")))
		if err != nil {
			t.Fatal(err)
		}
		mine, theirs := p.machine.Fold(p.history), other.Fold(p.history)
		d := p.machine.Differ(other, p.history)
		if d == nil {
			if !same(mine, theirs) {
				t.Fatalf("by %s, %s = %s the order is another, and nothing differs", status, kind, other.Table().At(status, kind))
			}
			return
		}
		if d.First.Before != status || d.First.Acted != kind {
			t.Fatalf("the first difference is at %s, %s; the tables differ at %s, %s", d.First.Before, d.First.Acted, status, kind)
		}
		if !same(d.Mine, mine) || !same(d.Theirs, theirs) {
			t.Fatalf("the order is %v and %v; want the folds %v and %v", d.Mine, d.Theirs, mine, theirs)
		}
	})
}
