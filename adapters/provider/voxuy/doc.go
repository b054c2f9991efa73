// Package voxuy reads the transactions that a checkout posts to Voxuy: many can,
// so a source of this shape lets them post here instead. [Codec] reads them,
// [Sample] writes synthetic ones. The way out, to Voxuy itself, is a sink of notifications.
//
// The id is the order; a message without one is its own order, named by the hash
// of its body. date is the sale's: it dates pending and abandoned, and nothing
// else. Status 99 says nothing of the payment: it is details, with the number of
// the funnel's own event. News from the carrier are a fact of their own, dated by
// shipping.date. apiToken is a secret and is never read.
package voxuy
