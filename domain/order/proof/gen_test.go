package proof_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"comanda.internal/domain"
)

// drawArrivals draws facts that fight: few moments, so that they tie; few
// payments and sums, so that they meet; undated and future-dated ones between.
func drawArrivals(t *rapid.T, atMost int) []arrival {
	arrivals := make([]arrival, rapid.IntRange(1, atMost).Draw(t, "facts"))
	for i := range arrivals {
		arrivals[i] = drawArrival(t, fmt.Sprintf("k%d", i))
	}
	return arrivals
}

func drawArrival(t *rapid.T, key string) arrival {
	kind := domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindFlagged)).Draw(t, "kind"))
	a := fact(kind, key, rapid.IntRange(0, 5).Draw(t, "minute"))
	a.received = minute(rapid.IntRange(10, 11).Draw(t, "received"))
	switch rapid.IntRange(0, 7).Draw(t, "dating") {
	case 0, 1:
		undated(rapid.IntRange(0, 7).Draw(t, "received"))(&a)
	case 2:
		a.fact.OccurredAt = minute(rapid.IntRange(14, 17).Draw(t, "ahead"))
		a.received = minute(rapid.IntRange(3, 10).Draw(t, "received"))
	default:
	}
	drawMoney(t, &a)
	if rapid.IntRange(0, 2).Draw(t, "with words") == 0 {
		a.fact.Reference = rapid.SampledFrom([]string{"", "EX001", "EX002"}).Draw(t, "reference")
		a.fact.Payment.Method = rapid.SampledFrom([]string{"", "pix", "card"}).Draw(t, "method")
		a.fact.Reason = rapid.SampledFrom([]domain.Reason{"", domain.ReasonVoid, domain.ReasonExpired, "out of stock"}).Draw(t, "reason")
	}
	drawContent(t, &a)
	if kind == domain.KindApproved && rapid.IntRange(0, 2).Draw(t, "inferred") == 0 {
		// A codec infers only what the body dates.
		a.fact.OccurredAt, a.received = minute(rapid.IntRange(0, 5).Draw(t, "minute")), minute(10)
		concluded()(&a)
	}
	return a
}

// drawContent gives a fact, now and then, what readers see and no rule asks.
func drawContent(t *rapid.T, a *arrival) {
	if a.fact.Kind == domain.KindShipping {
		a.fact.Shipping = &domain.Shipping{
			Event: rapid.SampledFrom([]string{"posted", "delivered"}).Draw(t, "news"), Date: minute(rapid.IntRange(0, 2).Draw(t, "shipped")),
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "with content") != 0 {
		return
	}
	word := rapid.SampledFrom([]string{"", "x", "y"})
	f := &a.fact
	f.CustomEvent, f.Payment.Phase, f.Detail = word.Draw(t, "custom"), word.Draw(t, "phase"), word.Draw(t, "detail")
	f.Amounts.Currency = rapid.SampledFrom([]string{"", "BRL", "USD"}).Draw(t, "currency")
	sum := rapid.SampledFrom([]domain.Amount{{}, domain.Minor(0), domain.Minor(7)})
	f.Amounts.Freight, f.Amounts.Discount = sum.Draw(t, "freight"), sum.Draw(t, "discount")
	f.Payment.Installments = rapid.Int32Range(0, 2).Draw(t, "installments")
	if w := word.Draw(t, "item"); w != "" {
		f.Items, f.UTM = []domain.Item{{Code: w}}, domain.UTM{{Name: "source", Value: w}}
	}
}

// drawMoney gives a fact what facts of its kind say of money: nothing, half or
// all of it. Other facts, snapshots, may repeat any sum.
func drawMoney(t *rapid.T, a *arrival) {
	a.fact.Payment.PaymentID = rapid.SampledFrom([]string{"", "", "p1", "p2"}).Draw(t, "payment")
	sums := rapid.SampledFrom([]domain.Amount{{}, domain.Minor(0), domain.Minor(50), domain.Minor(100)})
	switch a.fact.Kind {
	case domain.KindApproved:
		a.fact.Amounts.Paid = sums.Draw(t, "paid")
	case domain.KindPartiallyRefunded, domain.KindRefunded:
		a.fact.Amounts.Refunded = sums.Draw(t, "refunded")
		if rapid.Bool().Draw(t, "by id") {
			refundOf(rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "refund"), 50)(a)
		}
	default:
		if rapid.IntRange(0, 3).Draw(t, "with total") == 0 {
			a.fact.Amounts.Total, a.fact.Amounts.Paid = sums.Draw(t, "total"), sums.Draw(t, "paid")
			a.fact.Amounts.Refunded = sums.Draw(t, "refunded")
		}
	}
}

// drawWord draws an operator's word on one of the events given.
func drawWord(t *rapid.T, key string, events []domain.EventID) arrival {
	action := rapid.SampledFrom([]domain.ResolutionAction{domain.ActionAccept, domain.ActionAccept, domain.ActionReject, domain.ActionReopen})
	return resolve(action.Draw(t, "action"), rapid.SampledFrom(events).Draw(t, "event"), key)
}

// later is a repeated delivery of a: a little later, and so with another
// receipt, which nobody may notice.
func later(a arrival) arrival {
	a.received = a.received.Add(90 * time.Second)
	return a
}
