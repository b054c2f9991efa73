package proof_test

import (
	"cmp"
	"slices"
	"time"

	"comanda.internal/domain"
)

// record is a stored fact as the oracle keeps it: written down once, never changed.
type record struct {
	id       domain.EventID
	fact     domain.Fact // kind as stored: expired where nobody paid
	at       time.Time   // effective
	inferred bool        // at is the receipt's
	received time.Time
	recorded time.Time
}

// edge is a step of the oracle's fold.
type edge struct {
	From, To domain.Status
	Forced   bool
	Gap      bool
	Why      string
}

// view is what the oracle says of an order.
type view struct {
	Status    domain.Status
	Path      []edge
	Conflicts []domain.EventID
	HeldBack  []domain.EventID
	Gap       bool

	Paid, Refunded domain.Amount
	FullyRefunded  bool
	PaymentIDs     []string

	StartedAt, AbandonedAt, ApprovedAt time.Time

	Reference, Method, Currency, CustomEvent string
	Total, Freight, Discount                 domain.Amount
	Installments                             int32
	Items                                    []domain.Item
	UTM                                      domain.UTM
	Shipping                                 *domain.Shipping
	Flags                                    []string
}

// reference is what an order is, by section 5.
func reference(all []record) view {
	v, _ := refold(all)
	return v
}

// refold is section 5 read aloud: slow, plain, and written without a look at the
// machine. It also tells as which kind each fact acted.
func refold(all []record) (view, map[domain.EventID]domain.Kind) {
	words := lastWords(all)
	facts := standing(all, words)
	money := sum(facts)
	f := folding{facts: facts, money: money, full: money.full(), acted: map[domain.EventID]domain.Kind{}}
	for i := range facts {
		switch r := &facts[i]; {
		case !r.fact.Kind.Moves():
		case words[r.id] == domain.ActionAccept:
			f.force(i)
		default:
			f.step(i)
		}
	}
	f.complete()

	v := view{
		Status: f.status, Path: f.path, Conflicts: f.conflicts, HeldBack: f.held,
		Paid: money.paid, Refunded: money.refunded, FullyRefunded: money.full(),
		PaymentIDs: paymentIDs(facts),
		StartedAt:  earliest(facts, domain.KindStarted), AbandonedAt: earliest(facts, domain.KindAbandoned),
		ApprovedAt: earliest(facts, domain.KindApproved),
		Flags:      flags(facts), Shipping: lastShipping(facts),
	}
	v.merge(facts)
	v.Gap = slices.ContainsFunc(f.path, func(e edge) bool { return e.Gap })
	return v, f.acted
}

// lastWords is the operators' last word on each event, by (recorded_at, id). A
// word that was itself rejected is none.
func lastWords(all []record) map[domain.EventID]domain.ResolutionAction {
	words := map[domain.EventID]domain.ResolutionAction{}
	resolutions := slices.DeleteFunc(slices.Clone(all), func(r record) bool { return r.fact.Kind != domain.KindResolved })
	slices.SortFunc(resolutions, func(a, b record) int {
		return cmp.Or(b.recorded.Compare(a.recorded), cmp.Compare(b.id, a.id))
	})
	for _, r := range resolutions { // the last first
		said := *r.fact.Resolution
		if _, later := words[said.Event]; !later && words[r.id] != domain.ActionReject {
			words[said.Event] = said.Action
		}
	}
	return words
}

// standing is the facts that count, in sort order: not the rejected ones, and
// not one that a codec concluded where the real one is known, since that one
// would not have been stored had it come second.
func standing(all []record, words map[domain.EventID]domain.ResolutionAction) []record {
	facts := slices.DeleteFunc(slices.Clone(all), func(r record) bool {
		return words[r.id] == domain.ActionReject || (r.fact.Inferred && realKnown(all, &r))
	})
	slices.SortFunc(facts, bySortOrder)
	return facts
}

func realKnown(all []record, inferred *record) bool {
	return slices.ContainsFunc(all, func(r record) bool {
		return !r.fact.Inferred && r.fact.Kind == inferred.fact.Kind && r.at.Equal(inferred.at)
	})
}

func bySortOrder(a, b record) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.fact.Kind, b.fact.Kind), a.received.Compare(b.received), cmp.Compare(a.id, b.id))
}

// folding is the oracle in the middle of its work.
type folding struct {
	facts  []record
	money  sums // over all facts
	status domain.Status
	path   []edge

	entered  int             // index of the fact that brought the order to cancelled, but not back to it
	since    int             // index of the last accepted approval; 0 is none
	full     bool            // the refund, without those before it
	sold     bool            // the order was paid when it entered cancelled
	wasVoid  bool            // when the dispute was entered
	disputes map[string]bool // open, by payment id
	approved []string        // payment ids of the approvals so far

	conflicts, held []domain.EventID
	acted           map[domain.EventID]domain.Kind
}

func (f *folding) move(to domain.Status, e edge) {
	e.From, e.To = f.status, to
	f.status = to
	f.path = append(f.path, e)
}

// force folds an accepted fact: to where its kind leads in row none. Here the
// oracle is wiser than DESIGN's letter, as the machine is: where the table moves
// nothing there is nothing to force, so that an accepted void does not hide a
// refund that an earlier-dated fact told of later; and only an accepted approval
// makes the refunds before it not count, since only it says that money came back.
func (f *folding) force(i int) {
	r := &f.facts[i]
	to := cellOf(domain.StatusNone, r.fact.Kind).to
	defer f.remember(r)
	if cellOf(f.status, r.fact.Kind).rule == stays && to != f.status {
		return
	}
	if to == domain.StatusApproved {
		f.since = i
		f.full = f.fullBetween(i, len(f.facts)-1)
	}
	f.disputes = map[string]bool{}
	f.wasVoid = false
	if to == domain.StatusCancelled {
		f.entered = i
		f.sold = f.sold && f.status == domain.StatusCancelled || isPaid(f.status)
	}
	if to != f.status {
		f.move(to, edge{Forced: true})
	}
}

// isPaid reports whether an order in status is approved or later.
func isPaid(status domain.Status) bool {
	return status == domain.StatusApproved || status == domain.StatusRefunded || status == domain.StatusChargeback
}

// remember notes the payment that an approval names.
func (f *folding) remember(r *record) {
	if r.fact.Kind == domain.KindApproved && r.fact.Payment.PaymentID != "" {
		f.approved = append(f.approved, r.fact.Payment.PaymentID)
	}
}

// step folds a fact by the table.
func (f *folding) step(i int) {
	r := &f.facts[i]
	kind := r.fact.Kind
	if kind == domain.KindRefunded && !f.full {
		kind = domain.KindPartiallyRefunded
	}
	f.acted[r.id] = kind
	c := cellOf(f.status, kind)
	if c.rule != stays && f.holdsBack(r) {
		f.held = append(f.held, r.id)
		return
	}
	defer f.remember(r)
	defer f.dispute(r)
	switch c.rule {
	case stays:
	case refuses:
		if id := r.fact.Payment.PaymentID; id == "" || slices.Contains(f.approved, id) {
			f.conflicts = append(f.conflicts, r.id)
		}
	case reopens:
		if f.voided(i, true) {
			f.conflicts = append(f.conflicts, r.id)
			return
		}
		f.move(c.to, edge{})
	case implies:
		if !slices.ContainsFunc(f.path, func(e edge) bool { return e.To == domain.StatusApproved }) {
			f.move(c.to, edge{Gap: true})
		}
	case settles:
		f.settle(i)
	case moves:
		f.enter(i, c)
	}
}

// enter takes a plain edge.
func (f *folding) enter(i int, c cell) {
	switch c.to {
	case domain.StatusCancelled:
		f.entered, f.sold = i, isPaid(f.status)
	case domain.StatusChargeback:
		f.wasVoid = f.status == domain.StatusCancelled && f.voided(i, false)
		f.disputes = map[string]bool{}
	default:
	}
	f.move(c.to, edge{Gap: c.gap})
}

// dispute keeps which payments are disputed.
func (f *folding) dispute(r *record) {
	switch r.fact.Kind {
	case domain.KindChargeback:
		f.disputes[r.fact.Payment.PaymentID] = true
	case domain.KindChargebackReversed:
		delete(f.disputes, r.fact.Payment.PaymentID)
	default:
	}
}

// settle is the end of a dispute, unless another payment's is open.
func (f *folding) settle(i int) {
	for id := range f.disputes {
		if mine := f.facts[i].fact.Payment.PaymentID; id != "" && mine != "" && id != mine {
			return
		}
	}
	f.disputes = map[string]bool{}
	switch {
	case f.fullBetween(f.since, i):
		f.move(domain.StatusRefunded, edge{})
	case f.wasVoid:
		f.sold = true
		f.move(domain.StatusCancelled, edge{})
	default:
		f.move(domain.StatusApproved, edge{})
	}
}

// complete ends a fold with the refund that the money shows.
func (f *folding) complete() {
	if (f.status == domain.StatusApproved || f.status == domain.StatusCancelled) && f.full {
		f.move(domain.StatusRefunded, edge{Why: "refund_complete"})
	}
}

// fullBetween reports whether the refunds among facts first to last give back all
// that was ever paid.
func (f *folding) fullBetween(first, last int) bool {
	if first > last {
		return false
	}
	window := sum(f.facts[first : last+1])
	paid := f.money
	refunds := refundsOf(f.facts[first:last+1], paid.byPayment, paid.paid)
	return sums{paid: paid.paid, refunded: refunds, refundedSeen: window.refundedSeen}.full()
}

// holdsBack reports whether r is one of the undated facts that never move an
// order that is approved or later.
func (f *folding) holdsBack(r *record) bool {
	if !r.inferred {
		return false
	}
	switch r.fact.Kind {
	case domain.KindCancelled, domain.KindExpired, domain.KindRefused, domain.KindPending:
	default:
		return false
	}
	// A paid sale that was voided is later than approved, too.
	return isPaid(f.status) || (f.status == domain.StatusCancelled && f.sold)
}

// voided reports whether a cancellation since the order entered cancelled was a
// void; with a reason other than unknown, when that is asked.
func (f *folding) voided(before int, withReason bool) bool {
	return slices.ContainsFunc(f.facts[f.entered:before], func(r record) bool {
		return r.fact.Kind == domain.KindCancelled && (!withReason || r.fact.Reason != domain.ReasonUnknown)
	})
}

// merge takes, facet by facet, the value of the greatest fact that carries one.
func (v *view) merge(facts []record) {
	for _, r := range facts {
		f := &r.fact
		v.Reference = cmp.Or(f.Reference, v.Reference)
		v.Method = cmp.Or(f.Payment.Method, v.Method)
		v.Currency = cmp.Or(f.Amounts.Currency, v.Currency)
		v.CustomEvent = cmp.Or(f.CustomEvent, v.CustomEvent)
		v.Installments = cmp.Or(f.Payment.Installments, v.Installments)
		v.Total = cmp.Or(f.Amounts.Total, v.Total)
		v.Freight = cmp.Or(f.Amounts.Freight, v.Freight)
		v.Discount = cmp.Or(f.Amounts.Discount, v.Discount)
		if len(f.Items) > 0 {
			v.Items = f.Items
		}
		if len(f.UTM) > 0 {
			v.UTM = f.UTM
		}
	}
}

// lastShipping is the carrier's news with the greatest date of its own; of one
// date, the greatest fact's.
func lastShipping(facts []record) *domain.Shipping {
	var last *domain.Shipping
	for _, r := range facts {
		if s := r.fact.Shipping; s != nil && (last == nil || !s.Date.Before(last.Date)) {
			last = s
		}
	}
	return last
}

// flags is the reasons that flagged facts gave, or else their details, each once.
func flags(facts []record) []string {
	var all []string
	for _, r := range facts {
		if f := &r.fact; f.Kind == domain.KindFlagged {
			all = append(all, cmp.Or(string(f.Reason), f.Detail))
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(flag string) bool { return flag == "" })
}

func earliest(facts []record, kind domain.Kind) time.Time {
	for _, r := range facts {
		if r.fact.Kind == kind {
			return r.at
		}
	}
	return time.Time{}
}

func paymentIDs(facts []record) []string {
	var ids []string
	for _, r := range facts {
		if id := r.fact.Payment.PaymentID; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
