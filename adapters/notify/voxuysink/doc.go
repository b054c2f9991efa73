// Package voxuysink is the sink of endpoints of kind voxuy: a [Sink] posts an
// order's transaction to Voxuy's webhook (document 002, "Documentação Webhook"), which
// schedules messages to the customer.
//
// A new transaction for the same phone cancels what Voxuy scheduled before, so
// the sink is careful about what it sends. It sends what the order is after an event and
// skips the event when a newer one is stored that it would send too. What moved
// nothing (a phase, a refund request, an abandoned cart, a flag, shipping, a
// custom event) is sent at most once for each order and fact. What would ask a
// payer to pay again is skipped while another order of the same purchase is
// approved; without a reference, while another order of the same person is that this account
// was told of within a day. [Payers] remembers those by pseudonyms: HMACs of document,
// e-mail and phone under the account's token.
//
// The customer's data is opened for the request and not kept: an event may
// carry none while an earlier one of its order does, so it is gathered from all of
// them. Without a phone Voxuy can do nothing, so such a delivery is final.
//
// The URL and the token are secrets; neither they nor personal data get into errors and logs.
package voxuysink
