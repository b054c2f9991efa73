// Package export writes the log, and what is folded from it, as files for
// analysts: Parquet, CSV or JSONL.
//
// There are seven tables. [Event] and [Transition] are of the log, in the order of
// partition and sequence. [Order], [Interval] and [Movement] are of the fold of
// each order's whole history, in the order of order ids. [Personal], of the log, and
// [Customer], of the fold, are what the others leave out, and only for a [Reveal]. [Directory] writes some of
// them below a directory, one file or more for each recorded day and table, as
// events/recorded_day=2026-05-09/…; [Stream] writes one of them to a writer;
// [Check] holds a directory to its [Manifest].
//
// Invariants:
//
//   - Files are a function of the log up to a position, of the filter and of the
//     format: an export that was interrupted and goes on has the same bytes as one
//     that was not. A file appears under its name when it is whole and durable, and
//     counts when the manifest, which is replaced atomically, lists it.
//   - An event that cannot follow its order's history is in the tables of the log, and in
//     none of the folded ones: they are what they would be without it, as the views are
//     when an operator skips it. [Config] is told of each, the manifest says how many.
//   - Memory does not grow with the log's length but for the history of a 256th of
//     the orders at a time, when a folded table is wanted: events are then spilled
//     to files below the directory, by order id, and rows again, by day.
//   - No personal data but in the tables personal and customers, whose files are their
//     owner's alone: for all others nothing sealed is opened. That it is opened for those,
//     by whom and why, is recorded first, each time that an export begins or goes on, and
//     stands in the manifest. What was opened is on disk nowhere but below its table's
//     directory, also before it is whole. These two are of the keys, too: who was erased since
//     is in what was written before and null after. Nowhere are an operator's own words,
//     tracking addresses and what a provider wrote as a date.
//
// Sums are int64 minor units (centavos) beside their currency, null where unknown.
// Times are in UTC; in Parquet they are whole microseconds. In CSV a text that a
// spreadsheet would take for a formula begins with an apostrophe ([Text]).
//
// A directory that is complete goes on from where it ended when the log has grown;
// the folded tables are then made anew.
package export
