package proof

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
)

// counts compares the counts of stats with a count from nothing, of all that the
// views hold at one moment: what was told of the log up to head, and what has come
// since as the timeline has it. A log of which some events were not told, because
// they are lost, gives no count: all of it is then the timeline's.
//
// Where anything else differs the counts differ too, and say less: they are then
// left alone.
func (c *Checker) counts(s *projections.Snapshot, head domain.Position) error {
	if c.differs {
		return nil
	}
	whole := c.told == total(head)
	if whole {
		c.tally.Merge(c.events)
	} else {
		c.tally = stats.NewTally()
	}
	err := timeline.New(s).Lengths(head, func(id domain.OrderID, events, old int) error {
		counted := uint64(c.seen[c.key(id)].counted)
		if !whole {
			counted, old = 0, 0
		}
		if counted == uint64(events) { //nolint:gosec // a length
			return nil
		}
		return c.recount(s, id, counted, old)
	})
	if err != nil || c.differs {
		return err
	}
	return stats.New(s).Check(c.tally, func(problem string) { c.problem(RuleDiffers, Order{}, problem) })
}

// total is how many events a log without holes has up to head.
func total(head domain.Position) (n uint64) {
	for partition := range head.Partitions() {
		n += head.At(partition)
	}
	return n
}

// recount puts an order in the tally as the timeline has it. The tally has it up to the
// revision counted, and its first old events.
func (c *Checker) recount(s *projections.Snapshot, id domain.OrderID, counted uint64, old int) error {
	var h *order.History
	var before *order.State
	err := s.View(func(tx *kv.Tx) error {
		events, err := timeline.New(s).Events(tx, id)
		for i := 0; i < len(events) && err == nil; i++ {
			if h, err = h.With(&events[i]); h.Revision() == counted {
				before = c.machine.Fold(h)
			}
			if i >= old {
				c.tally.Event(&events[i])
			}
		}
		return err
	})
	if err != nil {
		return c.unreadable(Order{ID: id}, err)
	}
	if before != nil {
		c.tally.Order(h, before, -1)
	}
	c.tally.Order(h, c.machine.Fold(h), 1)
	return nil
}
