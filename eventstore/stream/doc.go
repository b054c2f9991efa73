// Package stream is the part of JetStream that Comanda's log needs and the
// client library does not have, or has with other promises.
//
// [Ensure] creates a stream or compares the one that is there with what is
// wanted. A [Publisher] sends messages with many in flight and reads each
// acknowledgement, singly or as an atomic batch. A [Reader] reads one stream:
// through its leader, as a batch, or following it in order.
//
// The package knows nothing of orders. An error of the server is an [*APIError];
// no answer within the time is [ErrNoAnswer]; either way the message may have
// been stored unless the error's code says otherwise.
package stream
