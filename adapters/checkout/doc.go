// Package checkout is the way in for a merchant's own checkout: what is published to
// intake.<source> is recorded, what became of it is published on outcome.<source>, and it is
// acknowledged. The body is what the source's codec reads: the platform's JSON, or Comanda's own
// CloudEvent.
//
// DESIGN section 8 has it go through the stream INTAKE, which on one replica syncs each message by
// itself before the log syncs it again, in groups. So on the embedded server, whose accounts
// bring it to another subject (natsnode), a [Front] takes it first: it records the fact, publishes the
// outcome, and then acknowledges in the stream's own form, with a number of its own as the
// sequence. The acknowledgement means what it did: durable, and decided besides. duplicate is
// in it when every fact was recorded before, by the event ids; a Nats-Msg-Id decides nothing there.
//
// INTAKE is for what must wait. A Front passes on to it, with the sender's headers, what it cannot
// record now (an error; more than MaxRequests or 64 MiB in hand; while nothing can be recorded, without a try but for one a second),
// what only a stream can do (a header Nats-… other than the id), and what it still has
// when it is stopped; the stream's answer is sent on to the sender as it is. So nothing is acknowledged but by what
// made it durable, and a message that is lost with the process was not acknowledged. A Front's word
// on when it took the message goes with it and is its receipt, which on a server of yours nobody is believed.
//
// [New] makes a [Checkout] for the sources, whose Run reads INTAKE until its context
// ends. received_at is the message's time in INTAKE, or when a Front took it.
//
// A message is acknowledged when it is durable elsewhere and its outcome was
// published: in at least once, one effect, because the recorder knows every fact
// by its event id; so an outcome may come twice, the second time as a duplicate.
//
// INTAKE is no work queue: a server of one replica that syncs always (nats-server 2.15,
// server/filestore.go, removeMsg) syncs each message that leaves one by itself. What is
// acknowledged is purged four times a second, many messages with a few syncs, up to the
// first that is not, and all of it when Run ends. After a crash some that were acknowledged
// come again.
//
// Messages of one order are worked on in their order and beside those of others;
// one that is passed on or must be tried again may fall behind, which changes verdicts and never the order.
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
