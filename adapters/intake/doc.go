// Package intake is what every way in shares: an authenticated message becomes
// facts in the log, or is kept in quarantine, or is relayed.
//
// [Intake.Accept] does it all; [Intake.Decode] and [Intake.Commit] are its two
// halves, for a caller that wants to know the order before it waits for the log.
// A [Source] is one configured way in and the codec that reads it. A [Receipt]
// says what became of the message, and writes itself as the answer of DESIGN
// section 7. [Intake.AcceptUnknown] keeps a message of which nobody knows the source.
//
// Invariants: a message is accepted only when it is durable, as events, in
// quarantine or in the relay stream; an error means that nothing was
// acknowledged and that the sender is to try again. No business reason is an
// error, but for [Intake.Insist], whose sender waits for it. No body, no field value and no credential reaches a log or a metric.
//
// The intake neither authenticates nor limits: its callers do.
package intake
