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
// # Where the rules are more exact than DESIGN's letter
//
// The simulator of true histories (package proof) found ends that contradict what
// really happened to the money; these are the rules that have none.
//
//   - "Approved or later" is also a sale that was cancelled after it was paid: the
//     undated refusal that comes in then is of the time before.
//   - Held back is what the table would act on: an undated fact that it notes anyway is noted.
//   - An `accept` forces nothing where the table moves nothing, so an accepted void
//     does not undo a refund or a dispute that an earlier-dated fact tells of later.
//   - Only an accepted approval makes the refunds before it not count, since it alone
//     says that the money is there again; and then for a later `refunded`, too, as
//     for refund_complete and the end of a dispute. What was paid counts always.
//   - An operator clears an attention item of a fact that stands by a `resolved`
//     whose detail names the item's kind; `accept` of the event itself stays what
//     DESIGN says: for an open conflict and a fact held back.
//
// # Caveats
//
// Times are compared as they are: a provider whose clock is wrong is believed,
// up to [MaxAhead] after receipt. Three known limits, all repaired by an operator: a
// second approval equal to the first in every keyed field cannot report a won
// dispute; a creation-dated pending of a refused charge stays refused until paid;
// an undated chargeback recorded late sorts after a dated reversal.
package order
