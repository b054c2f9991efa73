package proof_test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"comanda.internal/domain"
)

// story is what really happened to an order: first to its money, and then in
// what a platform may say of it.
type story struct {
	rand     *rand.Rand
	platform *platform
	now      int // minutes after noon

	happenings []happening
	payments   []*charge
	silent     []*charge // attempts of which nobody has heard the end
	voided     bool
	unpaid     domain.Status // the last thing that happened while nothing was paid
	byRefund   bool          // refunds are told one by one, not cumulatively
	bounced    bool
}

// charge is one payment: what came, what went back, and who fights over it.
type charge struct {
	id             string
	paid, refunded int64
	disputed       bool // open or lost: for the money it is the same
}

// happening is one thing that happened, in truth or in a platform's error.
type happening struct {
	kind    domain.Kind
	at      int
	payment *charge // nil: of the order
	amounts domain.Amounts
	refund  string
	reason  domain.Reason
	// word is what an operator will say of it: reject for what never happened,
	// accept for what the machine cannot believe. reopen is a rejection in error, taken back.
	word domain.ResolutionAction
}

// tell makes up a story that the platform could live through.
func tell(r *rand.Rand, p *platform) *story {
	s := &story{rand: r, platform: p, byRefund: r.IntN(2) == 0}
	if s.chance(50) {
		s.happen(happening{kind: domain.KindStarted})
		s.unpaid = domain.StatusStarted
	}
	attempts := 1
	if p.ids {
		attempts += r.IntN(2)
	}
	for i := range attempts {
		s.attempt(fmt.Sprintf("p%d", i+1))
	}
	for _, c := range s.silent { // the first attempt may die after the second was paid
		if s.chance(50) {
			s.fail(c, domain.KindRefused, domain.StatusRefused)
		} else if s.chance(50) {
			s.fail(c, domain.KindExpired, domain.StatusCancelled)
		}
	}
	switch {
	case len(s.payments) > 0:
		for range r.IntN(5) {
			s.aftermath()
		}
	case s.chance(15): // taken back unpaid; and then somebody pays
		s.happen(happening{kind: domain.KindCancelled, reason: domain.ReasonVoid})
		s.unpaid = domain.StatusCancelled
		if s.chance(50) {
			s.approve(&charge{id: "p1", paid: 10_000})
		}
	}
	s.err()
	return s
}

func (s *story) chance(percent int) bool { return s.rand.IntN(100) < percent }

// happen writes h down, some time after what went before.
func (s *story) happen(h happening) {
	s.now += 1 + s.rand.IntN(60)
	h.at = s.now
	s.happenings = append(s.happenings, h)
}

// attempt is one try to pay.
func (s *story) attempt(id string) {
	c := &charge{id: id, paid: int64(1+s.rand.IntN(3)) * 5_000}
	s.happen(happening{kind: domain.KindPending, payment: c})
	s.unpaid = domain.StatusPending
	switch n := s.rand.IntN(100); {
	case n < 20:
		s.silent = append(s.silent, c)
	case n < 30:
		s.fail(c, domain.KindRefused, domain.StatusRefused)
	case n < 40:
		s.fail(c, domain.KindExpired, domain.StatusCancelled)
	case n < 50:
		s.fail(c, domain.KindRefused, domain.StatusRefused)
		s.approve(c)
	case n < 60:
		s.fail(c, domain.KindExpired, domain.StatusCancelled)
		s.approve(c)
	default:
		s.approve(c)
	}
}

func (s *story) fail(c *charge, kind domain.Kind, status domain.Status) {
	s.happen(happening{kind: kind, payment: c})
	s.unpaid = status
}

func (s *story) approve(c *charge) {
	s.happen(happening{kind: domain.KindApproved, payment: c, amounts: s.paidAmount(c)})
	s.payments = append(s.payments, c)
}

// paidAmount is what an approval says was paid.
func (s *story) paidAmount(c *charge) domain.Amounts {
	if s.platform.mute {
		return domain.Amounts{}
	}
	return domain.Amounts{Paid: domain.Minor(c.paid)}
}

// aftermath is one thing that may happen to a paid order.
func (s *story) aftermath() {
	c := s.payments[s.rand.IntN(len(s.payments))]
	switch n := s.rand.IntN(100); {
	case n < 10:
		s.happen(happening{kind: domain.KindRefundRequested, payment: c})
	case n < 35:
		s.part(c)
	case n < 55:
		s.refund(c)
	case n < 80:
		s.dispute(c)
	case n < 90:
		s.void()
	default:
		s.bounce(c)
	}
}

// part gives a part back; two parts may make the whole.
func (s *story) part(c *charge) {
	rest := c.paid - c.refunded
	if !s.platform.partial || rest == 0 {
		return
	}
	kind := domain.KindPartiallyRefunded
	if s.chance(30) {
		kind = domain.KindRefunded // some platforms have one word for both
	}
	s.giveBack(c, kind, min(rest, int64(1+s.rand.IntN(3))*2_500))
}

// refund gives back all that is left.
func (s *story) refund(c *charge) {
	if rest := c.paid - c.refunded; rest > 0 {
		s.giveBack(c, domain.KindRefunded, rest)
	}
}

func (s *story) giveBack(c *charge, kind domain.Kind, amount int64) {
	c.refunded += amount
	h := happening{kind: kind, payment: c}
	switch {
	case s.platform.mute, kind == domain.KindRefunded && c.refunded == c.paid && s.chance(40): // without an amount it is all
	case s.byRefund:
		h.refund = fmt.Sprintf("r%d", len(s.happenings))
		h.amounts.Refund = domain.Minor(amount)
	default:
		h.amounts.Refunded = domain.Minor(c.refunded)
	}
	s.happen(h)
}

// dispute opens one, or ends in the merchant's favour the one that is open.
func (s *story) dispute(c *charge) {
	switch {
	case !c.disputed:
		s.happen(happening{kind: domain.KindChargeback, payment: c})
	case s.platform.reversals:
		s.happen(happening{kind: domain.KindChargebackReversed, payment: c})
	default:
		return
	}
	c.disputed = !c.disputed
}

// void takes the sale back: the merchant's word, whatever became of the money.
func (s *story) void() {
	if s.voided {
		return
	}
	s.voided = true
	word := domain.ResolutionAction("")
	if s.chance(50) {
		word = domain.ActionAccept
	}
	s.happen(happening{kind: domain.KindCancelled, reason: domain.ReasonVoid, word: word})
}

// bounce is a full refund that came back: the payee's account was closed. The
// platform calls the order approved again, which only a person can believe.
func (s *story) bounce(c *charge) {
	if !s.platform.bounces || s.bounced || len(s.payments) > 1 || c.refunded > 0 || c.disputed || s.voided {
		return
	}
	s.bounced = true
	s.happen(happening{kind: domain.KindRefunded, payment: c})
	s.happen(happening{
		kind: domain.KindApproved, payment: c, amounts: s.paidAmount(c), word: domain.ActionAccept,
	})
}

// err adds what never happened, and what an operator wrongly doubts.
func (s *story) err() {
	if s.chance(25) {
		kinds := []domain.Kind{domain.KindApproved, domain.KindCancelled, domain.KindRefunded, domain.KindChargeback}
		s.happen(happening{kind: kinds[s.rand.IntN(len(kinds))], reason: domain.ReasonVoid, word: domain.ActionReject})
	}
	if s.chance(25) {
		if h := &s.happenings[s.rand.IntN(len(s.happenings))]; h.word == "" {
			h.word = domain.ActionReopen
		}
	}
}

// kept is the money that nobody has asked back: 0 while a payment is disputed.
func (s *story) kept() int64 {
	var kept int64
	for _, c := range s.payments {
		if c.disputed {
			return 0
		}
		kept += c.paid - c.refunded
	}
	return kept
}

// contradicts reports whether showing an order in status would be untrue.
func (s *story) contradicts(status domain.Status) bool {
	switch {
	case slices.ContainsFunc(s.payments, func(c *charge) bool { return c.disputed }):
		return status != domain.StatusChargeback
	case len(s.payments) == 0 && s.platform.dates == nil:
		return status != s.unpaid
	case len(s.payments) == 0:
		// Without dates nobody can know which failure came last.
		return status > domain.StatusPending && status != domain.StatusRefused && status != domain.StatusCancelled
	case s.kept() == 0:
		return status != domain.StatusRefunded
	default:
		// A void keeps the money until it is refunded. Undated it never moves a
		// paid order by itself, so both are true.
		return status != domain.StatusApproved && (!s.voided || status != domain.StatusCancelled)
	}
}
