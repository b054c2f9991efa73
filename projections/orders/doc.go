// Package orders is the view of what every order is now.
//
// A row is a comandav1.Order with all its fields, made by [Row] from the fold of
// the order's facts. [View.Get] reads one, [View.List] a page of them, the last
// recorded first. [View.Check] and [View.CheckIndexes] prove rows and indexes.
//
// There are six indexes, of keys without values. status: tenant, status, time of
// recording, order id. source: tenant, source, time, order id. reference: tenant,
// digest of the reference, time, order id; only of orders that have one. attention:
// tenant, time, order id; only of orders that an operator should see. provider order
// id: tenant, digest of it, time of the first recording, order id, which never
// moves, for it has a handful of orders. first recording: tenant, time of the first
// recording, order id, which never moves either: [View.ListPast] reads from it how orders were. A page is read from the one that has the
// fewest entries for its filter; the rest is decided by reading rows. A page without
// a status or tenant merges the ranges of all statuses and tenants there are, so that
// its cost is the number of ranges and not of orders.
//
// Orders by customer are not found here but in package customers, and handed in
// ([Among]).
//
// Rows hold no personal data: a fold sees none.
package orders
