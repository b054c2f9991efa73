package order

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"comanda.internal/domain"
)

// Terms are on what a caller who waits for an answer wants a fact stored; else
// nothing is. The zero value asks only that the fold does not refuse it.
type Terms struct {
	// Revision is what the order's must be before the fact, 0 for a new order;
	// nil: any.
	Revision *uint64
	// OneFact: the fact's key is the id of a request, which stands for one fact of
	// the order, of whatever kind.
	OneFact bool
}

// StaleError says that an order is not at the revision that the caller knows. It is of kind Stale.
type StaleError struct {
	Order            domain.OrderID
	Expected, Actual uint64
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("order %s is at revision %d, not %d: read it again", e.Order, e.Actual, e.Expected)
}

// Unwrap is the error's kind.
func (e *StaleError) Unwrap() error { return domain.Errorf(domain.Stale, "%s", e.Error()) }

// RefusedError says that the fold refuses a fact at its place in time. It is of kind Refused.
type RefusedError struct {
	Order domain.OrderID
	Kind  domain.Kind
	At    time.Time     // the fact's place in time
	Then  domain.Status // of the order at that place
	Now   domain.Status // of the order, which nothing changed
	Why   string        // one of the Why constants
	// Legal are the kinds that the fold would not refuse there, in rank order.
	Legal []domain.Kind
}

func (e *RefusedError) Error() string {
	words := make([]string, len(e.Legal))
	for i, k := range e.Legal {
		words[i] = k.String()
	}
	return fmt.Sprintf("%s of %s at %s: the order was %s then (%s); what may be said of that time: %s",
		e.Kind, e.Order, e.At.Format(time.RFC3339), e.Then, e.Why, strings.Join(words, ", "))
}

// Unwrap is the error's kind.
func (e *RefusedError) Unwrap() error { return domain.Errorf(domain.Refused, "%s", e.Error()) }

// DecideOn is Decide for a fact that is stored on terms. What is stored already is a
// duplicate on any terms, for its caller may not have heard the first answer.
//
// Errors are also of kind Exists, when the key stands for another fact and the terms
// ask for one; Stale ([StaleError]); and Refused ([RefusedError]), when the fact would be a
// conflict in the fold it makes, whatever else that fold changed.
func (m *Machine) DecideOn(h *History, fact domain.Fact, meta Meta, terms Terms) (Decision, error) {
	if terms.OneFact {
		if kind, ok := h.keyed(&fact, &meta); ok {
			return Decision{}, domain.Errorf(domain.Exists, "the request's id stands for a fact %s of this order", kind)
		}
	}
	d, err := m.Decide(h, fact, meta)
	switch {
	case err == nil && d.IDReused && terms.OneFact:
		return Decision{}, domain.Errorf(domain.Exists, "the request's id stands for another fact %s of this order", d.Event.Fact.Kind)
	case err == nil && d.Event.Verdict == domain.VerdictDuplicate, domain.KindOf(err) == domain.Invalid && err != nil:
		return d, err
	case terms.Revision != nil && *terms.Revision != h.Revision():
		return Decision{}, &StaleError{Order: fact.Identity(meta.Tenant).OrderID(), Expected: *terms.Revision, Actual: h.Revision()}
	case err != nil:
		return Decision{}, err
	case slices.Contains(d.After.Conflicts, d.Event.ID):
		return Decision{}, m.refusal(h, &d, &meta)
	}
	return d, nil
}

// keyed is the other kind of which h holds a fact with the key of f.
func (h *History) keyed(f *domain.Fact, meta *Meta) (domain.Kind, bool) {
	if h == nil {
		return domain.KindUnknown, false
	}
	own := *f
	normal(&own)
	for kind := domain.KindUnknown + 1; kind < domain.KindCount; kind++ {
		if kind != own.Kind && h.entry(domain.NewEventID(meta.Source, h.order, kind, f.Key)) != nil {
			return kind, true
		}
	}
	return domain.KindUnknown, false
}

func (m *Machine) refusal(h *History, d *Decision, meta *Meta) error {
	e := &d.Event
	refused := &RefusedError{Order: e.OrderID, Kind: e.Fact.Kind, At: e.EffectiveAt, Now: d.Before.Status}
	_, acts := m.traced(d.History)
	for i := range acts {
		if acts[i].Event == e.ID && acts[i].Kind != domain.KindUnknown {
			refused.Then, refused.Why = acts[i].Before, acts[i].Did.Why
		}
	}
	for _, lead := range m.Leads(h, e.Fact, *meta) {
		if !lead.Refused {
			refused.Legal = append(refused.Legal, lead.Kind)
		}
	}
	return refused
}

// Lead is what a fact of a kind would do to an order.
type Lead struct {
	Kind    domain.Kind
	Verdict domain.Verdict
	To      domain.Status // of the order after it
	Why     string        // nothing would move; else ""
	Gap     bool          // a predecessor of it was never seen
	// Refused says that the fold would refuse it at its place.
	Refused bool
}

// Leads is what each kind that may move the status would do in the place of fact:
// of its order, date and payment, without sums. None when the order takes no more facts.
func (m *Machine) Leads(h *History, fact domain.Fact, meta Meta) []Lead {
	before := m.Fold(h)
	leads := make([]Lead, 0, kindsEnd-firstKind)
	for kind := firstKind; kind < kindsEnd; kind++ {
		var d Decision
		what := domain.Fact{
			Kind: kind, Provider: fact.Provider, Account: fact.Account, ProviderOrderID: fact.ProviderOrderID,
			OccurredAt: fact.OccurredAt, Key: "\x00what if", Payment: domain.Payment{PaymentID: fact.Payment.PaymentID},
		}
		if err := m.decide(h, before, nil, &what, &meta, &d); err != nil {
			return nil
		}
		leads = append(leads, Lead{
			Kind: kind, Verdict: d.Event.Verdict, To: d.After.Status, Why: d.Event.Why, Gap: d.Event.Gap,
			Refused: slices.Contains(d.After.Conflicts, d.Event.ID),
		})
	}
	return leads
}
