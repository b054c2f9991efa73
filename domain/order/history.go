package order

import (
	"cmp"
	"slices"
	"time"

	"comanda.internal/domain"
)

// History is an order's stored facts, compactly: what the fold needs and no
// more. It is immutable: With makes another, which shares all facts with it. The
// nil *History is a new order.
type History struct {
	order    domain.OrderID
	identity domain.Identity
	source   domain.SourceID // of the first event
	keyID    string
	first    time.Time // when the first event was recorded
	recorded time.Time // of the newest event
	version  uint32    // of the newest event
	facts    []*entry  // in sort order, never changed
	// resolutions says that some fact is an operator's word, inferred that some
	// fact is one that a codec concluded: without them every fact stands.
	resolutions, inferred bool
}

// entry is a stored fact as the fold sees it. The rarer half is apart.
type entry struct {
	id       domain.EventID
	at       time.Time // effective
	received time.Time
	revision uint64
	digest   uint64 // the first 8 bytes
	kind     domain.Kind
	verdict  domain.Verdict
	undated  bool // at is the receipt's
	inferred bool // concluded by a codec
	reason   domain.Reason
	payment  string // id
	paid     domain.Amount
	refunded domain.Amount // cumulative
	refund   domain.Amount // of refundID alone
	rest     *rest         // never nil
}

// rest is what only facets, and operators' words, need.
type rest struct {
	reference, detail, currency, method, phase, refundID, customEvent string

	installments             int32
	total, freight, discount domain.Amount
	items                    []domain.Item
	utm                      domain.UTM
	shipping                 *domain.Shipping
	resolution               domain.Resolution
	recorded                 time.Time
}

// With is h after e was stored. e must be the order's next revision, and new to
// it: an error is of kind Corrupt, for then the log does not hold together.
func (h *History) With(e *domain.Event) (*History, error) {
	if e.Revision != h.Revision()+1 {
		return nil, domain.Errorf(domain.Corrupt, "order %s: event %s has revision %d, want %d", e.OrderID, e.ID, e.Revision, h.Revision()+1)
	}
	if h != nil && e.OrderID != h.order {
		return nil, domain.Errorf(domain.Corrupt, "order %s: event %s is of order %s", h.order, e.ID, e.OrderID)
	}
	if h.entry(e.ID) != nil {
		return nil, domain.Errorf(domain.Corrupt, "order %s: event %s is there twice", e.OrderID, e.ID)
	}
	if e.Fact.Kind == domain.KindUnknown || e.Fact.Kind >= domain.KindCount || (e.Fact.Kind == domain.KindResolved) != (e.Fact.Resolution != nil) {
		return nil, domain.Errorf(domain.Corrupt, "order %s: event %s is no fact: kind %s", e.OrderID, e.ID, e.Fact.Kind)
	}
	next, _ := h.with(e)
	return next, nil
}

// with is With for an event that is known to fit, and what was added.
func (h *History) with(e *domain.Event) (next *History, added *entry) {
	next = &History{}
	if h == nil {
		next.order, next.identity, next.keyID = e.OrderID, e.Fact.Identity(e.Tenant), e.KeyID
		next.source, next.first = e.Source, e.RecordedAt
	} else {
		*next = *h
	}
	added = newEntry(e)
	place, _ := slices.BinarySearchFunc(next.facts, added, compareEntries)
	facts := make([]*entry, len(next.facts)+1)
	copy(facts, next.facts[:place])
	facts[place] = added
	copy(facts[place+1:], next.facts[place:])
	next.facts = facts
	next.recorded, next.version = e.RecordedAt, e.MachineVersion
	next.resolutions = next.resolutions || added.kind == domain.KindResolved
	next.inferred = next.inferred || added.inferred
	return next, added
}

func newEntry(e *domain.Event) *entry {
	f := &e.Fact
	both := new(struct { // one piece of memory
		entry entry
		rest  rest
	})
	r := &both.rest
	both.rest = rest{
		reference: f.Reference, detail: f.Detail, currency: f.Amounts.Currency, method: f.Payment.Method,
		phase: f.Payment.Phase, refundID: f.Payment.RefundID, customEvent: f.CustomEvent,
		installments: f.Payment.Installments,
		total:        f.Amounts.Total, freight: f.Amounts.Freight, discount: f.Amounts.Discount,
		items: f.Items, utm: f.UTM, shipping: f.Shipping, recorded: e.RecordedAt,
	}
	if f.Resolution != nil {
		r.resolution = *f.Resolution
	}
	both.entry = entry{
		// UTC also drops a monotonic reading, which would make times compare
		// otherwise before the log than after it.
		id: e.ID, at: e.EffectiveAt.UTC(), received: e.ReceivedAt.UTC(), revision: e.Revision,
		digest: shortDigest(&e.Digest), kind: f.Kind, verdict: e.Verdict,
		undated: e.TimeInferred, inferred: f.Inferred, reason: f.Reason, payment: f.Payment.PaymentID,
		paid: f.Amounts.Paid, refunded: f.Amounts.Refunded, refund: f.Amounts.Refund, rest: r,
	}
	return &both.entry
}

// compareEntries is the order in which facts fold: effective time, rank, receipt
// time, event id.
func compareEntries(a, b *entry) int {
	if c := a.at.Compare(b.at); c != 0 {
		return c
	}
	if c := cmp.Compare(a.kind, b.kind); c != 0 {
		return c
	}
	if c := a.received.Compare(b.received); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// entry is the stored fact of this id; nil when there is none.
func (h *History) entry(id domain.EventID) *entry {
	if h == nil {
		return nil
	}
	for _, e := range h.facts {
		if e.id == id {
			return e
		}
	}
	return nil
}

// real is the stored fact that makes an inferred one of this kind and effective
// time a duplicate; nil when there is none.
func (h *History) real(kind domain.Kind, at time.Time) *entry {
	if h == nil {
		return nil
	}
	from, _ := slices.BinarySearchFunc(h.facts, at, func(e *entry, at time.Time) int { return e.at.Compare(at) })
	for _, e := range h.facts[from:] {
		if !e.at.Equal(at) {
			break
		}
		if e.kind == kind && !e.inferred {
			return e
		}
	}
	return nil
}

// Revision is the number of events in h; 0 for nil.
func (h *History) Revision() uint64 {
	if h == nil {
		return 0
	}
	return uint64(len(h.facts))
}

// Event returns the revision of the stored event with this id; false when there
// is none.
func (h *History) Event(id domain.EventID) (revision uint64, ok bool) {
	e := h.entry(id)
	if e == nil {
		return 0, false
	}
	return e.revision, true
}

// Verdict is the verdict with which the event with this id was stored; false
// when there is none.
func (h *History) Verdict(id domain.EventID) (domain.Verdict, bool) {
	e := h.entry(id)
	if e == nil {
		return domain.VerdictUnknown, false
	}
	return e.verdict, true
}

// Recorded is when the event with this id was recorded; false when there is none.
func (h *History) Recorded(id domain.EventID) (time.Time, bool) {
	e := h.entry(id)
	if e == nil {
		return time.Time{}, false
	}
	return e.rest.recorded, true
}

// Entered is when each step of path, the way of a fold of h or of an earlier
// revision of it, was taken: the effective time of the step's fact, and never
// before the step before it, as a refund may become complete by an earlier-dated
// one. A step of a fact that h does not have is the zero time.
func (h *History) Entered(path []domain.Step) []time.Time {
	if h == nil {
		return nil
	}
	entered := make([]time.Time, len(path))
	place := 0 // of the last step's fact: steps mostly come in the facts' order
	for i := range path {
		for n := range h.facts {
			at := (place + n) % len(h.facts)
			if e := h.facts[at]; e.id == path[i].Event {
				place, entered[i] = at, e.at
				break
			}
		}
		if i > 0 && entered[i].Before(entered[i-1]) {
			entered[i] = entered[i-1]
		}
	}
	return entered
}

// OrderID is the order's id; "" for nil.
func (h *History) OrderID() domain.OrderID {
	if h == nil {
		return ""
	}
	return h.order
}

// otherReferences are those that any fact gave, but for one; sorted.
func (h *History) otherReferences(one string) []string {
	if h == nil {
		return nil
	}
	var others []string
	for _, e := range h.facts {
		if r := e.rest.reference; r != "" && r != one && !slices.Contains(others, r) {
			others = append(others, r)
		}
	}
	slices.Sort(others)
	return others
}

// KeyID is the name of the order's data key, from its first event; "" for nil.
// A Decision on a new order cannot know it: the history of a first event that was
// sealed is made by With.
func (h *History) KeyID() string {
	if h == nil {
		return ""
	}
	return h.keyID
}

// RecordedAt is when the newest event was recorded; zero for nil.
func (h *History) RecordedAt() time.Time {
	if h == nil {
		return time.Time{}
	}
	return h.recorded
}

// MachineVersion is that of the newest event; 0 for nil.
func (h *History) MachineVersion() uint32 {
	if h == nil {
		return 0
	}
	return h.version
}
