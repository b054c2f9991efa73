package order

import (
	"time"

	"comanda.internal/domain"
)

// Act is what one fact of a status kind did in a fold, at its own place.
type Act struct {
	Event domain.EventID
	// Kind is the fact's; KindUnknown for the refund that money completes at the
	// end of a fold.
	Kind domain.Kind
	// Acted is the kind as which it asked the table: a refund that is not full
	// asks as a partial one.
	Acted  domain.Kind
	At     time.Time     // effective; zero for the completed refund
	Before domain.Status // of the order, at this place
	Did    Did
}

// Did is what became of an order by an act.
type Did struct {
	To      domain.Status // as before, when nothing moved
	Why     string        // nothing moved; or "", or "refund_complete"
	Gap     bool
	Dispute string // after it
}

// same reports whether a and b leave the same order behind: why a fact is noted
// is no part of it, that it contradicts or is held back is.
func (a *Did) same(b *Did) bool {
	kept := func(d *Did) string {
		switch d.Why {
		case WhyContradicts, WhyVoided:
			return WhyContradicts
		case WhyHeldBack:
			return WhyHeldBack
		default:
			return ""
		}
	}
	return a.To == b.To && a.Gap == b.Gap && a.Dispute == b.Dispute && kept(a) == kept(b)
}

// note keeps what the fact of a did: the path had so many steps before it.
func (f *folding) note(a Act, steps int, why string) {
	a.Did = Did{To: f.status, Why: why, Dispute: f.dispute, Gap: len(f.path) > steps && f.path[steps].Gap}
	*f.trace = append(*f.trace, a)
}

// Difference is how an order would differ by another table, and from where on.
type Difference struct {
	// First is the first act that differs, as m has it; Other is what it is by the
	// other machine. Both begin with one status.
	First Act
	Other Did
	// Mine and Theirs are the order by either.
	Mine, Theirs *State
}

// Differ is how the order of h would differ by another machine; nil when it would
// not. Nothing of h changes: facts are facts, whatever a table makes of them.
func (m *Machine) Differ(other *Machine, h *History) *Difference {
	mine, mineActs := m.traced(h)
	theirs, theirActs := other.traced(h)
	for i := range max(len(mineActs), len(theirActs)) {
		d := &Difference{}
		switch { // the lists differ in length by a completed refund alone, which is the last
		case i >= len(theirActs):
			d.First, d.Other = mineActs[i], Did{To: mineActs[i].Before, Dispute: mineActs[i].Did.Dispute, Why: WhyNoEdge}
		case i >= len(mineActs):
			d.First = theirActs[i]
			d.First.Did = Did{To: d.First.Before, Dispute: d.First.Did.Dispute, Why: WhyNoEdge}
			d.Other = theirActs[i].Did
		default:
			d.First, d.Other = mineActs[i], theirActs[i].Did
		}
		if !d.First.Did.same(&d.Other) {
			d.Mine, d.Theirs = mine.state(h), theirs.state(h)
			return d
		}
	}
	return nil
}

func (m *Machine) traced(h *History) (*folding, []Act) {
	acts := make([]Act, 0, h.Revision()+1)
	f := &folding{m: m, words: h.words(), trace: &acts}
	f.facts = h.standing(&f.words)
	f.fold()
	return f, acts
}
