// Package proof compares the views with an independent fold of the log, while
// the views go on.
//
// Whoever reads the log hands each order, folded afresh, to [Checker.Order], and
// when all were read calls [Checker.Finish], which finds rows that are of no order
// of the log, and index entries that are of no row. A row that has meanwhile moved
// beyond what was folded is compared with the fold of its own facts, and those
// facts, as far as they go, with what was folded: nothing is skipped. A row that
// has not moved is compared with what was folded alone, when [Checker.Event] has
// compared each of the order's events, and its place, with the timeline.
//
// Counts, which are of all orders together, [Checker.Finish] compares with a count
// from nothing, when nothing else was found to differ: of the events and orders that
// the log told of, and of what the views have beyond them.
//
// A check of all of the log ([Checker.Whole]) keeps of each order a digest of 128 bits, of its
// row and its places, and goes through each view once at its end, in one state of all: what is beside
// orders and timeline is derived from rows that were proven, and compared by sums. Only where a digest
// or a sum differs it compares as above, and names what differs. The rows of orders, most of that
// work, it goes through in two goroutines, a half each.
//
// A check of a part of the log does without [Checker.Finish]: it proves the rows of
// the orders that it was handed, and nothing of others.
package proof
