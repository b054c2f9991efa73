package client

import (
	"errors"
	"fmt"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// ErrOutOfOrder says that what came breaks the order which the server promises: a
// position that does not move forward in its partition, or an order whose revision does
// not grow. Something between the log and here is broken; what was handled before is right.
var ErrOutOfOrder = errors.New("out of order")

// rememberedOrders are compared at least, and no more than twice as many.
const rememberedOrders = 1 << 15

// sequence checks the order of what comes, across reconnects.
type sequence struct {
	reached    domain.Position
	young, old map[string]uint64 // revisions by order
}

// event moves past m.
func (s *sequence) event(m *comandav1.SubscribedEvent) error {
	e := m.GetEvent()
	at, err := domain.ParsePosition(m.GetPosition())
	switch {
	case err != nil:
		return fmt.Errorf("event %s: %w", e.GetEventId(), err)
	case s.reached.Covers(at):
		return fmt.Errorf("event %s at %v after %v: %w", e.GetEventId(), at, s.reached, ErrOutOfOrder)
	case s.revision(e.GetOrderId()) >= e.GetRevision():
		return fmt.Errorf("event %s: revision %d of %s after %d: %w",
			e.GetEventId(), e.GetRevision(), e.GetOrderId(), s.revision(e.GetOrderId()), ErrOutOfOrder)
	}
	s.reached = s.reached.Merge(at)
	if len(s.young) >= rememberedOrders || s.young == nil {
		s.young, s.old = make(map[string]uint64), s.young
	}
	s.young[e.GetOrderId()] = e.GetRevision()
	return nil
}

// checkpoint moves to the place that m tells.
func (s *sequence) checkpoint(m *comandav1.Checkpoint) error {
	at, err := domain.ParsePosition(m.GetPosition())
	switch {
	case err != nil:
		return fmt.Errorf("checkpoint: %w", err)
	case !at.Covers(s.reached):
		return fmt.Errorf("checkpoint at %v after %v: %w", at, s.reached, ErrOutOfOrder)
	}
	s.reached = at
	return nil
}

// revision is the last of an order; 0 of one that is not remembered.
func (s *sequence) revision(order string) uint64 { return max(s.young[order], s.old[order]) }
