package order

import (
	"slices"
	"time"

	"comanda.internal/domain"
)

// Decide says what fact does to the order whose history is h, without I/O or
// clock. The error's kind is Invalid (a fact that breaks the domain's rules), Refused
// (a resolution that is not legal) or Exhausted (an order has at most MaxFacts).
func (m *Machine) Decide(h *History, fact domain.Fact, meta Meta) (Decision, error) {
	return m.decide(h, nil, fact, meta)
}

// decide is Decide with the fold of h, or nil.
func (m *Machine) decide(h *History, before *State, fact domain.Fact, meta Meta) (Decision, error) {
	if m.edges == nil {
		return Decision{}, domain.Errorf(domain.Internal, "the machine has no table")
	}
	fact = normal(fact)
	if err := validate(&fact, &meta); err != nil {
		return Decision{}, err
	}
	e := newEvent(h, fact, &meta)
	if h != nil && e.OrderID != h.order {
		return Decision{}, domain.Errorf(domain.Invalid, "a fact of order %s, decided on order %s", e.OrderID, h.order)
	}
	if d, ok := m.duplicate(h, &e); ok {
		return d, nil
	}
	if h.Revision() >= MaxFacts {
		return Decision{}, domain.Errorf(domain.Exhausted, "order %s has its %d facts", e.OrderID, MaxFacts)
	}
	if before == nil {
		before = m.Fold(h)
	}
	d := Decision{Before: before, Original: e.ID}
	if fact.Kind == domain.KindResolved {
		if err := h.legal(&fact, d.Before); err != nil {
			return Decision{}, err
		}
	}
	e.Revision = h.Revision() + 1
	e.RecordedAt = h.recordedAt(fact.Kind, meta.Now)
	e.MachineVersion = m.version
	next := h.with(&e)
	is := m.run(next, e.ID)
	d.After = is.state(next)
	m.judge(&e, h, &d, &is)
	next.entry(e.ID).verdict = e.Verdict // still ours alone
	d.Event, d.History = e, next
	return d, nil
}

// normal is the fact as it is stored: a cancellation because nobody paid is an
// expiry, and personal data is sealed elsewhere.
func normal(f domain.Fact) domain.Fact {
	if f.Kind == domain.KindCancelled && (f.Reason == domain.ReasonExpired || f.Reason == domain.ReasonPaymentFailed) {
		f.Kind = domain.KindExpired
	}
	if f.OccurredAt.After(time.Time{}) {
		f.OccurredAt = f.OccurredAt.UTC()
	} else {
		f.OccurredAt = time.Time{} // before year 1 is no date either
	}
	f.Personal = nil
	return f
}

// newEvent is what is known of the event before it is decided.
func newEvent(h *History, fact domain.Fact, meta *Meta) domain.Event {
	order := h.orderOf(fact.Identity(meta.Tenant))
	e := domain.Event{
		ID: domain.NewEventID(meta.Source, order, fact.Kind, fact.Key), OrderID: order,
		Tenant: meta.Tenant, Source: meta.Source, Fact: fact, ReceivedAt: meta.ReceivedAt.UTC(),
		Digest: digest(&fact), Cause: meta.Cause,
	}
	e.EffectiveAt, e.TimeInferred = fact.OccurredAt, false
	if fact.OccurredAt.IsZero() || fact.OccurredAt.After(e.ReceivedAt.Add(MaxAhead)) {
		e.EffectiveAt, e.TimeInferred = e.ReceivedAt, true
	}
	return e
}

// orderOf is the id of the order that identity names, most likely h's.
func (h *History) orderOf(identity domain.Identity) domain.OrderID {
	if h != nil && h.identity == identity {
		return h.order
	}
	return identity.OrderID()
}

// duplicate is the decision on a fact that is already stored: by its event id;
// or, where a codec concluded it, by a real one of its kind and effective time.
func (m *Machine) duplicate(h *History, e *domain.Event) (Decision, bool) {
	stored := h.entry(e.ID)
	reused := stored != nil && stored.digest != shortDigest(&e.Digest)
	if stored == nil && e.Fact.Inferred {
		stored = h.real(e.Fact.Kind, e.EffectiveAt)
	}
	if stored == nil {
		return Decision{}, false
	}
	now := m.Fold(h)
	return Decision{
		Event:    domain.Event{ID: e.ID, OrderID: e.OrderID, Fact: e.Fact, Verdict: domain.VerdictDuplicate},
		Original: stored.id, IDReused: reused, Before: now, After: now, History: h,
	}, true
}

// judge writes into e what it did.
func (m *Machine) judge(e *domain.Event, h *History, d *Decision, is *folding) {
	before, after := d.Before, d.After
	e.From, e.To = before.Status, after.Status
	e.Opens = without(after.Conflicts, before.Conflicts)
	e.Closes = without(before.Conflicts, after.Conflicts)
	e.MoneyChanged = before.Paid != after.Paid || before.Refunded != after.Refunded || before.Dispute != after.Dispute
	for _, step := range after.Path {
		e.Gap = e.Gap || (step.Gap && step.Event == e.ID)
	}
	switch {
	case e.From != e.To:
		e.Verdict = domain.VerdictApplied
		if !m.explains(e.From, is.acted, e.To) {
			e.Correction, e.Path = true, after.Path
		}
	case slices.Contains(after.Conflicts, e.ID):
		e.Verdict, e.Why = domain.VerdictConflict, is.why
	case e.Fact.Kind == domain.KindResolved:
		e.Verdict, e.Why = domain.VerdictNoted, WhyResolution
	case h.laterKnown(e.EffectiveAt):
		e.Verdict, e.Why = domain.VerdictLate, WhyLaterKnown
		if is.why == WhyHeldBack {
			e.Why = WhyHeldBack
		}
	default:
		e.Verdict, e.Why = domain.VerdictNoted, is.why
		if h.concluded(e) {
			e.Why = WhyConfirms
		}
		if e.Why == "" {
			e.Why = WhyOvertaken
		}
	}
}

// explains reports whether the cell of (from, kind) may lead to to.
func (m *Machine) explains(from domain.Status, kind domain.Kind, to domain.Status) bool {
	return kind.Moves() && slices.Contains(m.cells[from][kind].targets, to)
}

// laterKnown reports whether h holds a fact of a status kind dated after at,
// whatever became of it.
func (h *History) laterKnown(at time.Time) bool {
	if h == nil {
		return false
	}
	for _, e := range slices.Backward(h.facts) {
		if !e.at.After(at) {
			return false
		}
		if e.kind.Moves() {
			return true
		}
	}
	return false
}

// concluded reports whether h holds the fact that a codec concluded e to be.
func (h *History) concluded(e *domain.Event) bool {
	return h != nil && h.inferred && slices.ContainsFunc(h.facts, func(o *entry) bool {
		return o.inferred && o.kind == e.Fact.Kind && o.at.Equal(e.EffectiveAt)
	})
}

// without is the ids of a that are not in b, in a's order.
func without(a, b []domain.EventID) []domain.EventID {
	var rest []domain.EventID
	for _, id := range a {
		if !slices.Contains(b, id) {
			rest = append(rest, id)
		}
	}
	return rest
}
