// Package durable is what the adapters that tell others of the log's events keep on
// JetStream: a [Consumer] on a partition, which remembers how far its owner was
// told, and a [Book] of records that are changed by compare-and-set.
//
// A consumer is pinned to one client (ADR-42), so that two instances do not share
// an order between them; the other takes over when the first has let go of the pin
// ([Consumer.Unpin]) or has not been heard of for the pin's time.
//
// Caveats: who pulls must not let a message wait long before it takes the next, or
// the pin is lost. Acknowledgements are not waited for: one that is lost means a redelivery.
package durable
