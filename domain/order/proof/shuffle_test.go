package proof_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// TestShuffles delivers random sets of up to eight facts, and operators' words on
// them, in other orders and repeatedly: one status, one set of facets, one set
// of open conflicts.
func TestShuffles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		facts := drawArrivals(t, 8)
		for _, a := range facts {
			if _, err := p.decide(a); err != nil {
				t.Fatalf("decide %v: %v", a, err)
			}
		}
		words := p.drawWords(t)
		want := settledState(p.machine.Fold(p.history))
		for range 4 {
			s := shuffle{pair: newPair(), facts: rapid.Permutation(facts).Draw(t, "order"), words: words}
			got := settledState(s.run(t))
			if !same(want, got) {
				t.Fatalf("two orders of one set differ:\n%v\n%v\n%s", facts, s.facts, cmp.Diff(want, got))
			}
		}
	})
}

// TestReaders reads random histories in orders in which they were not decided,
// with operators' words before what they are about: the fold asks the set alone.
func TestReaders(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		var events []domain.Event
		keep := func(a arrival) {
			if d, err := p.decide(a); err == nil && d.Event.Verdict != domain.VerdictDuplicate {
				events = append(events, d.Event)
			}
		}
		for _, a := range drawArrivals(t, 8) {
			keep(a)
			if rapid.IntRange(0, 2).Draw(t, "operator") == 0 {
				keep(drawWord(t, "w"+a.fact.Key, p.ids()))
			}
		}
		want := settledState(p.machine.Fold(p.history))
		var h *order.History
		for i, e := range rapid.Permutation(events).Draw(t, "order") {
			e.Revision = uint64(i) + 1
			next, err := h.With(&e)
			if err != nil {
				t.Fatalf("event %d: %v", e.Revision, err)
			}
			h = next
		}
		if got := settledState(p.machine.Fold(h)); !same(want, got) {
			t.Fatalf("read in another order: %s", cmp.Diff(want, got))
		}
	})
}

// drawWords says up to three words at the end, and returns those that were legal.
func (p *pair) drawWords(t *rapid.T) []arrival {
	var words []arrival
	for _, key := range []string{"w0", "w1", "w2"}[:rapid.IntRange(0, 3).Draw(t, "words")] {
		targets := p.ids()
		if now := reference(p.records); len(now.Conflicts)+len(now.HeldBack) > 0 && rapid.Bool().Draw(t, "open") {
			targets = append(now.Conflicts, now.HeldBack...)
		}
		w := drawWord(t, key, targets)
		if p.tells(w) {
			continue // the codec's conclusion may not be stored in another order
		}
		if _, err := p.decide(w); err == nil {
			words = append(words, w)
		}
	}
	return words
}

// tells reports whether w is about a fact that a codec concluded.
func (p *pair) tells(w arrival) bool {
	for _, r := range p.records {
		if r.id == w.fact.Resolution.Event {
			return r.fact.Inferred
		}
	}
	return false
}

// settledState is s without what may differ: how many facts are stored, when the
// first and the last one were, and what references they gave, because a codec's conclusion is dropped only when the real fact came first.
func settledState(s *order.State) *order.State {
	c := *s
	c.Revision = 0
	c.RecordedAt = noon
	c.FirstRecordedAt = noon
	c.FormerReferences = nil
	return &c
}

// shuffle is one more delivery of a set of facts and words.
type shuffle struct {
	*pair

	facts []arrival // in this delivery's order
	words []arrival // in the operator's order, each as soon as it is legal, or later
}

func (s *shuffle) run(t *rapid.T) *order.State {
	for i, a := range s.facts {
		s.must(t, a)
		if rapid.IntRange(0, 2).Draw(t, "repeat") == 0 {
			s.must(t, later(s.facts[rapid.IntRange(0, i).Draw(t, "again")]))
		}
		if rapid.Bool().Draw(t, "operator") {
			s.say(t, false)
		}
	}
	for len(s.words) > 0 {
		s.say(t, true)
	}
	return s.machine.Fold(s.history)
}

func (s *shuffle) must(t *rapid.T, a arrival) {
	if _, err := s.decide(a); err != nil {
		t.Fatalf("decide %v: %v", a, err)
	}
}

// say tries the operator's next word; at the end every one must be legal.
func (s *shuffle) say(t *rapid.T, last bool) {
	if len(s.words) == 0 {
		return
	}
	_, err := s.decide(s.words[0])
	if err == nil {
		s.words = s.words[1:]
		return
	}
	if last || domain.KindOf(err) != domain.Refused {
		t.Fatalf("%v: %v", s.words[0], err)
	}
}
