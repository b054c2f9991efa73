// Package checkout is the way in for a merchant's own checkout: messages
// published to intake.<source> are read from the stream INTAKE, and what became
// of each is published on outcome.<source>.
//
// [New] makes a [Checkout] for the sources, and Run works until its context
// ends. The body is what the source's codec reads: the platform's JSON, or
// Comanda's own CloudEvent. received_at is the message's time in INTAKE.
//
// A message is acknowledged when it is durable elsewhere and its outcome was
// published: in at least once, one effect, because the recorder knows every fact
// by its event id; so an outcome may come twice, the second time as a duplicate.
//
// INTAKE is no work queue: a server of one replica that syncs always (nats-server 2.15,
// server/filestore.go, removeMsg) syncs each message that leaves one by itself. What is
// acknowledged is purged four times a second, many messages with a few syncs, up to the
// first that is not, and all of it when Run ends. After a crash some that were acknowledged
// come again. Who sends waits for one sync a message, or for one of an atomic batch.
//
// Messages of one order are worked on in their order and beside those of others;
// one that must be tried again may fall behind, which changes verdicts and never the order.
//
// A message that no try can record, for a fault of ours, goes to quarantine in the end;
// while the log is away it is tried for ever.
//
// [NewService] makes the [Service] that answers requests, by nats.go/micro:
// comanda.record.<source> with what became of one fact, once that is durable, and
// comanda.order.get.<source> and comanda.order.wait.<source> with an order of the
// source's tenant. Every request is answered, a bad one with a micro error of the
// codes in answer.go. Subjects end with the source because a server's permissions
// are by subject; no stream may store them ([CheckOverlap]).
//
// Who may publish is the NATS server's affair (its accounts: see natsnode.Grant), so a
// message for an unknown source is kept in quarantine.
package checkout
