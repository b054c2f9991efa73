// Package order is the aggregate: an order is a pure function of the set of its
// stored facts. [Machine.Decide] adds a new fact to an order's [History] and
// says what it does; [Machine.Fold] makes the order's [State] from the facts,
// sorted by (effective time, rank, receipt time, event id). Readers fold the
// same way, so the order of delivery is not an input and cannot matter.
//
// A [Table] says what a fact does at its own place in time; [DefaultTable] is
// testdata/transitions.csv as Go. looplab/fsm is the authority for its edges:
// [New] builds the library's machine from the table, asks it every question once
// and keeps the answers, which are what a fold asks.
//
// # Invariants
//
//   - Facts are never changed and never lost; a verdict is what a fact did when it
//     was recorded, and is history. Status, facets, conflicts and attention are of
//     the current fold.
//   - Equal sets of facts, with their receipt times, fold to equal states, in
//     whatever order they came and however often. A fact that a codec concluded
//     ([domain.Fact].Inferred) stands only until the real one is known.
//   - Money is summed over all standing facts before the fold begins. It never
//     makes a conflict.
//   - An operator's `accept` is a forced edge at the fact's own place in time, for
//     ever. Of several words on one event the last recorded one holds.
//
// # Caveats
//
// Times are compared as they are: a provider whose clock is wrong is believed,
// up to [MaxAhead] after receipt. Three known limits, all repaired by an operator: a
// second approval equal to the first in every keyed field cannot report a won
// dispute; a creation-dated pending of a refused charge stays refused until paid;
// an undated chargeback recorded late sorts after a dated reversal.
package order
