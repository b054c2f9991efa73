// Package comanda reads Comanda's own format: a CloudEvent in JSON whose type
// names the fact, for a merchant's checkout and for imports. [Codec] reads it,
// [Sample] writes synthetic ones.
//
// type is comanda.fact.<kind>.v1 for every kind but resolved: an operator's word
// comes through RecordFact, which knows the operator. subject is the order's id
// at its provider, id the idempotency key, time when it happened. data.about
// names another provider, and makes it a fact about that one's order; without an
// account of its own it is that of the source.
//
// All of data is optional, except that refund_amount needs the refund_id that it
// is of, and a shipping fact its shipping. Beside reference, sums,
// payment, reason, customer, items and utm, data may hold
// freight, discount, installments, detail, custom_event, customer.address
// {street, number, complement, district, city, state, postal_code, country},
// pix_code, pix_url, boleto_line, boleto_url, checkout_url, and shipping {event,
// tracking_code, tracking_url, branch, city, state, country, date}.
package comanda
