package proof_test

import (
	"fmt"
	"slices"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// words is what an operator may say in the lattice below, of the fact in a slot.
var words = []struct {
	action domain.ResolutionAction
	slot   int
}{
	{domain.ActionReject, 0},
	{domain.ActionReject, 1},
	{domain.ActionReject, 2},
	{domain.ActionAccept, 0},
	{domain.ActionAccept, 1},
	{domain.ActionAccept, 2},
}

// resolvedSet is up to three facts and at most one operator's word on one of
// them; 0 is an empty slot, and no word.
type resolvedSet struct {
	facts [3]int
	word  int
}

// resolvedLattice is every such set and its history, where one can come about.
type resolvedLattice struct {
	lattice

	machine   *order.Machine
	histories map[resolvedSet]*order.History
	states    map[resolvedSet]*order.State
}

// TestResolutions is TestLattice for three facts and an operator's word, which
// must be legal exactly when DESIGN says so, and which acts the same whether it
// comes before the last facts or after them.
func TestResolutions(t *testing.T) {
	t.Parallel()
	letters := append(
		moving(), undatedLetter(letter{kind: domain.KindPending}), undatedLetter(letter{kind: domain.KindRefused}),
		undatedLetter(letter{kind: domain.KindCancelled}), undatedLetter(letter{kind: domain.KindExpired}),
	)
	r := resolvedLattice{
		lattice: lattice{slots: 3, alphabet: letters, at: func(slot int) int { return 10 * slot }},
		machine: order.Default(), histories: map[resolvedSet]*order.History{}, states: map[resolvedSet]*order.State{},
	}
	sets := r.sets()
	for _, s := range sets {
		r.build(t, s)
	}
	said := 0
	for _, s := range sets {
		if r.states[s] == nil {
			continue
		}
		r.wantFacts(t, s)
		if s.word == 0 {
			r.wantWords(t, s)
		} else {
			said++
		}
	}
	if said == 0 {
		t.Error("no operator's word was legal anywhere")
	}
}

// sets is every set, smaller ones before those that hold them.
func (r *resolvedLattice) sets() []resolvedSet {
	var sets []resolvedSet
	n := len(r.alphabet)
	for word := range len(words) + 1 {
		for i := range n + 1 {
			for j := range n + 1 {
				for k := range n + 1 {
					s := resolvedSet{[3]int{i, j, k}, word}
					if word == 0 || s.facts[words[word-1].slot] != 0 {
						sets = append(sets, s)
					}
				}
			}
		}
	}
	return sets
}

// arrival is the fact in a slot of s.
func (r *resolvedLattice) arrival(s resolvedSet, slot int) arrival {
	return r.fact(slot, s.facts[slot])
}

// spoken is the arrival of s's word.
func (r *resolvedLattice) spoken(s resolvedSet) arrival {
	w := words[s.word-1]
	return resolve(w.action, eventID(r.arrival(s, w.slot)), fmt.Sprintf("word/%d", s.word))
}

// build finds one way to s; none when its word was legal in no subset of its facts.
func (r *resolvedLattice) build(t *testing.T, s resolvedSet) {
	t.Helper()
	if s == (resolvedSet{}) {
		r.states[s] = r.machine.Fold(nil)
		return
	}
	for slot, digit := range s.facts {
		smaller := s
		smaller.facts[slot] = 0
		if digit == 0 || r.states[smaller] == nil {
			continue
		}
		d, err := r.machine.Decide(r.histories[smaller], r.arrival(s, slot).fact, metaOf(r.arrival(s, slot), clock))
		if err != nil {
			t.Fatalf("%v: %v", s, err)
		}
		r.histories[s], r.states[s] = d.History, r.machine.Fold(d.History)
		return
	}
	if s.word == 0 {
		return
	}
	silent := s
	silent.word = 0
	if d, err := r.machine.Decide(r.histories[silent], r.spoken(s).fact, metaOf(r.spoken(s), clock)); err == nil {
		r.histories[s], r.states[s] = d.History, r.machine.Fold(d.History)
	}
}

// wantFacts enters, from s, every set with one fact more, and repeats every fact.
func (r *resolvedLattice) wantFacts(t *testing.T, s resolvedSet) {
	t.Helper()
	for slot, digit := range s.facts {
		if digit != 0 {
			d, err := r.machine.Decide(r.histories[s], r.arrival(s, slot).fact, metaOf(r.arrival(s, slot), clock))
			if err != nil {
				t.Fatalf("repeat in %v: %v", s, err)
			}
			r.wantDuplicate(t, r.states[s], d)
			continue
		}
		for digit := 1; digit <= len(r.alphabet); digit++ {
			larger := s
			larger.facts[slot] = digit
			a := r.arrival(larger, slot)
			d, err := r.machine.Decide(r.histories[s], a.fact, metaOf(a, clock))
			if err != nil {
				t.Fatalf("%v on %v: %v", a, s, err)
			}
			r.wantState(t, r.states[s], r.states[larger], &d, a)
		}
	}
}

// wantWords says every word on s, which has none yet.
func (r *resolvedLattice) wantWords(t *testing.T, s resolvedSet) {
	t.Helper()
	for i, w := range words {
		larger := resolvedSet{s.facts, i + 1}
		if s.facts[w.slot] == 0 {
			r.wantRefused(t, s, resolve(w.action, eventID(r.fact(w.slot, 1)), "word"))
			continue
		}
		a, before := r.spoken(larger), r.states[s]
		id := a.fact.Resolution.Event
		if w.action == domain.ActionAccept && !slices.Contains(before.Conflicts, id) && !slices.Contains(before.HeldBack, id) {
			r.wantRefused(t, s, a)
			continue
		}
		d, err := r.machine.Decide(r.histories[s], a.fact, metaOf(a, clock))
		if err != nil {
			t.Fatalf("%v on %v: %v", a, s, err)
		}
		r.wantState(t, before, r.states[larger], &d, a)
	}
}

func (r *resolvedLattice) wantRefused(t *testing.T, s resolvedSet, a arrival) {
	t.Helper()
	if _, err := r.machine.Decide(r.histories[s], a.fact, metaOf(a, clock)); domain.KindOf(err) != domain.Refused || err == nil {
		t.Fatalf("%v on %v: %v, want refused", a, s, err)
	}
}
