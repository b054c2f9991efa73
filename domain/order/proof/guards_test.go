package proof_test

import (
	"slices"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// guard is one outcome of a rule that asks before it acts.
type guard struct {
	name    string
	given   []arrival
	when    arrival
	to      domain.Status
	verdict domain.Verdict
	gap     bool
}

// TestGuards drives each rule that asks to each of its answers.
func TestGuards(t *testing.T) {
	for _, group := range [][]guard{reopenGuards, impliedGuards, refusedGuards, disputeGuards, partialGuards, undatedGuards} {
		for _, g := range group {
			t.Run(g.name, func(t *testing.T) {
				_, decisions := deliver(t, order.Default(), append(slices.Clip(g.given), g.when)...)
				d := decisions[len(decisions)-1]
				if e := &d.Event; e.To != g.to || e.Verdict != g.verdict || e.Gap != g.gap {
					t.Errorf("%s → %s %s (%s) gap=%v, want %s %s gap=%v", e.From, e.To, e.Verdict, e.Why, e.Gap, g.to, g.verdict, g.gap)
				}
			})
		}
	}
}

// The verdicts and statuses, short, for the tables below.
const (
	applied    = domain.VerdictApplied
	noted      = domain.VerdictNoted
	late       = domain.VerdictLate
	conflicted = domain.VerdictConflict

	isPending    = domain.StatusPending
	isApproved   = domain.StatusApproved
	isRefused    = domain.StatusRefused
	isCancelled  = domain.StatusCancelled
	isRefunded   = domain.StatusRefunded
	isChargeback = domain.StatusChargeback
)

// reopenGuards: a pending after a cancellation.
var reopenGuards = []guard{
	{
		"pending reopens what expired",
		[]arrival{fact(domain.KindPending, "a", 0), fact(domain.KindExpired, "b", 1)},
		fact(domain.KindPending, "c", 2), isPending, applied, false,
	},
	{
		"pending reopens a cancellation of unknown reason",
		[]arrival{fact(domain.KindCancelled, "a", 0)},
		fact(domain.KindPending, "b", 1), isPending, applied, false,
	},
	{
		"a cancellation because nobody paid is an expiry",
		[]arrival{fact(domain.KindCancelled, "a", 0, because(domain.ReasonExpired))},
		fact(domain.KindPending, "b", 1), isPending, applied, false,
	},
	{
		"so is one because the payment failed",
		[]arrival{fact(domain.KindCancelled, "a", 0, because(domain.ReasonPaymentFailed))},
		fact(domain.KindPending, "b", 1), isPending, applied, false,
	},
	{
		"pending does not reopen a void",
		[]arrival{fact(domain.KindCancelled, "a", 0, because(domain.ReasonVoid))},
		fact(domain.KindPending, "b", 1), isCancelled, conflicted, false,
	},
	{
		"any reason of its own makes a void",
		[]arrival{fact(domain.KindCancelled, "a", 0, because("out of stock"))},
		fact(domain.KindPending, "b", 1), isCancelled, conflicted, false,
	},
	{
		"nor one said of an order that had expired",
		[]arrival{fact(domain.KindExpired, "a", 0), fact(domain.KindCancelled, "b", 1, because(domain.ReasonRemoved))},
		fact(domain.KindPending, "c", 2), isCancelled, conflicted, false,
	},
	{
		"a void before the last time it was cancelled is forgotten",
		[]arrival{
			fact(domain.KindCancelled, "a", 0, because(domain.ReasonVoid)), fact(domain.KindApproved, "b", 1),
			fact(domain.KindCancelled, "c", 2),
		},
		fact(domain.KindPending, "d", 3), isPending, applied, false,
	},
	{
		"an expiry with a reason is no void",
		[]arrival{fact(domain.KindExpired, "a", 0, because("pix timed out"))},
		fact(domain.KindPending, "b", 1), isPending, applied, false,
	},
}

// impliedGuards: a refund or a won dispute after a cancellation.
var impliedGuards = []guard{
	{
		"a refund request implies a payment",
		[]arrival{fact(domain.KindExpired, "a", 0)},
		fact(domain.KindRefundRequested, "b", 1), isApproved, applied, true,
	},
	{
		"but not where one was seen",
		[]arrival{fact(domain.KindApproved, "a", 0), fact(domain.KindCancelled, "b", 1)},
		fact(domain.KindRefundRequested, "c", 2), isCancelled, noted, false,
	},
	{
		"a part refunded implies a payment",
		[]arrival{fact(domain.KindCancelled, "a", 0, because(domain.ReasonVoid))},
		fact(domain.KindPartiallyRefunded, "b", 1), isApproved, applied, true,
	},
	{
		"but not of a voided sale",
		[]arrival{fact(domain.KindApproved, "a", 0), fact(domain.KindCancelled, "b", 1, because(domain.ReasonVoid))},
		fact(domain.KindPartiallyRefunded, "c", 2), isCancelled, noted, false,
	},
	{
		"nor where a payment was implied before",
		[]arrival{
			fact(domain.KindExpired, "a", 0), fact(domain.KindRefundRequested, "b", 1), fact(domain.KindCancelled, "c", 2),
		},
		fact(domain.KindPartiallyRefunded, "d", 3), isCancelled, noted, false,
	},
	{
		"a won dispute implies a payment",
		[]arrival{fact(domain.KindExpired, "a", 0)},
		fact(domain.KindChargebackReversed, "b", 1), isApproved, applied, true,
	},
	{
		"but not where one was seen, either",
		[]arrival{fact(domain.KindApproved, "a", 0), fact(domain.KindCancelled, "b", 1)},
		fact(domain.KindChargebackReversed, "c", 2), isCancelled, noted, false,
	},
}

// refusedGuards: what contradicts a paid order, and second attempts, which do not.
var refusedGuards = []guard{
	{
		"pending of the approved payment",
		[]arrival{fact(domain.KindApproved, "a", 0, payment("p1"))},
		fact(domain.KindPending, "b", 1, payment("p1")), isApproved, conflicted, false,
	},
	{
		"pending of another payment",
		[]arrival{fact(domain.KindApproved, "a", 0, payment("p1"))},
		fact(domain.KindPending, "b", 1, payment("p2")), isApproved, noted, false,
	},
	{
		"pending of no payment",
		[]arrival{fact(domain.KindApproved, "a", 0, payment("p1"))},
		fact(domain.KindPending, "b", 1), isApproved, conflicted, false,
	},
	{
		"refused, of another payment",
		[]arrival{fact(domain.KindApproved, "a", 0, payment("p1"))},
		fact(domain.KindRefused, "b", 1, payment("p2")), isApproved, noted, false,
	},
	{
		"refused, of the second of two approved",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1")), fact(domain.KindApproved, "b", 1, payment("p2")),
		},
		fact(domain.KindRefused, "c", 2, payment("p2")), isApproved, conflicted, false,
	},
	{
		"approved again after the refund",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindRefunded, "b", 1, payment("p1"), back(100)),
		},
		fact(domain.KindApproved, "c", 2, payment("p1"), paid(100)), isRefunded, conflicted, false,
	},
	{
		"another payment after the refund is paid, and so is the order",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindRefunded, "b", 1, payment("p1"), back(100)),
		},
		fact(domain.KindApproved, "c", 2, payment("p2"), paid(100)), isApproved, applied, false,
	},
	{
		"another payment's approval while the first is disputed",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1")), fact(domain.KindChargeback, "b", 1, payment("p1")),
		},
		fact(domain.KindApproved, "c", 2, payment("p2")), isChargeback, noted, false,
	},
	{
		"pending of another payment of a refunded order",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindRefunded, "b", 1, payment("p1"), back(100)),
		},
		fact(domain.KindPending, "c", 2, payment("p2")), isRefunded, noted, false,
	},
}

// disputeGuards: the end of a dispute.
var disputeGuards = []guard{
	{
		"won",
		[]arrival{fact(domain.KindApproved, "a", 0), fact(domain.KindChargeback, "b", 1)},
		fact(domain.KindChargebackReversed, "c", 2), isApproved, applied, false,
	},
	{
		"won after a full refund",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindRefunded, "b", 1, back(100)), fact(domain.KindChargeback, "c", 2),
		},
		fact(domain.KindChargebackReversed, "d", 3), isRefunded, applied, false,
	},
	{
		"won after a full refund while disputed",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindChargeback, "b", 1), fact(domain.KindRefunded, "c", 2, back(100)),
		},
		fact(domain.KindChargebackReversed, "d", 3), isRefunded, applied, false,
	},
	{
		"won after a part was refunded",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindPartiallyRefunded, "b", 1, back(40)),
			fact(domain.KindChargeback, "c", 2),
		},
		fact(domain.KindChargebackReversed, "d", 3), isApproved, applied, false,
	},
	{
		"won for a voided sale",
		[]arrival{
			fact(domain.KindApproved, "a", 0), fact(domain.KindCancelled, "b", 1, because(domain.ReasonVoid)),
			fact(domain.KindChargeback, "c", 2),
		},
		fact(domain.KindChargebackReversed, "d", 3), isCancelled, applied, false,
	},
	{
		"won for a sale that was thought expired",
		[]arrival{fact(domain.KindExpired, "a", 0), fact(domain.KindChargeback, "b", 1)},
		fact(domain.KindChargebackReversed, "c", 2), isApproved, applied, false,
	},
	{
		"one of two won",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1")), fact(domain.KindApproved, "b", 1, payment("p2")),
			fact(domain.KindChargeback, "c", 2, payment("p1")), fact(domain.KindChargeback, "d", 3, payment("p2")),
		},
		fact(domain.KindChargebackReversed, "e", 4, payment("p1")), isChargeback, noted, false,
	},
	{
		"both of two won",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1")), fact(domain.KindApproved, "b", 1, payment("p2")),
			fact(domain.KindChargeback, "c", 2, payment("p1")), fact(domain.KindChargeback, "d", 3, payment("p2")),
			fact(domain.KindChargebackReversed, "e", 4, payment("p1")),
		},
		fact(domain.KindChargebackReversed, "f", 5, payment("p2")), isApproved, applied, false,
	},
}

// partialGuards: a refund that is not full acts as a part refunded.
var partialGuards = []guard{
	{
		"approved stays",
		[]arrival{fact(domain.KindApproved, "a", 0, paid(100))},
		fact(domain.KindRefunded, "b", 1, back(40)), isApproved, noted, false,
	},
	{
		"one centavo short",
		[]arrival{fact(domain.KindApproved, "a", 0, paid(100))},
		fact(domain.KindRefunded, "b", 1, back(99)), isApproved, noted, false,
	},
	{
		"all of it",
		[]arrival{fact(domain.KindApproved, "a", 0, paid(100))},
		fact(domain.KindRefunded, "b", 1, back(100)), isRefunded, applied, false,
	},
	{
		"without an amount it is all of it",
		[]arrival{fact(domain.KindApproved, "a", 0, paid(100))},
		fact(domain.KindRefunded, "b", 1), isRefunded, applied, false,
	},
	{
		"of one payment of two",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindApproved, "b", 1, payment("p2"), paid(50)),
		},
		fact(domain.KindRefunded, "c", 2, payment("p1")), isApproved, noted, false,
	},
	{
		"naming no payment it is of both",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindApproved, "b", 1, payment("p2"), paid(50)),
		},
		fact(domain.KindRefunded, "c", 2), isRefunded, applied, false,
	},
	{
		"of the second payment, after the first's",
		[]arrival{
			fact(domain.KindApproved, "a", 0, payment("p1"), paid(100)), fact(domain.KindApproved, "b", 1, payment("p2"), paid(50)),
			fact(domain.KindRefunded, "c", 2, payment("p1")),
		},
		fact(domain.KindRefunded, "d", 3, payment("p2")), isRefunded, applied, false,
	},
	{
		"parts that make a whole",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindPartiallyRefunded, "b", 1, refundOf("r1", 40)),
		},
		fact(domain.KindPartiallyRefunded, "c", 2, refundOf("r2", 60)), isRefunded, applied, false,
	},
	{
		"the same part twice",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindPartiallyRefunded, "b", 1, refundOf("r1", 50)),
		},
		fact(domain.KindPartiallyRefunded, "c", 2, refundOf("r1", 50)), isApproved, noted, false,
	},
	{
		"parts said cumulatively",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindPartiallyRefunded, "b", 1, back(40)),
		},
		fact(domain.KindPartiallyRefunded, "c", 2, back(60)), isApproved, noted, false,
	},
	{
		"a voided sale, refunded in part, is void",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindCancelled, "b", 1),
		},
		fact(domain.KindRefunded, "c", 2, back(40)), isCancelled, noted, false,
	},
	{
		"a voided sale, refunded in full, is refunded",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindCancelled, "b", 1),
		},
		fact(domain.KindRefunded, "c", 2, back(100)), isRefunded, applied, false,
	},
	{
		"a part of a void by parts, in full",
		[]arrival{
			fact(domain.KindApproved, "a", 0, paid(100)), fact(domain.KindCancelled, "b", 1, because(domain.ReasonVoid)),
		},
		fact(domain.KindPartiallyRefunded, "c", 2, back(100)), isRefunded, applied, false,
	},
}

// undatedGuards: undated facts never unmake a payment.
var undatedGuards = []guard{
	{
		"undated cancellation of a paid order",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		fact(domain.KindCancelled, "b", 0, undated(10)), isApproved, noted, false,
	},
	{
		"undated refusal of a paid order",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		fact(domain.KindRefused, "b", 0, undated(10)), isApproved, noted, false,
	},
	{
		"undated pending of a paid order",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		fact(domain.KindPending, "b", 0, undated(10)), isApproved, noted, false,
	},
	{
		"undated pending of a disputed order",
		[]arrival{fact(domain.KindChargeback, "a", 0)},
		fact(domain.KindPending, "b", 0, undated(10)), isChargeback, noted, false,
	},
	{
		"undated refusal of a refunded order",
		[]arrival{fact(domain.KindRefunded, "a", 0)},
		fact(domain.KindRefused, "b", 0, undated(10)), isRefunded, noted, false,
	},
	{
		"undated cancellation of an unpaid order",
		[]arrival{fact(domain.KindPending, "a", 0)},
		fact(domain.KindCancelled, "b", 0, undated(10)), isCancelled, applied, false,
	},
	{
		"undated refusal of an unpaid order",
		[]arrival{fact(domain.KindPending, "a", 0)},
		fact(domain.KindRefused, "b", 0, undated(10)), isRefused, applied, false,
	},
	{
		"undated refund",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		fact(domain.KindRefunded, "b", 0, undated(10)), isRefunded, applied, false,
	},
	{
		"dated in the future, so at its receipt",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		arrival{fact: fact(domain.KindCancelled, "b", 16).fact, received: minute(10)},
		isApproved, noted, false,
	},
	{
		"five minutes ahead is a clock",
		[]arrival{fact(domain.KindApproved, "a", 0)},
		arrival{fact: fact(domain.KindCancelled, "b", 15).fact, received: minute(10)},
		isCancelled, applied, false,
	},
	{
		"a fact of the past, when a later one is known",
		[]arrival{fact(domain.KindApproved, "a", 5)},
		fact(domain.KindPending, "b", 3), isApproved, late, false,
	},
	{
		"an approval of the past, over an expiry known first",
		[]arrival{fact(domain.KindExpired, "a", 5)},
		fact(domain.KindApproved, "b", 3), isApproved, applied, false,
	},
	{
		"a refused fact of the past",
		[]arrival{fact(domain.KindApproved, "a", 0), fact(domain.KindRefunded, "b", 9)},
		fact(domain.KindPending, "c", 3), isRefunded, conflicted, false,
	},
}
