// Package waiting lets callers wait until an order is what they want it to be.
//
// A [Room] is told of every commit of the views and wakes who waits for one of the
// orders in it: [Room.Order] waits for one order, by its id or by a tenant's
// reference, that need not exist yet; [Room.Until] for whatever else the same commits change, as a
// purchase. A [Condition] says what is waited for.
//
// Invariants: nobody polls, and a commit costs those who wait for other orders
// nothing; an order that is as wanted when the call begins is answered at once; no
// commit between the look and the wait is missed, because who waits is known
// before it looks.
//
// Caveats. A wait costs its caller's goroutine and some 300 bytes. What it answers
// is what the views hold, so a caller that may come before the views have caught up
// waits for that first.
package waiting
