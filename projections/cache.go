package projections

import (
	"container/list"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// cache keeps the histories of the orders that changed last, bounded by the
// number of facts they hold together. It is used by one goroutine.
type cache struct {
	bound   uint64
	facts   uint64
	recent  list.List // of *order.History by recency, newest first
	entries map[domain.OrderID]*list.Element
}

type cached struct {
	id      domain.OrderID
	history *order.History
}

func newCache(bound uint64) *cache {
	return &cache{bound: bound, entries: map[domain.OrderID]*list.Element{}}
}

// get is the history of id; nil when it is not in memory.
func (c *cache) get(id domain.OrderID) *order.History {
	element, ok := c.entries[id]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(element)
	return element.Value.(*cached).history
}

// put keeps h and forgets what was not used for longest.
func (c *cache) put(id domain.OrderID, h *order.History) {
	if element, ok := c.entries[id]; ok {
		c.drop(element)
	}
	c.entries[id] = c.recent.PushFront(&cached{id: id, history: h})
	c.facts += h.Revision()
	for c.facts > c.bound && c.recent.Len() > 1 {
		c.drop(c.recent.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	old := c.recent.Remove(element).(*cached)
	delete(c.entries, old.id)
	c.facts -= old.history.Revision()
}
