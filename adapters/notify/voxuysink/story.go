package voxuysink

import (
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
	"comanda.internal/domain/order"
)

// story is an order as its events made it, one state for each revision.
type story struct {
	events []domain.Recorded
	states []*order.State // states[r] is after revision r; states[0] before the first
}

func tell(machine *order.Machine, events []domain.Recorded) (*story, error) {
	s := &story{events: events, states: make([]*order.State, 0, len(events)+1)}
	var h *order.History
	s.states = append(s.states, machine.Fold(h))
	for i := range events {
		var err error
		if h, err = h.With(&events[i].Event); err != nil {
			return nil, fmt.Errorf("fold %s: %w", events[i].Event.OrderID, err)
		}
		s.states = append(s.states, machine.Fold(h))
	}
	return s, nil
}

// word is what the event of this revision says to an endpoint with these rules.
func (s *story) word(rules delivery.Rules, revision uint64) (word, bool) {
	e := &s.events[revision-1].Event
	if !asked(rules, e) {
		return word{}, false
	}
	return wordOf(e, s.states[revision-1], s.states[revision])
}

// asked reports whether the rules take e, but for corrections, which are for
// endpoints that keep an order's status.
func asked(rules delivery.Rules, e *domain.Event) bool {
	return slices.ContainsFunc(delivery.TypesOf(e), rules.Filter.Match)
}

// superseded reports whether a newer event is stored that says something too.
func (s *story) superseded(rules delivery.Rules, revision uint64) bool {
	for r := revision + 1; r <= uint64(len(s.events)); r++ {
		if _, ok := s.word(rules, r); ok {
			return true
		}
	}
	return false
}

// repeated reports whether an earlier event, one that moved nothing either, said w.
func (s *story) repeated(rules delivery.Rules, revision uint64, w word) bool {
	for r := uint64(1); r < revision; r++ {
		if s.events[r-1].Event.Verdict == domain.VerdictApplied {
			continue
		}
		if earlier, ok := s.word(rules, r); ok && earlier == w {
			return true
		}
	}
	return false
}
