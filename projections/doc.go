// Package projections keeps read models ("views") of the log in one bbolt file.
//
// A [File] is the bbolt file. A [Projection] writes one view into a bucket of
// its own; a [Runner] follows every partition of a [Log], folds the orders that
// a batch of events touches, hands them to every projection as [Change] values
// and commits rows, inverse indexes and the checkpoint in one transaction. A
// [Snapshot] is the file at one moment, with its position.
//
// Invariants:
//
//   - A commit is visible at once and in the file a second later: see package kv.
//     What a crash loses of it is read again from the log; what the views had read is
//     noted beside the file meanwhile, so that a log which lost it, too, is noticed.
//   - The checkpoint is part of the transaction that wrote the rows, so a crash
//     at any point leaves a view that is right for its checkpoint.
//   - Rows are a function of the events up to the checkpoint: neither batch
//     boundaries, nor events that come twice, nor a rebuild change a byte of
//     [File.Dump]. The suite in projectiontest holds every view to it.
//   - The hash of the last event of each partition is kept beside its sequence
//     and compared whenever the log is followed anew. A log that is shorter than
//     the views, or holds another event at that place, is an error of kind
//     Corrupt: the log went backwards.
//   - No personal data: bbolt keeps the bytes of deleted keys in free pages, so
//     what must be erasable is never written.
//
// A runner that starts far behind the log, as with an empty file, builds a new file
// beside the old one and puts it in its place: events are written as they are
// read, orders when all their events are known, what has other keys when all orders
// are, each in the order of its keys and without fsync until the checkpoint.
// Readers see the old file until then. A build that is killed leaves nothing
// but files that the next one deletes; one that cannot be is given up, and the
// views follow the log as ever. Memory does not grow with the log, but for a
// 256th of its encoded events twice (of ten million, some 40 MB), beside some 70 MB in all;
// on disk there is meanwhile a second copy of the events. [Deps.Building] hears when a
// build begins and ends, as the garbage that it makes adds as much as is in use, or more.
//
// [Runner.Rebuild] builds a candidate beside the views that serve: a runner of its
// own on the file with .next at the end of its name, which takes the views' place
// when it holds what they hold. They stand still for the moment of that, no reader
// does, and no reader goes back. What they were is kept as .previous for
// [Runner.Rollback]. A candidate that failed is removed; one that the end of the
// process cut off is taken up by the next, and held until [Runner.Promote]. A candidate's cache is bounded to 20,000 facts; notifications
// know nothing of views.
//
// The file has one checkpoint for all its projections; when any of them has another
// [Projection.Version] than the file, or the machine that folds has another version, the
// whole file is rebuilt from the log. There are two ways to that:
//
//   - When the machine's version is older, and every view's is the program's or an older
//     one that it can read ([Legible]: same keys and encoding, other content), the file
//     stands still. It answers as it is, at the position that it remembers, while a
//     candidate is built beside it, which is promoted when it has caught up: see
//     [Runner.Outdated]. [Runner.Wait] waits for a position beyond, [Runner.Ready] for
//     the promotion. A build that fails is tried again; one that is cancelled is not
//     before the next start or [Runner.Rebuild].
//   - When any is newer, unknown, or not legible, or a view is not in the file at all,
//     whose answers would be empty ones, nobody can read it: it is emptied, and nothing
//     answers until a build, which [Runner.Starting] tells of, has ended. But the file
//     that the last promotion replaced comes back when it is of just these versions, as
//     after a downgrade.
//
// It stands still, and does not follow, since this program cannot write what the versions
// in the file would, and readers take several views in one transaction, with one position:
// a file in which some views went on and some did not, or in which rows of two versions are
// mixed, would look whole to the version before, which may be started again. As it is, that
// version finds its own file, and goes on. So what an upgrade costs is that reads are of
// some time ago, and say so, where otherwise there would be none.
//
// A damaged page, as far as bbolt notices, is an error of kind Corrupt to who reads it.
// The views then stand still, too, whoever came upon it, and are built anew by themselves;
// the damaged file is not kept. Who opens a file that says nothing of itself any more has
// to delete it.
//
// A build that is cancelled, or that the end of the process cuts off, keeps what it has read.
// It then, and only then, writes the rest of the events that it has spilled, syncs them and
// says in a small file what they are of: log and epoch, versions, what is skipped, how far
// each partition was read, and the sums of all pieces. The next build of that file begins
// there, when all that is as it was and the log still holds the last events that were read:
// it writes again what was kept, which is faster than to read the log, and reads the rest. One that
// goes back to a partition before the last begins a run in each range of what it spills, of which
// the next one that goes on has a block in memory: at most 4 MB more for each time. If
// anything is another, it says so and begins anew. The small file is removed before anything
// is spilled behind what it is of, so a build that is killed begins anew. A candidate that
// was cancelled lies under the name .cancelled, where no start takes it up, until
// [Runner.Rebuild] does; [Runner.DiscardBuild], [Runner.RebuildAnew] and [Runner.Rollback]
// remove it, and so does a word of an operator on a parked order, of which it knows nothing.
//
// The [Point] values name the places at which the order of all this matters.
//
// Caveats. An event that cannot follow the order's history parks its
// order: it is logged, counted in comanda_projections_parked_orders, and neither
// it nor later events of that order reach a view before [Runner.RetryParked] or
// [Runner.SkipParked]; all other orders go on. What was skipped is not in the log:
// it is carried from file to file, and lost with the last. An event that the log itself cannot decode names no order;
// it ends [Runner.Run] with the log's error.
//
// bbolt is used in this folder and nowhere else.
package projections
