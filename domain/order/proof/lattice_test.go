package proof_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// lattice is every set of facts that has at most one fact in each of its slots,
// ordered by inclusion. A set is a number: its digit for a slot, base
// len(alphabet)+1, is 0 when the slot is empty and else the letter there.
type lattice struct {
	name     string
	slots    int
	alphabet []letter
	// at is the minute of a slot.
	at func(slot int) int
}

// letter is one fact that may stand in any slot.
type letter struct {
	kind    domain.Kind
	options []option
}

// undatedLetter marks a letter whose fact has no date: it comes in at its slot's minute.
func undatedLetter(l letter) letter {
	l.options = append(slices.Clip(l.options), func(a *arrival) {
		a.received, a.fact.OccurredAt = a.fact.OccurredAt, time.Time{}
	})
	return l
}

// moving is the twelve kinds that may move the status, bare.
func moving() []letter {
	var letters []letter
	for k := domain.KindStarted; k < domain.KindDetails; k++ {
		letters = append(letters, letter{kind: k})
	}
	return letters
}

// variants is the twelve kinds and what else a fact may carry that asks a guard
// or makes a sum.
func variants() []letter {
	with := func(k domain.Kind, o ...option) letter { return letter{kind: k, options: o} }
	return append(
		moving(),
		with(domain.KindCancelled, because(domain.ReasonVoid)),
		with(domain.KindCancelled, because(domain.ReasonExpired)),
		with(domain.KindApproved, paid(100)),
		with(domain.KindApproved, paid(100), payment("p1")),
		with(domain.KindApproved, paid(50), payment("p2")),
		with(domain.KindPending, payment("p2")),
		with(domain.KindPartiallyRefunded, back(40), payment("p1")),
		with(domain.KindPartiallyRefunded, refundOf("r", 100)),
		with(domain.KindRefunded, back(100)),
		with(domain.KindRefunded, payment("p1")),
		with(domain.KindChargeback, payment("p1")),
		with(domain.KindChargeback, payment("p2")),
		with(domain.KindChargebackReversed, payment("p1")),
		with(domain.KindDetails, func(a *arrival) { a.fact.Reference = a.fact.Key }),
		with(domain.KindFlagged, because(domain.ReasonBlocked)),
		undatedLetter(with(domain.KindPending)),
		undatedLetter(with(domain.KindRefused)),
		undatedLetter(with(domain.KindCancelled)),
		undatedLetter(with(domain.KindRefunded)),
		undatedLetter(with(domain.KindChargeback)),
	)
}

// clashing is letters whose order matters when they tie.
func clashing() []letter {
	with := func(k domain.Kind, o ...option) letter { return letter{kind: k, options: o} }
	return []letter{
		with(domain.KindPending, payment("p1")),
		with(domain.KindRefused),
		with(domain.KindCancelled, because(domain.ReasonVoid)),
		with(domain.KindExpired),
		with(domain.KindApproved, paid(100), payment("p1")),
		with(domain.KindApproved, paid(50), payment("p2")),
		with(domain.KindPartiallyRefunded, back(40)),
		with(domain.KindRefunded, back(100)),
		with(domain.KindRefunded),
		with(domain.KindChargeback, payment("p1")),
		with(domain.KindChargeback, payment("p2")),
		with(domain.KindChargebackReversed, payment("p1")),
		with(domain.KindDetails, func(a *arrival) { a.fact.Reference = a.fact.Key }),
		undatedLetter(with(domain.KindPending)),
		undatedLetter(with(domain.KindRefused)),
		undatedLetter(with(domain.KindApproved)),
	}
}

// TestLattice proves, for every set of facts S of a lattice and every fact f of
// it: deciding f on S gives the state of S ∪ {f}, and nothing changes when f is
// in S. By induction over the size of the set, every order of delivery with any
// repeats gives one state.
func TestLattice(t *testing.T) {
	apart := func(slot int) int { return 10 * slot }
	for _, l := range []lattice{
		{"four facts of every kind", 4, moving(), apart},
		{"three facts with their variants", 3, variants(), apart},
		{"three facts of one moment", 3, clashing(), func(int) int { return 0 }},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.prove(t, order.Default())
		})
	}
}

func (l *lattice) fact(slot, digit int) arrival {
	v := l.alphabet[digit-1]
	return fact(v.kind, fmt.Sprintf("%d/%d", slot, digit), l.at(slot), v.options...)
}

// facts is every fact of l, by slot and digit.
func (l *lattice) facts() [][]arrival {
	facts := make([][]arrival, l.slots)
	for slot := range facts {
		facts[slot] = make([]arrival, len(l.alphabet)+1)
		for digit := 1; digit <= len(l.alphabet); digit++ {
			facts[slot][digit] = l.fact(slot, digit)
		}
	}
	return facts
}

// prove builds every set along one way and enters it along all others.
func (l *lattice) prove(t *testing.T, m *order.Machine) {
	t.Helper()
	base := len(l.alphabet) + 1
	place := []int{1} // the weight of each slot's digit
	for range l.slots {
		place = append(place, place[len(place)-1]*base)
	}
	histories := make([]*order.History, place[l.slots])
	states := make([]*order.State, place[l.slots])
	facts := l.facts()
	decide := func(set, slot, digit int) order.Decision {
		a := facts[slot][digit]
		d, err := m.Decide(histories[set], a.fact, metaOf(a, clock))
		if err != nil {
			t.Fatalf("set %d, %v: %v", set, a, err)
		}
		return d
	}
	states[0] = m.Fold(nil)
	for set := 1; set < len(states); set++ {
		slot := lastFilled(set, base, l.slots, set%l.slots)
		digit := set / place[slot] % base
		d := decide(set-digit*place[slot], slot, digit)
		histories[set], states[set] = d.History, m.Fold(d.History)
	}
	for set := range states {
		for slot := range l.slots {
			if digit := set / place[slot] % base; digit != 0 {
				l.wantDuplicate(t, states[set], decide(set, slot, digit))
				continue
			}
			for digit := 1; digit < base; digit++ {
				d := decide(set, slot, digit)
				l.wantState(t, states[set], states[set+digit*place[slot]], &d, facts[slot][digit])
			}
		}
	}
}

// lastFilled is a filled slot of set: the first at or after the one given,
// around the end, so that sets are built in no one order of time.
func lastFilled(set, base, slots, from int) int {
	digits := make([]int, slots)
	for i := range digits {
		digits[i] = set % base
		set /= base
	}
	for i := range slots {
		if slot := (from + i) % slots; digits[slot] != 0 {
			return slot
		}
	}
	return -1
}

func (l *lattice) wantDuplicate(t *testing.T, s *order.State, d order.Decision) {
	t.Helper()
	if d.Event.Verdict != domain.VerdictDuplicate || !same(d.Before, s) || !same(d.After, s) || d.History.Revision() != s.Revision {
		t.Fatalf("a repeat is %s, and makes of %v\n%v", d.Event.Verdict, s, d.After)
	}
}

func (l *lattice) wantState(t *testing.T, before, after *order.State, d *order.Decision, a arrival) {
	t.Helper()
	if d.Event.Verdict == domain.VerdictDuplicate || !same(d.Before, before) || !same(d.After, after) {
		t.Fatalf("%v is %s\nbefore: %s\nafter: %s", a, d.Event.Verdict, cmp.Diff(before, d.Before), cmp.Diff(after, d.After))
	}
}
