// Package delivery is the rules of notifications, without I/O or clock: which
// events an endpoint is told ([Rules], [Filter]), what it was told before
// ([Chain]), when a failed attempt is made again ([Schedule]), and what an
// attempt came to ([Outcome]).
//
// A [Notification] is one event for one endpoint. The notifications of one order
// to one endpoint form a chain: each names the revision of the one before it,
// so a receiver sees a hole even when its filter leaves holes in the revisions.
//
// The chain is a pure function of the order's events, the rules, and the place
// in the log where the endpoint began. It is therefore never stored: what was
// told before is folded from the log again when it is not in memory. It names
// what the endpoint should have been told, so a delivery that was given up shows
// at the receiver as a hole, which is what it is.
package delivery
