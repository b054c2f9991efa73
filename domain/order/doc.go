// Package order is the aggregate: an order is a pure function of the set of its
// stored facts. [Machine.Decide] adds a new fact to an order's [History] and
// says what it does; [Machine.Fold] makes the order's [State] from the facts,
// sorted by (effective time, rank, receipt time, event id). Readers fold the
// same way, so the order of delivery is not an input and cannot matter.
//
// looplab/fsm is the authority for every edge; see machine.go. The table is
// DESIGN section 5's transitions.csv as Go, see table.go.
package order
