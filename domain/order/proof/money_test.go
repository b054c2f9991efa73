package proof_test

import (
	"comanda.internal/domain"
)

// sums is the oracle's money.
type sums struct {
	paid, refunded domain.Amount
	byPayment      map[string]domain.Amount // largest approved amount of each payment; "" is those that name none
	refundedSeen   bool                     // a refunded is known
}

// sum adds up the facts given, all at once.
func sum(facts []record) sums {
	s := sums{byPayment: map[string]domain.Amount{}}
	for _, r := range facts {
		if r.fact.Kind == domain.KindApproved {
			id := r.fact.Payment.PaymentID
			s.byPayment[id] = larger(s.byPayment[id], r.fact.Amounts.Paid)
		}
		s.refundedSeen = s.refundedSeen || r.fact.Kind == domain.KindRefunded
	}
	var named domain.Amount
	for id, paid := range s.byPayment {
		if id != "" {
			named = plus(named, paid)
		}
	}
	s.paid = larger(named, s.byPayment[""])
	s.refunded = refundsOf(facts, s.byPayment, s.paid)
	return s
}

// refundsOf is what the facts given say went back, of the payments given.
func refundsOf(facts []record, paidBy map[string]domain.Amount, paid domain.Amount) domain.Amount {
	cumulative := map[string]domain.Amount{}
	single := map[string]map[string]domain.Amount{}
	for _, r := range facts {
		id := r.fact.Payment.PaymentID
		a := r.fact.Amounts
		cumulative[id] = larger(cumulative[id], a.Refunded)
		if single[id] == nil {
			single[id] = map[string]domain.Amount{}
		}
		single[id][r.fact.Payment.RefundID] = larger(single[id][r.fact.Payment.RefundID], a.Refund)
		if r.fact.Kind != domain.KindRefunded || a.Refunded.Known || a.Refund.Known {
			continue
		}
		if id == "" {
			cumulative[""] = larger(cumulative[""], paid)
		} else {
			cumulative[id] = larger(cumulative[id], paidBy[id])
		}
	}
	var named, unnamed domain.Amount
	for id := range cumulative {
		var each domain.Amount
		for _, refund := range single[id] {
			each = plus(each, refund)
		}
		if of := larger(cumulative[id], each); id == "" {
			unnamed = of
		} else {
			named = plus(named, of)
		}
	}
	return larger(named, unnamed)
}

// full reports whether the refund is full.
func (s sums) full() bool {
	if s.paid.Known && s.paid.Minor > 0 {
		return s.refunded.Known && s.refunded.Minor >= s.paid.Minor
	}
	return s.refundedSeen
}

// larger is the larger of two amounts; an unknown one is less than any known one.
func larger(a, b domain.Amount) domain.Amount {
	if !b.Known || (a.Known && a.Minor >= b.Minor) {
		return a
	}
	return b
}

// plus adds two amounts; an unknown one adds nothing.
func plus(a, b domain.Amount) domain.Amount {
	if !a.Known {
		return b
	}
	if !b.Known {
		return a
	}
	return domain.Minor(a.Minor + b.Minor)
}
