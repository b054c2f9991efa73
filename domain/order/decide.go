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
	var d Decision
	if err := m.decide(h, nil, nil, &fact, &meta, &d); err != nil {
		return Decision{}, err
	}
	return d, nil
}

// decide is Decide with the fold of h and the event's content, or nil, into d, which is empty. It makes
// fact [normal]. By pointers, because replay decides every event of a log and they are large.
func (m *Machine) decide(h *History, before *State, content *Content, fact *domain.Fact, meta *Meta, d *Decision) error {
	if m.edges == nil {
		return domain.Errorf(domain.Internal, "the machine has no table")
	}
	normal(fact)
	if err := validate(fact, meta); err != nil {
		return err
	}
	e := &d.Event
	newEvent(e, h, content, fact, meta)
	if h != nil && e.OrderID != h.order {
		return domain.Errorf(domain.Invalid, "a fact of order %s, decided on order %s", e.OrderID, h.order)
	}
	if m.duplicate(h, d) {
		return nil
	}
	if h.Revision() >= MaxFacts {
		return domain.Errorf(domain.Exhausted, "order %s has its %d facts", e.OrderID, MaxFacts)
	}
	if before == nil {
		before = m.Fold(h)
	}
	d.Before, d.Original = before, e.ID
	if fact.Kind == domain.KindResolved {
		if err := h.legal(fact, before); err != nil {
			return err
		}
	}
	e.Revision = h.Revision() + 1
	e.RecordedAt = h.recordedAt(fact.Kind, meta.Now)
	e.MachineVersion = m.version
	next, added := h.with(e)
	is := m.run(next, e.ID)
	d.After = is.state(next)
	m.judge(e, h, d, &is)
	added.verdict = e.Verdict // still ours alone
	d.History = next
	return nil
}

// normal makes a fact what is stored: a cancellation because nobody paid is an
// expiry, and personal data is sealed elsewhere.
func normal(f *domain.Fact) {
	if f.Kind == domain.KindCancelled && (f.Reason == domain.ReasonExpired || f.Reason == domain.ReasonPaymentFailed) {
		f.Kind = domain.KindExpired
	}
	if f.OccurredAt.After(time.Time{}) {
		f.OccurredAt = f.OccurredAt.UTC()
	} else {
		f.OccurredAt = time.Time{} // before year 1 is no date either
	}
	f.Personal = nil
}

// newEvent puts into e, which is empty, what is known of the event before it is decided.
func newEvent(e *domain.Event, h *History, content *Content, fact *domain.Fact, meta *Meta) {
	e.OrderID = h.orderOf(fact.Identity(meta.Tenant))
	if content == nil || content.order != e.OrderID {
		own := contentOf(meta.Source, e.OrderID, fact)
		content = &own
	}
	e.ID, e.Digest = content.id, content.digest
	e.Tenant, e.Source, e.Fact, e.ReceivedAt = meta.Tenant, meta.Source, *fact, meta.ReceivedAt.UTC()
	e.Cause = meta.Cause
	e.EffectiveAt, e.TimeInferred = fact.OccurredAt, false
	if fact.OccurredAt.IsZero() || fact.OccurredAt.After(e.ReceivedAt.Add(MaxAhead)) {
		e.EffectiveAt, e.TimeInferred = e.ReceivedAt, true
	}
}

// Content is what its fact alone says of an event: its id and its digest, much of what it costs to
// decide. They can be found ahead of [Machine.Replay], by another goroutine.
type Content struct {
	order  domain.OrderID
	id     domain.EventID
	digest [32]byte
}

// ContentOf is the content of an event that was stored, in the order that it names.
func ContentOf(e *domain.Event) Content {
	fact := e.Fact
	normal(&fact)
	return contentOf(e.Source, e.OrderID, &fact)
}

func contentOf(source domain.SourceID, order domain.OrderID, normal *domain.Fact) Content {
	return Content{order: order, id: domain.NewEventID(source, order, normal.Kind, normal.Key), digest: digest(normal)}
}

// orderOf is the id of the order that identity names, most likely h's.
func (h *History) orderOf(identity domain.Identity) domain.OrderID {
	if h != nil && h.identity == identity {
		return h.order
	}
	return identity.OrderID()
}

// duplicate decides on a fact that is already stored: by its event id;
// or, where a codec concluded it, by a real one of its kind and effective time.
// False: it is not.
func (m *Machine) duplicate(h *History, d *Decision) bool {
	e := &d.Event
	stored := h.entry(e.ID)
	reused := stored != nil && stored.digest != shortDigest(&e.Digest)
	if stored == nil && e.Fact.Inferred {
		stored = h.real(e.Fact.Kind, e.EffectiveAt)
	}
	if stored == nil {
		return false
	}
	now := m.Fold(h)
	*d = Decision{
		Event:    domain.Event{ID: e.ID, OrderID: e.OrderID, Fact: e.Fact, Verdict: domain.VerdictDuplicate},
		Original: stored.id, IDReused: reused, Before: now, After: now, History: h,
	}
	return true
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
