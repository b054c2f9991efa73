package order

import (
	"slices"
	"time"

	"comanda.internal/domain"
)

// The parts that a stored fact may play in the current fold: a closed set, in
// [Explained]'s Part.
const (
	PartMoved      = "moved"      // it moves the order at its place
	PartForced     = "forced"     // likewise, because an operator accepted it
	PartNoted      = "noted"      // nothing moves, and Why says why
	PartConflict   = "conflict"   // the fold refuses it: it waits for an operator
	PartHeldBack   = "held_back"  // undated, and may not move a paid order
	PartRejected   = "rejected"   // an operator took it out
	PartSuperseded = "superseded" // a codec concluded it, and the real fact is known
)

// Explained is what a stored fact does in the current fold, whatever it did when it
// was recorded.
type Explained struct {
	Event    domain.EventID
	Revision uint64
	Kind     domain.Kind
	Acted    domain.Kind // as which it asks the table: a refund that is not full asks as a partial one
	At       time.Time   // its place in time
	Part     string      // one of the Part constants
	Why      string      // one of the Why constants; "" when it moves, or has no part
	// Before and After are the order's statuses around its place; the same when
	// nothing moves.
	Before, After domain.Status
	Gap           bool // a predecessor of it was never seen
	// Completes says that the money shows a full refund with this fact, which moves the
	// order to refunded at the end of the fold.
	Completes bool
}

// Explain is what every stored fact of h does in its fold, in the order in which
// they fold. Empty for nil.
func (m *Machine) Explain(h *History) []Explained {
	if h == nil {
		return nil
	}
	f, acts := m.traced(h)
	out := make([]Explained, len(h.facts))
	status := domain.StatusNone
	for i, e := range h.facts {
		x := &out[i]
		*x = Explained{Event: e.id, Revision: e.revision, Kind: e.kind, Acted: e.kind, At: e.at, Before: status, After: status}
		switch {
		case f.words.events[e.id] == domain.ActionReject:
			x.Part = PartRejected
		case !slices.Contains(f.facts, e):
			x.Part = PartSuperseded
		case !e.kind.Moves():
			x.Part, x.Why = PartNoted, WhyNotStatus
			if e.kind == domain.KindResolved {
				x.Why = WhyResolution
			}
		default:
			x.act(&acts[0], f.words.events[e.id] == domain.ActionAccept)
			status, acts = x.After, acts[1:]
		}
	}
	for i := range out {
		out[i].Completes = len(acts) > 0 && acts[0].Event == out[i].Event // what is left is a completed refund
	}
	return out
}

func (x *Explained) act(a *Act, accepted bool) {
	x.Acted, x.After, x.Gap, x.Why = a.Acted, a.Did.To, a.Did.Gap, a.Did.Why
	switch {
	case a.Did.Why == WhyContradicts, a.Did.Why == WhyVoided:
		x.Part = PartConflict
	case a.Did.Why == WhyHeldBack:
		x.Part = PartHeldBack
	case a.Did.Why != "":
		x.Part = PartNoted
	case accepted:
		x.Part = PartForced
	default:
		x.Part = PartMoved
	}
}
