// Package ordertest reads and runs the golden cases of package order: a [Case] is
// facts as they are delivered and what the order is after them, written down from
// DESIGN section 5 by thought. The cases are data, so that several tests can hold
// several machines to them: the real one, one that asks looplab at every step, one
// with a mutated cell.
//
// Times are minutes after [Base]. A case is small enough to be read.
package ordertest
