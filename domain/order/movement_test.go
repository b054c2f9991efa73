package order_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// TestMovements shows what each fact of an order moves, in the order in which the
// facts happened, whatever the order in which they came.
func TestMovements(t *testing.T) {
	var h *order.History
	for i, f := range []struct {
		kind             domain.Kind
		minute           int
		payment, refund  string
		paid, back, part domain.Amount
	}{
		{kind: domain.KindPartiallyRefunded, minute: 3, payment: "p1", refund: "r1", part: domain.Minor(2500)},
		{kind: domain.KindApproved, minute: 1, payment: "p1", paid: domain.Minor(10000)},
		{kind: domain.KindApproved, minute: 2, payment: "p1", paid: domain.Minor(10000)}, // told again
		{kind: domain.KindPartiallyRefunded, minute: 4, payment: "p1", back: domain.Minor(4000)},
		{kind: domain.KindRefunded, minute: 5, payment: "p1"}, // all of it
	} {
		fact := plain(f.kind, string(rune('a'+i)), f.minute)
		fact.Payment.PaymentID, fact.Payment.RefundID = f.payment, f.refund
		fact.Amounts = domain.Amounts{Currency: "BRL", Paid: f.paid, Refunded: f.back, Refund: f.part}
		d := decide(t, h, fact, meta(minute(10+i)))
		var err error
		if h, err = h.With(&d.Event); err != nil {
			t.Fatal(err)
		}
	}
	want := []order.Movement{
		{PaymentID: "p1", Currency: "BRL", Amount: 10000, EffectiveAt: minute(1), RecordedAt: minute(11)},
		{PaymentID: "p1", RefundID: "r1", Currency: "BRL", Amount: -2500, EffectiveAt: minute(3), RecordedAt: minute(10)},
		{PaymentID: "p1", Currency: "BRL", Amount: -1500, EffectiveAt: minute(4), RecordedAt: minute(13)},
		{PaymentID: "p1", Currency: "BRL", Amount: -6000, EffectiveAt: minute(5), RecordedAt: minute(14)},
	}
	got := order.Default().Movements(h)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(order.Movement{}, "Event")); diff != "" {
		t.Error(diff)
	}
}

// TestMovementsAddUp shows that the movements of any history are its sums.
func TestMovementsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h *order.History
		for i, f := range rapid.SliceOfN(rapid.Custom(drawFact), 1, 9).Draw(t, "facts") {
			d, err := order.Default().Decide(h, f.fact, meta(f.received))
			if err != nil {
				t.Fatalf("fact %d: %v", i, err)
			}
			if d.Event.Verdict == domain.VerdictDuplicate {
				continue
			}
			if h, err = h.With(&d.Event); err != nil {
				t.Fatal(err)
			}
		}
		var paid, back int64
		for _, m := range order.Default().Movements(h) {
			if m.Amount > 0 {
				paid += m.Amount
			} else {
				back -= m.Amount
			}
		}
		if s := order.Default().Fold(h); paid != s.Paid.Minor || back != s.Refunded.Minor {
			t.Errorf("the movements are %d paid and %d back, the fold says %v and %v", paid, back, s.Paid, s.Refunded)
		}
	})
}
