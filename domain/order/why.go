package order

// The reasons why a stored fact moved nothing: a closed set, in [domain.Event]'s
// Why. An applied event has none.
const (
	// WhyLaterKnown: nothing moved, and a later-dated fact of a status kind was known. Verdict late.
	WhyLaterKnown = "later_fact_known"
	// WhyContradicts: the table refuses this kind in the status that the order
	// had at the fact's time. Verdict conflict.
	WhyContradicts = "contradicts_status"
	// WhyVoided: a pending after a void with a reason. Verdict conflict.
	WhyVoided = "voided"
	// WhyNoEdge: a repeat, or a facet only: the table moves nothing here.
	WhyNoEdge = "nothing_to_move"
	// WhySecondAttempt: refused by the table, but it names another payment than those approved.
	WhySecondAttempt = "second_attempt"
	// WhyPaymentKnown: it would imply a payment, and one was seen.
	WhyPaymentKnown = "payment_known"
	// WhyDisputeOpen: a dispute ended while another payment's is open.
	WhyDisputeOpen = "other_dispute_open"
	// WhyHeldBack: an undated fact that may not move a paid order.
	WhyHeldBack = "held_back"
	// WhyConfirms: the real fact of one that was concluded before.
	WhyConfirms = "confirms_inferred"
	// WhyOvertaken: it moved the order at its place, and others of the same
	// moment, or the money, brought it back to where it was.
	WhyOvertaken = "overtaken"
	// WhyNotStatus: facts of this kind never move the status.
	WhyNotStatus = "not_a_status"
	// WhyResolution: an operator's word that left the status as it was.
	WhyResolution = "resolution"
)

// WhyRefundComplete is the reason of the step that ends a fold in refunded
// because the money shows a full refund ([domain.Step]'s Why).
const WhyRefundComplete = "refund_complete"

// The attention kinds: what an operator should look at. Amounts never make a
// conflict, only attention.
const (
	// AttentionUnderpaid: less was paid than the order asks; caused by the last approval with an amount.
	AttentionUnderpaid = "underpaid"
	// AttentionOverpaid: more was paid than the order asks; caused likewise.
	AttentionOverpaid = "overpaid"
	// AttentionAmountChanged: the order asks another sum than the fact before it said.
	AttentionAmountChanged = "amount_changed"
	// AttentionCurrencyMismatch: a fact is in another currency than the order's first.
	AttentionCurrencyMismatch = "currency_mismatch"
	// AttentionDuplicatePayment: a payment was approved after others had paid all
	// (or nobody knows how much there was to pay), or the provider says so.
	AttentionDuplicatePayment = "duplicate_payment"
	// AttentionPaidAfterCancel: an approval moved the order out of cancelled.
	AttentionPaidAfterCancel = "paid_after_cancel"
	// AttentionHeldBack: an undated fact that may not move a paid order.
	AttentionHeldBack = "held_back"
	// AttentionReferenceChanged: the order went to another purchase.
	AttentionReferenceChanged = "reference_changed"
	// AttentionBlocked: the provider holds the order.
	AttentionBlocked = "blocked"
)

// The values of [State]'s Dispute; "" is none ever.
const (
	DisputeOpen = "open" // some payment's is
	DisputeWon  = "won"  // all that were opened were reversed
)
