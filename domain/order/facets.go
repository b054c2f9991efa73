package order

import (
	"cmp"
	"slices"
	"time"

	"comanda.internal/domain"
)

// facets are merged in one pass over the standing facts in sort order: minimum
// for the first dates, union for payment ids and flags, and for all else the
// value of the greatest fact that carries one, which is the last one seen.
type facets struct {
	s       *State
	items   []item
	phase   string
	shipped time.Time
	// lastTotal, firstCurrency and lastReference are what came before, to see changes.
	lastTotal                    domain.Amount
	firstCurrency, lastReference string
	// lastPaid is the place of the last approval with an amount; -1 is none.
	lastPaid int
}

// item is an attention item at its cause's place.
type item struct {
	place int
	kind  string
}

// state is the order that f folded, as readers see it.
func (f *folding) state(h *History) *State {
	s := &State{
		Status: f.status, Revision: h.Revision(), RecordedAt: h.RecordedAt(),
		Paid: f.paid.total(), Refunded: f.refunded.total(&f.paid), FullyRefunded: f.refunded.full(&f.paid), Dispute: f.dispute,
		Conflicts: f.conflicts, Path: f.path, MachineVersion: f.m.version,
	}
	if h != nil {
		s.Identity, s.Source, s.FirstRecordedAt = h.identity, h.source, h.first
	}
	g := facets{s: s, lastPaid: -1}
	for i, e := range f.facts {
		g.merge(i, e)
	}
	if s.Status == domain.StatusPending {
		s.Phase = g.phase
	}
	s.FormerReferences = h.otherReferences(s.Reference)
	slices.Sort(s.PaymentIDs)
	slices.Sort(s.Flags)
	for _, step := range f.path {
		s.Gap = s.Gap || step.Gap
	}
	for _, place := range f.held {
		s.HeldBack = append(s.HeldBack, f.facts[place].id)
		g.attend(place, AttentionHeldBack)
	}
	for _, place := range f.rescued {
		g.attend(place, AttentionPaidAfterCancel)
	}
	g.attendMoney(&f.paid)
	s.Attention = f.attention(g.items)
	return s
}

// merge takes what e carries: "", nil, {} and [] carry nothing.
func (g *facets) merge(place int, e *entry) {
	g.mergeTimes(e)
	g.mergeByKind(place, e)
	s, r := g.s, e.rest
	if e.payment != "" && !slices.Contains(s.PaymentIDs, e.payment) {
		s.PaymentIDs = append(s.PaymentIDs, e.payment)
	}
	if r.reference != "" {
		if g.lastReference != "" && g.lastReference != r.reference {
			g.attend(place, AttentionReferenceChanged)
		}
		g.lastReference, s.Reference = r.reference, r.reference
	}
	if r.currency != "" {
		g.firstCurrency = cmp.Or(g.firstCurrency, r.currency)
		if g.firstCurrency != r.currency {
			g.attend(place, AttentionCurrencyMismatch)
		}
		s.Currency = r.currency
	}
	if r.total.Known {
		if g.lastTotal.Known && g.lastTotal != r.total {
			g.attend(place, AttentionAmountChanged)
		}
		g.lastTotal, s.Total = r.total, r.total
	}
	s.Freight = lastKnown(s.Freight, r.freight)
	s.Discount = lastKnown(s.Discount, r.discount)
	s.Method = cmp.Or(r.method, s.Method)
	s.Installments = cmp.Or(r.installments, s.Installments)
	s.CustomEvent = cmp.Or(r.customEvent, s.CustomEvent)
	if len(r.items) > 0 {
		s.Items = r.items
	}
	if len(r.utm) > 0 {
		s.UTM = r.utm
	}
	g.mergeShipping(e)
}

func (g *facets) mergeTimes(e *entry) {
	g.s.UpdatedAt = e.at
	var first *time.Time
	switch e.kind {
	case domain.KindStarted:
		first = &g.s.StartedAt
	case domain.KindAbandoned:
		first = &g.s.AbandonedAt
	case domain.KindApproved:
		first = &g.s.ApprovedAt
	default:
		return
	}
	if first.IsZero() || e.at.Before(*first) {
		*first = e.at
	}
}

// mergeByKind takes what facts of some kinds say with words of their own.
func (g *facets) mergeByKind(place int, e *entry) {
	s, r := g.s, e.rest
	switch e.kind {
	case domain.KindPending:
		g.phase = cmp.Or(r.phase, g.phase)
	case domain.KindRefused, domain.KindCancelled, domain.KindExpired:
		if e.reason != "" || r.detail != "" { // one facet, of one fact: the detail is the reason's
			s.Reason, s.Detail = e.reason, r.detail
		}
	case domain.KindApproved:
		if e.paid.Known {
			g.lastPaid = place
		}
	case domain.KindRefundRequested:
		s.RefundRequested = true
	case domain.KindFlagged:
		flag := cmp.Or(string(e.reason), r.detail)
		if flag != "" && !slices.Contains(s.Flags, flag) {
			s.Flags = append(s.Flags, flag)
		}
		if e.reason == domain.ReasonBlocked {
			g.attend(place, AttentionBlocked)
		}
		if e.reason == domain.ReasonDuplicate {
			g.attend(place, AttentionDuplicatePayment)
		}
	default:
	}
}

// mergeShipping takes the carrier's news by its own date, or else by the fact's.
func (g *facets) mergeShipping(e *entry) {
	news := e.rest.shipping
	if news == nil || *news == (domain.Shipping{}) {
		return
	}
	date := news.Date
	if date.IsZero() {
		date = e.at
	}
	if g.s.Shipping == nil || !date.Before(g.shipped) {
		g.s.Shipping, g.shipped = news, date
	}
}

func (g *facets) attend(place int, kind string) {
	g.items = append(g.items, item{place, kind})
}

// attendMoney looks at the sums, once all are known.
func (g *facets) attendMoney(paid *payments) {
	s := g.s
	if s.Total.Known && s.Paid.Known && g.lastPaid >= 0 {
		if s.Paid.Minor < s.Total.Minor {
			g.attend(g.lastPaid, AttentionUnderpaid)
		}
		if s.Paid.Minor > s.Total.Minor {
			g.attend(g.lastPaid, AttentionOverpaid)
		}
	}
	// A second payment is a duplicate, unless those before it left something to
	// pay: then it is the rest of a split one.
	var before domain.Amount
	split := s.Total.Known
	for i, p := range paid.named {
		if i > 0 && (!split || before.Minor >= s.Total.Minor) {
			g.attend(p.cause, AttentionDuplicatePayment)
		}
		before = plus(before, p.paid)
		split = split && p.paid.Known
	}
}

// attention is the items that no operator's word took off the list, by their
// causes' places and then by kind, each once.
func (f *folding) attention(items []item) []Attention {
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.kind, b.kind))
	})
	var list []Attention
	for _, i := range slices.Compact(items) {
		if a := (Attention{Kind: i.kind, Event: f.facts[i.place].id}); !f.words.clears(a) {
			list = append(list, a)
		}
	}
	return list
}

// lastKnown is next where it is known, else before.
func lastKnown(before, next domain.Amount) domain.Amount {
	if next.Known {
		return next
	}
	return before
}
