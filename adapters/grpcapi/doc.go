// Package grpcapi serves comanda.v1 over gRPC: orders and their history from the
// views, events from the log, and the proof that both hold together.
//
// [New] takes a [Config] and, as [Deps], the few interfaces it reads through;
// [Server.Serve] answers on a listener until [Server.Stop].
//
// Invariants:
//
//   - Every error of a handler is a status with a google.rpc.ErrorInfo of the domain "comanda",
//     made in one place from the kind of the error; see errors.go. The text of an
//     internal error stays in the server's log.
//   - A request that breaks a rule of its message (buf.validate) reaches no handler;
//     conditions in CEL are read by package celfilter.
//   - A fact that RecordFact refuses is not stored, and one that it stored is found
//     again by its request's id, whatever became of its order: see [order.Terms].
//   - Orders and history are answered only once the views have caught up with the
//     log of when the server started; before, the answer is UNAVAILABLE and the
//     health service says NOT_SERVING. Events are served from the log at once.
//   - Every call needs what its method's row in needs.go asks, and every answer and event is
//     of the caller's tenants: see package access. A server with a method without a row
//     is not made, and none listens beyond loopback without access control.
//   - A subscription holds one batch of events a partition and no more: a client
//     that does not read blocks its own followers and nobody else.
//   - A resume token names the log that gave it; no other log accepts it. A log that
//     was restored accepts those of before up to the backup's head, and no later one.
//
// Caveats: every subscription follows the log by itself. Positions, which count
// events, are of all tenants.
package grpcapi
