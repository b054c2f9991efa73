package order

import (
	"cmp"
	"slices"

	"comanda.internal/domain"
)

// Live is the machine of table that asks looplab at every step, where the real
// one asks the array of its answers. It is not safe for concurrent use.
func Live(table Table) (*Machine, error) {
	m, err := New(table)
	if err != nil {
		return nil, err
	}
	live := *m
	live.edges = newLooplab(m.events())
	return &live, nil
}

// Ask is m's answer to one question.
func (m *Machine) Ask(from domain.Status, kind domain.Kind, choice domain.Status) domain.Status {
	return m.edges.next(from, kind, choice)
}

// Misled is a machine whose Fold sorts by less than it should.
type Misled struct {
	*Machine

	parts []func(a, b *entry) int
}

// The parts of the sort, in their order.
const (
	ByTime = iota
	ByRank
	ByReceipt
	ByID
)

// Without is m with a sort that lacks one part.
func Without(m *Machine, part int) *Misled {
	parts := []func(a, b *entry) int{
		func(a, b *entry) int { return a.at.Compare(b.at) },
		func(a, b *entry) int { return cmp.Compare(a.kind, b.kind) },
		func(a, b *entry) int { return a.received.Compare(b.received) },
		func(a, b *entry) int { return cmp.Compare(a.id, b.id) },
	}
	return &Misled{Machine: m, parts: slices.Delete(parts, part, part+1)}
}

// Fold folds h's facts by the sort that is left, and where it says nothing in
// the order of their delivery.
func (m *Misled) Fold(h *History) *State {
	misled := *h
	misled.facts = slices.Clone(h.facts)
	slices.SortFunc(misled.facts, func(a, b *entry) int { return cmp.Compare(a.revision, b.revision) })
	slices.SortStableFunc(misled.facts, func(a, b *entry) int {
		for _, compare := range m.parts {
			if c := compare(a, b); c != 0 {
				return c
			}
		}
		return 0
	})
	return m.Machine.Fold(&misled)
}
