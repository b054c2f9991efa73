// Package domain is Comanda's vocabulary: the words that every other package
// shares, one word for one thing.
//
// A [Message] is what came in. A codec reads it as [Fact] values. Deciding a
// fact makes an [Event], which the log keeps for ever; a [Recorded] is an event
// with its place in the log. [OrderID], [EventID] and [Position] name things;
// [Kind], [Status] and [Verdict] are closed sets; [Error] says in which of a few
// ways something went wrong, and the edges map its kind to HTTP, gRPC and NATS.
//
// The package does no I/O, reads no clock and imports only the standard library.
package domain
