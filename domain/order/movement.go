package order

import (
	"time"

	"comanda.internal/domain"
)

// Movement is money that was paid or went back by one fact.
type Movement struct {
	Event     domain.EventID
	PaymentID string // "" when the fact names none
	RefundID  string // likewise
	Currency  string // the fact's; "" is unknown
	// Amount is in minor units: what this fact adds to paid, or, below zero, to
	// refunded.
	Amount      int64
	EffectiveAt time.Time
	RecordedAt  time.Time
}

// Movements are the order's payments and refunds, in the sort order of the facts
// that tell of them. They add up to what the fold says: those above zero to
// [State].Paid, those below to [State].Refunded. A sum that is told again moves
// nothing, a cumulative one what it says more than before. Disputes move nothing:
// no provider says what they take.
func (m *Machine) Movements(h *History) []Movement {
	f := m.run(h, "")
	var (
		out         []Movement
		paid        payments
		back        refunds
		paidBefore  int64
		backBefore  int64
		movementFor = func(e *entry, amount int64) {
			if amount != 0 {
				out = append(out, Movement{
					Event: e.id, PaymentID: e.payment, RefundID: e.rest.refundID, Currency: e.rest.currency,
					Amount: amount, EffectiveAt: e.at, RecordedAt: e.rest.recorded,
				})
			}
		}
	)
	for i, e := range f.facts {
		paid.add(e, i)
		back.add(e)
		paidNow, backNow := paid.total().Minor, back.total(&f.paid).Minor // 0 while unknown
		movementFor(e, paidNow-paidBefore)
		movementFor(e, backBefore-backNow)
		paidBefore, backBefore = paidNow, backNow
	}
	return out
}
