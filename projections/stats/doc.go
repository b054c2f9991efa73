// Package stats is the view of counts: for each hour, source and payment method
// what the facts did, how orders moved, how long they stood where they stood, and
// what money is where.
//
// There are two clocks, and each count has one of them.
//
//   - By recorded hour, of the log: verdicts of events, and edges (status before
//     to status after) of those that were applied; source and method are the
//     event's own. What was recorded never changes, so a past hour never does.
//   - By effective hour, of the orders as their facts make them now: how many
//     orders reached each status, how long they stayed in it, and the money by
//     status; source is that of the order's first event, method the order's.
//     A late fact folds its order anew and moves these counts, of past hours too.
//
// Of an order as it is now, [order.History.Entered] says when each step was
// taken. The hour is that of
//
//   - its first step, for what it reached: an order counts where it began;
//   - the step out of a status, for how long it stood there: a stay counts when it
//     has ended, and one that goes on is not counted;
//   - its last step, for its money: an order counts once, in the status where it is.
//
// An order without any step is known only by facts that move nothing, and counts
// by recorded hour alone.
//
// What is stored. Four buckets, one for each of these; a key is tenant, hour,
// source, method and, of money, currency, and its value the counters that are not
// zero. An order that changes takes what it was out and puts what it is in, through
// [projections.Change].Before and State; a row that comes to nothing is deleted, so
// the rows are a function of the events and not of their batches. An event touches
// one row by recorded hour and, when its order moves, a few by effective hour; a
// batch reads and writes each row once.
//
// [View.Funnel] and the others sum the rows that match a [Query]. Sums of amounts
// that an int64 does not hold wrap around.
package stats
