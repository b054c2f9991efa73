// Package queue is what views of things that wait for an operator share: an entry
// for each thing that an order has now, none for what was settled.
//
// A [View] is made with the function that says what an order's fold has. Its
// bucket has one level: tenant, time of recording of the event that caused the
// thing, order id, event id, kind; the value is the event's revision. An order
// that has nothing, which is nearly every one, costs nothing to write. What a
// reader sees of an item beside its key comes from the views of orders and of the
// timeline, in the same transaction.
package queue
