package projections

import (
	"container/list"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// cache keeps the histories and states of the orders that changed last, bounded by the
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
	state   *order.State
}

func newCache(bound uint64) *cache {
	return &cache{bound: bound, entries: map[domain.OrderID]*list.Element{}}
}

// get is the history of id and its fold; nil when they are not in memory.
func (c *cache) get(id domain.OrderID) (*order.History, *order.State) {
	element, ok := c.entries[id]
	if !ok {
		return nil, nil
	}
	c.recent.MoveToFront(element)
	known := element.Value.(*cached)
	return known.history, known.state
}

// put keeps h and its fold, and forgets what was not used for longest.
func (c *cache) put(id domain.OrderID, h *order.History, s *order.State) {
	if element, ok := c.entries[id]; ok {
		c.drop(element)
	}
	c.entries[id] = c.recent.PushFront(&cached{id: id, history: h, state: s})
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
