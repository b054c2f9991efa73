// Package orders is the view of what every order is now.
//
// A row is a comandav1.Order with all its fields, made by [Row] from the fold of
// the order's facts. [View.Get] reads one, [View.List] a page of them, the last
// recorded first. [View.Check] and [View.CheckIndexes] prove rows and indexes.
//
// There are two indexes. status: tenant, status, time of recording, order id.
// reference: tenant, digest of the reference, time of recording, order id; only
// of orders that have one. A page without a status or tenant merges the ranges of
// all statuses and tenants there are, which keeps a change of an order at one
// entry out and one in, and a page's cost at the number of ranges and not of orders.
//
// Rows hold no personal data: a fold sees none.
package orders
