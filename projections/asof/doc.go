// Package asof reads orders and purchases as they were.
//
// A [Moment] is one of three: [KnownAt] is what was known at a time, of the facts that
// were recorded at it or before, folded by the machine of the newest of them; [Revision]
// the same, of an order's first so many; [OccurredAt] what had happened by a time, as far as
// it is known now, of the facts that are dated at it or before, whenever they were
// recorded. [Reader] answers for one moment what the views answer for now.
//
// All of it is folded anew from the timeline, but for orders that nothing was recorded
// of since, whose rows hold. So a page of a list costs a fold of some events for each order
// that it looks at, at most 5,000 of them, and a list as a whole one for each order that
// was there: by provider order id it looks at that id's orders alone, and in a list of what was known at a time at
// none that came after it.
//
// The past is as exact as the views are complete: who asks of a time that has only just
// passed waits first until they have read the log up to its head.
package asof
