package order

import (
	"slices"

	"comanda.internal/domain"
)

// Fold is the order's state; deterministic, whatever the order of delivery was.
func (m *Machine) Fold(h *History) *State {
	f := m.run(h, "")
	return f.state(h)
}

// run folds h, and remembers why the fact named watch did what it did.
func (m *Machine) run(h *History, watch domain.EventID) folding {
	f := folding{m: m, watch: watch, words: h.words()}
	f.facts = h.standing(&f.words)
	f.fold()
	return f
}

// folding is a fold at work: one pass over the facts in sort order.
type folding struct {
	m     *Machine
	facts []*entry // those that stand, in sort order
	words words
	watch domain.EventID
	why   string      // of the watched fact; "" when it moved the order at its place
	acted domain.Kind // as which the watched fact acted
	trace *[]Act      // every fact of a status kind, and a completed refund; nil: not kept

	paid     payments // of all facts
	refunded refunds  // of all facts
	full     bool     // the refund: of all facts, or of those since an accepted approval

	status    domain.Status
	path      []domain.Step
	conflicts []domain.EventID
	held      []int // places
	rescued   []int // places of approvals that moved the order out of cancelled

	approved bool     // some step so far went to approved
	payments []string // ids that approvals so far named

	// Of the cancellations since the order entered cancelled: some were voids,
	// and with a reason other than unknown.
	voided, voidedFor bool
	sold              bool // the order entered cancelled when it was paid

	disputes []string // payment ids of those open; "" names none
	dispute  string   // the facet
	fromVoid bool     // the dispute was entered from a void

	// since are the refunds from the last accepted approval to place next, which is not in it.
	since refunds
	next  int
}

func (f *folding) fold() {
	for i, e := range f.facts {
		f.paid.add(e, i)
		f.refunded.add(e)
	}
	f.full = f.refunded.full(&f.paid)
	for i, e := range f.facts {
		why, acted := WhyNotStatus, e.kind
		if e.kind.Moves() {
			before, steps := f.status, len(f.path)
			acted = actingKind(e.kind, f.full)
			why = f.act(i, e, acted)
			f.observe(e)
			if f.trace != nil {
				f.note(Act{Event: e.id, Kind: e.kind, Acted: acted, At: e.at, Before: before}, steps, why)
			}
		}
		if e.id == f.watch {
			f.why, f.acted = why, acted
		}
	}
	f.completeRefund()
}

// act folds one fact at its place, as the kind given. It returns why nothing
// moved; "" when it did.
func (f *folding) act(place int, e *entry, kind domain.Kind) string {
	c := &f.m.cells[f.status][kind]
	if f.words.events[e.id] == domain.ActionAccept {
		return f.force(place, e, c)
	}
	if f.holdsBack(e, c) {
		f.held = append(f.held, place)
		return WhyHeldBack
	}
	choice, why := f.choose(place, e, c)
	if why != "" {
		if why == WhyContradicts || why == WhyVoided {
			f.conflicts = append(f.conflicts, e.id)
		}
		return why
	}
	to := f.ask(kind, c, choice)
	if to == domain.StatusNone {
		return WhyNoEdge
	}
	if f.status == domain.StatusCancelled && to == domain.StatusApproved && e.kind == domain.KindApproved {
		f.rescued = append(f.rescued, place)
	}
	f.enter(to, c.code == CodeReversed)
	f.move(domain.Step{Event: e.id, To: to, Gap: c.gap})
	return ""
}

// actingKind is the kind as which a fact acts and asks the machine.
func actingKind(kind domain.Kind, full bool) domain.Kind {
	if kind == domain.KindRefunded && !full {
		return domain.KindPartiallyRefunded
	}
	return kind
}

// choose asks the cell's guard. why is "" when there is an edge to take; choice
// is then its target where the cell has several.
func (f *folding) choose(place int, e *entry, c *cell) (choice domain.Status, why string) {
	switch c.code {
	case CodeStay:
		return 0, WhyNoEdge
	case CodeConflict:
		if e.payment != "" && !slices.Contains(f.payments, e.payment) {
			return 0, WhySecondAttempt
		}
		return 0, WhyContradicts
	case CodeReopen:
		if f.status == domain.StatusCancelled && f.voidedFor {
			return 0, WhyVoided
		}
	case CodeImplied:
		if f.approved {
			return 0, WhyPaymentKnown
		}
	case CodeReversed:
		if f.otherDispute(e.payment) {
			return 0, WhyDisputeOpen
		}
		switch {
		case f.fullAt(place):
			return domain.StatusRefunded, ""
		case f.fromVoid:
			return domain.StatusCancelled, ""
		default:
			return domain.StatusApproved, ""
		}
	default: // an edge
	}
	return domain.StatusNone, ""
}

// ask is where the authority says the edge leads; StatusNone when there is none.
func (f *folding) ask(kind domain.Kind, c *cell, choice domain.Status) domain.Status {
	if len(c.targets) == 0 {
		return domain.StatusNone
	}
	return f.m.edges.next(f.status, kind, choice)
}

// holdsBack reports whether e is an undated fact that the table would act on, and
// that may not move the order because it is approved or later. A paid sale that was cancelled is later, too:
// the refusal that comes in undated after it is of the time before.
func (f *folding) holdsBack(e *entry, c *cell) bool {
	if !e.undated || c.code == CodeStay {
		return false
	}
	switch e.kind {
	case domain.KindPending, domain.KindRefused, domain.KindCancelled, domain.KindExpired:
	default:
		return false
	}
	return paidStatus(f.status) || (f.status == domain.StatusCancelled && f.sold)
}

// paidStatus reports whether an order at s was paid, whatever came after.
func paidStatus(s domain.Status) bool {
	return s == domain.StatusApproved || s == domain.StatusRefunded || s == domain.StatusChargeback
}

// force folds what an operator accepted: to the status that its kind has in row
// none, whatever the table refuses here. Where the table moves nothing there is
// nothing to force: a void that was accepted does not undo a refund or a dispute
// that an earlier-dated fact told of later.
//
// An accepted approval says that the money is there again: refunds before it no
// longer make a refund full. An accepted void says nothing of the kind.
func (f *folding) force(place int, e *entry, c *cell) string {
	targets := f.m.cells[domain.StatusNone][e.kind].targets
	if len(targets) == 0 || (c.code == CodeStay && targets[0] != f.status) {
		return WhyNoEdge
	}
	to := targets[0]
	if to == domain.StatusApproved {
		f.since, f.next = refunds{}, place
		f.full = f.refundsFrom(place)
	}
	f.fromVoid = false
	f.disputes = nil
	if f.dispute == DisputeOpen {
		f.dispute = ""
		if to == domain.StatusApproved {
			f.dispute = DisputeWon
		}
	}
	f.enter(to, false)
	if to != f.status {
		f.move(domain.Step{Event: e.id, To: to, Forced: true})
	}
	return ""
}

// refundsFrom reports whether the refunds from place on give back all that was paid.
func (f *folding) refundsFrom(place int) bool {
	var r refunds
	for _, e := range f.facts[place:] {
		r.add(e)
	}
	return r.full(&f.paid)
}

// enter keeps what later guards ask of the way into cancelled and chargeback.
// The end of a dispute brings the order back to cancelled; it does not enter it.
func (f *folding) enter(to domain.Status, back bool) {
	if to == domain.StatusCancelled && !back {
		f.voided, f.voidedFor = false, false
	}
	if to == domain.StatusCancelled && f.status != to {
		f.sold = paidStatus(f.status)
	}
	if to == domain.StatusChargeback {
		f.fromVoid = f.status == domain.StatusCancelled && f.voided
		f.disputes = nil
	}
	if back {
		f.disputes = nil
	}
	f.approved = f.approved || (to == domain.StatusApproved && f.status != to)
}

func (f *folding) move(s domain.Step) {
	s.From = f.status
	f.status = s.To
	if f.path == nil {
		f.path = make([]domain.Step, 0, min(len(f.facts), 7)+1)
	}
	f.path = append(f.path, s)
}

// observe keeps what later guards ask of the facts so far, moved or not.
func (f *folding) observe(e *entry) {
	switch e.kind {
	case domain.KindApproved:
		if e.payment != "" && !slices.Contains(f.payments, e.payment) {
			f.payments = append(f.payments, e.payment)
		}
	case domain.KindCancelled:
		f.voided = true
		f.voidedFor = f.voidedFor || e.reason != domain.ReasonUnknown
	case domain.KindChargeback:
		if !slices.Contains(f.disputes, e.payment) {
			f.disputes = append(f.disputes, e.payment)
		}
		f.dispute = DisputeOpen
	case domain.KindChargebackReversed:
		f.disputes = slices.DeleteFunc(f.disputes, func(id string) bool { return id == e.payment })
		if len(f.disputes) == 0 {
			f.dispute = DisputeWon
		}
	default:
	}
}

// otherDispute reports whether another payment's dispute is open. One that names
// no payment is no other's.
func (f *folding) otherDispute(payment string) bool {
	return payment != "" && slices.ContainsFunc(f.disputes, func(id string) bool { return id != "" && id != payment })
}

// fullAt reports whether the refunds from the last accepted approval to place
// give back all that was paid.
func (f *folding) fullAt(place int) bool {
	for ; f.next <= place; f.next++ {
		f.since.add(f.facts[f.next])
	}
	return f.since.full(&f.paid)
}

// completeRefund ends a fold in refunded where the money shows it, asked as a
// `refunded`. The step is the last refund's.
func (f *folding) completeRefund() {
	if f.status != domain.StatusApproved && f.status != domain.StatusCancelled {
		return
	}
	if !f.full {
		return
	}
	c := &f.m.cells[f.status][domain.KindRefunded]
	if f.ask(domain.KindRefunded, c, domain.StatusNone) != domain.StatusRefunded {
		return
	}
	before, steps := f.status, len(f.path)
	f.move(domain.Step{Event: f.lastRefund(), To: domain.StatusRefunded, Why: WhyRefundComplete})
	if f.trace != nil {
		f.note(Act{Event: f.path[steps].Event, Acted: domain.KindRefunded, Before: before}, steps, WhyRefundComplete)
	}
}

// lastRefund is the greatest fact in sort order that tells of a refund.
func (f *folding) lastRefund() domain.EventID {
	for _, e := range slices.Backward(f.facts) {
		if e.kind == domain.KindRefunded || e.refunded.Minor > 0 || e.refund.Minor > 0 {
			return e.id
		}
	}
	return ""
}
