// Package onprofit reads the webhooks of OnProfit. Its document gives only the
// vocabulary, in a field order_status; public integrations show another wire, a
// field status in upper case. [Codec] reads either field in any case, and both
// objects: an order, and a cart_abandonment, which has its own ids and no status.
// [Sample] writes synthetic ones.
//
// An order of ours is one line there: a checkout fires one webhook per product
// and per order bump. Nothing on the wire groups them; a merchant's own code in
// src or custom_fields can, see [Config]. Times without a zone are of Brasília.
// The affiliate's commission is no sum of the order; it stays in the raw body.
package onprofit
