package proof_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

const (
	tenant  = domain.TenantID("loja")
	source  = domain.SourceID("loja-aprovei")
	account = "principal"
)

// noon is when the histories of this package begin.
var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// minute is so many minutes after noon.
func minute(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }

// arrival is a fact and when it came in. Two arrivals with one key are two
// deliveries of one message.
type arrival struct {
	fact     domain.Fact
	received time.Time
}

func (a arrival) String() string {
	f := &a.fact
	s := fmt.Sprintf("%s[%s]", f.Kind, f.Key)
	if f.OccurredAt.IsZero() {
		s += " undated"
	} else {
		s += " at " + f.OccurredAt.Format("15:04")
	}
	s += " in " + a.received.Format("15:04")
	for _, part := range []struct{ name, value string }{
		{"payment", f.Payment.PaymentID}, {"refund", f.Payment.RefundID}, {"reason", string(f.Reason)}, {"ref", f.Reference},
	} {
		if part.value != "" {
			s += " " + part.name + "=" + part.value
		}
	}
	for _, part := range []struct {
		name   string
		amount domain.Amount
	}{{"paid", f.Amounts.Paid}, {"refunded", f.Amounts.Refunded}, {"refund", f.Amounts.Refund}, {"total", f.Amounts.Total}} {
		if part.amount.Known {
			s += fmt.Sprintf(" %s=%d", part.name, part.amount.Minor)
		}
	}
	if f.Inferred {
		s += " inferred"
	}
	if f.Resolution != nil {
		s += fmt.Sprintf(" %s %s", f.Resolution.Action, f.Resolution.Event)
	}
	return s
}

// option changes a fact in the making.
type option func(*arrival)

// fact is a dated arrival, received long after everything happened.
func fact(kind domain.Kind, key string, at int, options ...option) arrival {
	a := arrival{
		fact: domain.Fact{
			Kind: kind, Provider: "aprovei", Account: account, ProviderOrderID: "tok_1", Key: key, OccurredAt: minute(at),
		},
		received: minute(6000),
	}
	for _, o := range options {
		o(&a)
	}
	return a
}

func undated(received int) option {
	return func(a *arrival) { a.fact.OccurredAt = time.Time{}; a.received = minute(received) }
}

func because(r domain.Reason) option { return func(a *arrival) { a.fact.Reason = r } }

func payment(id string) option { return func(a *arrival) { a.fact.Payment.PaymentID = id } }

func paid(n int64) option { return func(a *arrival) { a.fact.Amounts.Paid = domain.Minor(n) } }

// back is a cumulative refund.
func back(n int64) option { return func(a *arrival) { a.fact.Amounts.Refunded = domain.Minor(n) } }

// refundOf is one refund by its id.
func refundOf(id string, n int64) option {
	return func(a *arrival) {
		a.fact.Payment.RefundID = id
		a.fact.Amounts.Refund = domain.Minor(n)
	}
}

// concluded marks what a codec inferred from another body.
func concluded() option {
	return func(a *arrival) { a.fact.Inferred = true; a.fact.Key += "/inferred" }
}

// resolve is an operator's word on event.
func resolve(action domain.ResolutionAction, event domain.EventID, key string) arrival {
	a := fact(domain.KindResolved, key, 0, undated(7000))
	a.fact.Resolution = &domain.Resolution{Event: event, Action: action}
	return a
}

// eventID is the id of the event that a makes.
func eventID(a arrival) domain.EventID {
	return domain.NewEventID(source, a.fact.Identity(tenant).OrderID(), storedKind(&a.fact), a.fact.Key)
}

// storedKind is the kind that the recorder stores.
func storedKind(f *domain.Fact) domain.Kind {
	if f.Kind == domain.KindCancelled && (f.Reason == domain.ReasonExpired || f.Reason == domain.ReasonPaymentFailed) {
		return domain.KindExpired
	}
	return f.Kind
}

// metaOf is what the recorder knows of a delivery at now.
func metaOf(a arrival, now time.Time) order.Meta {
	return order.Meta{Tenant: tenant, Source: source, ReceivedAt: a.received, Now: now}
}

// clock is later than every receipt of this package.
var clock = minute(10_000)

// deliver decides each arrival in turn and stores what it makes, as the recorder does.
func deliver(t *testing.T, m *order.Machine, arrivals ...arrival) (*order.History, []order.Decision) {
	t.Helper()
	var h *order.History
	var decisions []order.Decision
	for i, a := range arrivals {
		d, err := m.Decide(h, a.fact, metaOf(a, clock))
		if err != nil {
			t.Fatalf("decide %v, after %v: %v", a, arrivals[:i], err)
		}
		h = d.History
		decisions = append(decisions, d)
	}
	return h, decisions
}

// recordOf is what the oracle stores of an arrival.
func recordOf(a arrival, recorded time.Time) record {
	f := a.fact
	f.Kind = storedKind(&f)
	r := record{id: eventID(a), fact: f, at: f.OccurredAt, received: a.received, recorded: recorded}
	if f.OccurredAt.IsZero() || f.OccurredAt.Sub(a.received) > 5*time.Minute {
		r.at, r.inferred = a.received, true
	}
	return r
}

// viewOf is a state as far as the oracle speaks of it.
func viewOf(s *order.State) view {
	v := view{
		Status: s.Status, Conflicts: s.Conflicts, HeldBack: s.HeldBack, Gap: s.Gap,
		Paid: s.Paid, Refunded: s.Refunded, FullyRefunded: s.FullyRefunded, PaymentIDs: s.PaymentIDs,
		StartedAt: s.StartedAt, AbandonedAt: s.AbandonedAt, ApprovedAt: s.ApprovedAt,
		Reference: s.Reference, Method: s.Method, Currency: s.Currency, CustomEvent: s.CustomEvent,
		Total: s.Total, Freight: s.Freight, Discount: s.Discount, Installments: s.Installments,
		Items: s.Items, UTM: s.UTM, Shipping: s.Shipping, Flags: s.Flags,
	}
	for _, p := range s.Path {
		v.Path = append(v.Path, edge{From: p.From, To: p.To, Forced: p.Forced, Gap: p.Gap, Why: p.Why})
	}
	return v
}

// sortedIDs is ids as a set.
func sortedIDs(ids []domain.EventID) []domain.EventID { return slices.Sorted(slices.Values(ids)) }
