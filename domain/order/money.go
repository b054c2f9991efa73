package order

import (
	"math"

	"comanda.internal/domain"
)

// payments is what was paid: for each payment id the largest approved amount.
type payments struct {
	named   []payment // by first approval in sort order
	unnamed domain.Amount
}

// payment is one that an approval names.
type payment struct {
	id    string
	paid  domain.Amount
	cause int // place of its first approval
}

// add counts the approval e at place.
func (p *payments) add(e *entry, place int) {
	if e.kind != domain.KindApproved {
		return
	}
	if e.payment == "" {
		p.unnamed = larger(p.unnamed, e.paid)
		return
	}
	for i := range p.named {
		if p.named[i].id == e.payment {
			p.named[i].paid = larger(p.named[i].paid, e.paid)
			return
		}
	}
	p.named = append(p.named, payment{id: e.payment, paid: e.paid, cause: place})
}

// of is what was paid by the payment id; all of it for "".
func (p *payments) of(id string) domain.Amount {
	if id == "" {
		return p.total()
	}
	for i := range p.named {
		if p.named[i].id == id {
			return p.named[i].paid
		}
	}
	return domain.Amount{}
}

// total is paid: the larger of the sum over payment ids and the largest approved
// amount that names none.
func (p *payments) total() domain.Amount {
	var sum domain.Amount
	for i := range p.named {
		sum = plus(sum, p.named[i].paid)
	}
	return larger(sum, p.unnamed)
}

// refunds is what went back, by some of an order's facts.
type refunds struct {
	each []refunded
	// seen says that a `refunded` is among them.
	seen bool
}

// refunded is what went back of one payment; id "" is what names none.
type refunded struct {
	id         string
	cumulative domain.Amount // the largest
	whole      bool          // a `refunded` without amount
	parts      []part
}

// part is one refund by its id; "" is those that name none.
type part struct {
	id     string
	amount domain.Amount // the largest
}

func (r *refunds) add(e *entry) {
	whole := e.kind == domain.KindRefunded && !e.refunded.Known && !e.refund.Known
	r.seen = r.seen || e.kind == domain.KindRefunded
	if !whole && !e.refunded.Known && !e.refund.Known {
		return
	}
	of := r.of(e.payment)
	of.cumulative = larger(of.cumulative, e.refunded)
	of.whole = of.whole || whole
	if !e.refund.Known {
		return
	}
	for i := range of.parts {
		if of.parts[i].id == e.rest.refundID {
			of.parts[i].amount = larger(of.parts[i].amount, e.refund)
			return
		}
	}
	of.parts = append(of.parts, part{id: e.rest.refundID, amount: e.refund})
}

func (r *refunds) of(id string) *refunded {
	for i := range r.each {
		if r.each[i].id == id {
			return &r.each[i]
		}
	}
	r.each = append(r.each, refunded{id: id})
	return &r.each[len(r.each)-1]
}

// total is refunded: the sum over payment ids of the larger of the cumulative
// amount and the sum of its parts, or what facts that name no payment say, if
// that is more. p is what was paid, ever.
func (r *refunds) total(p *payments) domain.Amount {
	var named, unnamed domain.Amount
	for i := range r.each {
		of := &r.each[i]
		var sum domain.Amount
		for _, refund := range of.parts {
			sum = plus(sum, refund.amount)
		}
		sum = larger(sum, of.cumulative)
		if of.whole {
			sum = larger(sum, p.of(of.id))
		}
		if of.id == "" {
			unnamed = sum
		} else {
			named = plus(named, sum)
		}
	}
	return larger(named, unnamed)
}

// full reports whether r gives back all of p: paid is known, more than nothing
// and not more than refunded; or paid is 0 or unknown and a `refunded` is known.
func (r *refunds) full(p *payments) bool {
	paid := p.total()
	if !paid.Known || paid.Minor <= 0 {
		return r.seen
	}
	back := r.total(p)
	return back.Known && back.Minor >= paid.Minor
}

// larger is the larger of two amounts; any known one is larger than an unknown.
func larger(a, b domain.Amount) domain.Amount {
	if !b.Known || (a.Known && a.Minor >= b.Minor) {
		return a
	}
	return b
}

// plus adds two amounts that are not negative; an unknown one adds nothing, and
// a sum that no int64 holds is the largest one.
func plus(a, b domain.Amount) domain.Amount {
	if !a.Known || !b.Known {
		return larger(a, b)
	}
	if a.Minor > math.MaxInt64-b.Minor {
		return domain.Minor(math.MaxInt64)
	}
	return domain.Minor(a.Minor + b.Minor)
}
