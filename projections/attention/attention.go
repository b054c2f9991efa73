// Package attention is the queue of all that an operator should see of the orders
// as they are now: open conflicts, facts held back, and what does not add up
// (domain/order's Attention). What a later fact or an operator's word settles is no
// longer in it.
package attention

import (
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/conflicts"
	"comanda.internal/projections/queue"
)

const version = 1

// New is the view as reader gives it.
func New(reader projections.Reader) *queue.View {
	return queue.New(reader, "attention", version, Items)
}

// Items are an order's: its open conflicts first.
func Items(s *order.State) []queue.Item {
	items := conflicts.Items(s)
	for _, a := range s.Attention {
		items = append(items, queue.Item{Kind: a.Kind, Event: a.Event})
	}
	return items
}
