package proof_test

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Why a mutant is the same machine.
const (
	noVoidHere = "~ goes to pending as the plain edge does: its guard asks for a void since the order entered cancelled, " +
		"and an order in this status has left it or never was there"
	pendingAlready = "~ reopens to pending, and the order is pending: nothing moves, as at a repeat"
	noApprovalYet  = "^ goes to approved with the gap flag, as the plain edge does: its guard asks whether a step so far was approved, " +
		"and no edge leads from approved or later back to this status"
)

// survivors is every mutant that no golden case can fail, and why it is the same
// machine. The test fails on one that is missing here and on one that is killed.
var survivors = map[mutant]string{
	{domain.StatusNone, domain.KindPending, order.CodeReopen}:    noVoidHere,
	{domain.StatusStarted, domain.KindPending, order.CodeReopen}: noVoidHere,
	{domain.StatusRefused, domain.KindPending, order.CodeReopen}: noVoidHere,

	{domain.StatusPending, domain.KindStarted, order.CodeReopen}:   pendingAlready,
	{domain.StatusPending, domain.KindAbandoned, order.CodeReopen}: pendingAlready,
	{domain.StatusPending, domain.KindPending, order.CodeReopen}:   pendingAlready,

	{domain.StatusNone, domain.KindRefundRequested, order.CodeImplied}:       noApprovalYet,
	{domain.StatusNone, domain.KindPartiallyRefunded, order.CodeImplied}:     noApprovalYet,
	{domain.StatusNone, domain.KindChargebackReversed, order.CodeImplied}:    noApprovalYet,
	{domain.StatusStarted, domain.KindRefundRequested, order.CodeImplied}:    noApprovalYet,
	{domain.StatusStarted, domain.KindPartiallyRefunded, order.CodeImplied}:  noApprovalYet,
	{domain.StatusStarted, domain.KindChargebackReversed, order.CodeImplied}: noApprovalYet,
}
