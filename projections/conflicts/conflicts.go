// Package conflicts is the queue of the events that their orders' facts contradict,
// as the orders are now: whatever verdict was stored, a fact that became one by what
// came later is in it, and one that was settled, by a later fact or by an
// operator, is not.
package conflicts

import (
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/queue"
)

// Kind is that of every item.
const Kind = "conflict"

const version = 1

// New is the view as reader gives it.
func New(reader projections.Reader) *queue.View {
	return queue.New(reader, "conflicts", version, Items)
}

// Items are an order's open conflicts, in sort order.
func Items(s *order.State) []queue.Item {
	var items []queue.Item
	for _, event := range s.Conflicts {
		items = append(items, queue.Item{Kind: Kind, Event: event})
	}
	return items
}
