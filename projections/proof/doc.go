// Package proof compares the views with an independent fold of the log, while
// the views go on.
//
// Whoever reads the log hands each order, folded afresh, to [Checker.Order], and
// when all were read calls [Checker.Finish], which finds rows that are of no order
// of the log, and index entries that are of no row. A row that has meanwhile moved
// beyond what was folded is compared with the fold of its own facts, and those
// facts, as far as they go, with what was folded: nothing is skipped.
package proof
