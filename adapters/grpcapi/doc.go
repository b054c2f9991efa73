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
//   - A subscription is one goroutine beside gRPC's. It reads the newest events from the ring, which all
//     share (package ring), and older ones from the log, in pages that are small for a client
//     that reads slowly; such a client holds that and gRPC's 64 kB, and slows nobody.
//   - An event's bytes are those that the log stores, and are made once for all
//     subscribers; only the token around them is each one's own.
//   - A token, whatever message it came with, is after every event that was sent
//     and before every other that is wanted.
//   - A stream that the server ends has said why, and where to go on: in a Closing message, and in
//     its status for a client that reads too late for that; see ending.go.
//   - Filter and tenants are asked for every event that is sent.
//   - A resume token names the log and the filter that gave it; no other log or filter accepts it.
//     A log that was restored accepts those of before up to the backup's head, and no later one.
//   - A member of a consumer group (package groups) is two goroutines beside gRPC's, one that sends and one
//     that receives; it is given at most what it has credits for, of the tenants that it may see.
//
// Caveats: positions, which count events, are of all tenants. The caller's tenants are
// not in a resume token: what was passed over for one caller stays so for another.
package grpcapi
