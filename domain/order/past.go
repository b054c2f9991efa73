package order

import (
	"slices"
	"time"
)

// FoldOccurred is what had happened by a time, as far as h knows now: the fold of
// the facts that are dated at it or before. An operator's words are no happening
// but knowledge of others: they count whenever they were said. Revision is the number of those
// facts, and RecordedAt the newest time at which one was recorded. It is nil when there is none.
func (m *Machine) FoldOccurred(h *History, at time.Time) *State {
	if h == nil {
		return nil
	}
	until := *h
	until.facts = h.facts[:untilTime(h.facts, at)]
	if len(until.facts) == 0 {
		return nil
	}
	until.recorded = time.Time{}
	for _, e := range until.facts {
		if e.rest.recorded.After(until.recorded) {
			until.recorded = e.rest.recorded
		}
	}
	f := folding{m: m, words: h.words()}
	f.facts = h.standing(&f.words)
	f.facts = f.facts[:untilTime(f.facts, at)]
	f.fold()
	return f.state(&until)
}

// untilTime is how many of the facts, in sort order, are dated at a time or before.
func untilTime(facts []*entry, at time.Time) int {
	n, _ := slices.BinarySearchFunc(facts, at, func(e *entry, at time.Time) int {
		if e.at.After(at) {
			return 1
		}
		return -1
	})
	return n
}
