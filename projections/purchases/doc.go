// Package purchases is the view of what the orders of one merchant that share a
// reference come to together (DESIGN section 5, Purchases).
//
// [View.Get] reads one, [View.List] a page of them. An order is in the purchase of
// its reference as its facts make it now; one without a reference is in none.
//
// What is stored is one small member an order, and the roll-up is made by reading:
// a change writes one row, and none where it changes nothing that a purchase
// shows; a reference that a merchant gives to every order costs its own reader
// and not each event. There are four buckets. members: tenant, digest of the
// reference, time of the order's first recording, order id. newest: tenant, that
// time, order id; of it lists are made, and since the time never changes its
// entries never move. former and former_newest are both for the references that facts
// gave an order and that are not its own: with them [View.GetPast] and
// [View.ListPast] find what was once of a purchase. Few orders have any.
//
// A member holds no personal data: a fold sees none.
package purchases
