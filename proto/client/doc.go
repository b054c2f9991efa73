// Package client is what a service written in Go needs of comanda.v1 beyond the
// generated code: [Dial] connects, [Subscribe] follows the log through every lost
// connection, [Consume] is a member of a group of consumers in the same way, and [WaitOrder]
// waits for an order for longer than one call may last.
//
// Invariants. Subscribe goes on after the last event that was acted on, so that within
// one call nothing is skipped and nothing comes twice; an event that would break the order
// which the server promises is never handed over: the call ends with [ErrOutOfOrder].
// Consume gives every event of the group to a handler at least once, and no two of one order
// at a time, as long as one process is the order's member; a handler that lost its event is
// told so by its context. Only what may pass by itself is tried again, see [Retry]; everything
// else ends the call with the server's own error, whose status and google.rpc details it keeps.
//
// Caveats. Between handling an event and storing its token, or being heard, a process may die
// or a connection: the event comes again, so a handler is idempotent, or writes effect and
// token in one transaction. Consume joins anew when all handlers of a lost connection have
// returned, so they heed their contexts. Revisions are compared for the 32,768 orders last
// heard of at least, so that memory is bounded.
package client
