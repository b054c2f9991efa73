// Package notify tells endpoints what happened to orders. A [Notifier] runs
// Watermill's Router over a subscriber of our own on durable JetStream
// consumers, one for each endpoint and partition; a sink (package httpsink,
// voxuysink) is a Watermill message.Publisher, made by a [Builder]. Which events
// an endpoint is told is domain/delivery's.
//
// # One attempt
//
// The subscriber emits one Watermill message for each attempt: its UUID is the webhook id, the
// same for every attempt of one event for one endpoint; its payload is the
// CloudEvent in JSON; its context carries the typed notification ([Of]). The
// Router reduces every handler error to a bare nack, so a handler returns nil and
// hands the [delivery.Outcome], which a sink conveys in the error of Publish, to
// the subscriber through the context. A message whose handler set no outcome
// (it panicked) failed.
//
// # Order
//
// Kept for each endpoint and order, never across orders. An order has a lane: its
// attempts are made one after the other, lanes run beside each other, up to the
// endpoint's concurrency. A durable is pinned to one client (ADR-42), so two
// instances do not share an order between them.
//
// An event arrives whose predecessor (the order's event that this endpoint was told
// before, by fold of the order's history) was not seen by this process: after a restart, or
// when another instance held the pin. The predecessor is known to be done when it
// is at or below the durable's acknowledgement floor and no blockade exists;
// otherwise the event waits until one of them is so, or until the predecessor is redelivered.
//
// # Retries
//
// When an attempt fails, its order becomes blocked: a record of what is due, and how
// many attempts failed, is stored in the KV bucket NOTIFY, under the key
// "<endpoint>.<order id>", and only then is the message acknowledged. What the
// order does meanwhile is also acknowledged, once the record says how far: the log
// holds it. So a blocked order costs one key, holds back no other order, does not
// keep the acknowledgement floor down, and survives a restart. When an attempt is
// due, whoever wins the compare-and-set on the record makes it; after
// a success the order's later events follow at once, and the record is removed.
// After the last attempt of the schedule the record is marked dead and
// the order waits for an operator (on_exhausted: hold), or goes on (skip).
//
// More than [Config.MaxBlocked] blocked orders mean that the endpoint itself
// is down: no new event is then taken for it until one of them is through. The
// backlog is the log.
//
// An outcome of Disable stops the endpoint until the process is started
// again; nothing is lost, and nothing of other endpoints is touched.
//
// # Caveats
//
// Delivery is at least once: a crash between the endpoint's answer and the
// acknowledgement sends the event again, under the same webhook id. What JetStream redelivers to a
// process that remembers it is not sent again.
//
// A new endpoint starts with what is recorded after its durables were made, which is before [Notifier.Ready].
// An endpoint that leaves the configuration keeps its durables, and goes on from there when it
// comes back. Changing an endpoint's events changes previous_revision as if it always
// had the new ones.
package notify
