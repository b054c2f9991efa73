package proof

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// The rules that a view can break, as in comanda.v1.VerifyProblem.
const (
	RuleDiffers = "view_differs"
	RuleMissing = "view_missing"
	RuleExtra   = "view_extra"
)

// Order is an order as the log has it.
type Order struct {
	ID        domain.OrderID
	Source    domain.SourceID // of the first event
	State     *order.State    // the fold of all its events
	Partition int
	Sequence  uint64 // of the last event
	// Told is how many of its events [Checker.Event] was called with. When those
	// are all, and the views have none beyond them, the timeline is not read again.
	Told uint64
}

// Waiter waits for the views; [projections.Runner] is one.
type Waiter interface {
	Wait(ctx context.Context, position domain.Position) error
}

// Checker compares. It is used by one goroutine.
type Checker struct {
	file    *projections.File
	views   Waiter
	machine *order.Machine
	report  func(*comandav1.VerifyProblem)

	seen     map[uint64]struct{} // digests of order ids: small, and never in the views' order
	compared uint64
}

// New is a checker of the views in file, which views keeps; report gets what
// does not hold.
func New(file *projections.File, views Waiter, machine *order.Machine, report func(*comandav1.VerifyProblem)) *Checker {
	return &Checker{file: file, views: views, machine: machine, report: report, seen: map[uint64]struct{}{}}
}

// Compared is how many orders' rows were compared, each counted once.
func (c *Checker) Compared() uint64 { return c.compared }

// Event waits until the views hold r and compares what the timeline stores of
// it, byte for byte. Errors are as Order's.
func (c *Checker) Event(ctx context.Context, r *domain.Recorded) error {
	if err := c.views.Wait(ctx, r.Position()); err != nil {
		return err
	}
	problem, err := timeline.New(c.file).CheckEvent(r)
	if err == nil && problem != "" {
		c.problem(RuleDiffers, Order{ID: r.Event.OrderID, Partition: r.Partition, Sequence: r.Sequence}, "timeline: "+problem)
	}
	return err
}

// Order waits until the views hold o and compares. It may be called again for an
// order that has moved on. The error is of the waiting or
// the reading; what differs is reported.
func (c *Checker) Order(ctx context.Context, o Order) error {
	key := digest(o.ID)
	_, again := c.seen[key]
	c.seen[key] = struct{}{}
	if err := c.views.Wait(ctx, domain.Position{}.With(o.Partition, o.Sequence)); err != nil {
		return err
	}
	return c.file.Snapshot(func(s *projections.Snapshot) error {
		row, found, err := orders.New(s).Get(o.ID)
		if err != nil {
			return c.unreadable(o, err)
		}
		if !found {
			c.problem(RuleMissing, o, "the view of orders has no row")
			return nil
		}
		if !again {
			c.compared++
		}
		if source := row.GetSource(); source != string(o.Source) {
			c.problem(RuleDiffers, o, fmt.Sprintf("source: the view has %s, the log %s", source, o.Source))
		}
		level, err := c.level(s, o, row)
		if err != nil {
			return err
		}
		if level {
			for _, difference := range orders.Compare(o.State, row) {
				c.problem(RuleDiffers, o, "of the log: "+difference)
			}
			return c.others(s, o, o.State, "of the log: ")
		}
		history, err := c.facts(s, o)
		if err != nil {
			return c.unreadable(o, err)
		}
		state := c.machine.Fold(history)
		for _, difference := range orders.Compare(state, row) {
			c.problem(RuleDiffers, o, "of its own facts: "+difference)
		}
		return c.others(s, o, state, "of its own facts: ")
	})
}

// level reports whether the views hold o's events and no more, each of which was
// compared with the log's by Event: the row can then be compared with o's own state.
func (c *Checker) level(s *projections.Snapshot, o Order, row *comandav1.Order) (bool, error) {
	if o.Told != o.State.Revision || row.GetRevision() != o.State.Revision {
		return false, nil
	}
	n, err := timeline.New(s).Count(o.ID)
	return n == o.State.Revision, err
}

// facts folds the timeline's events of o, and compares the fold at o's revision
// with o's state.
func (c *Checker) facts(s *projections.Snapshot, o Order) (*order.History, error) {
	var events []domain.Event
	err := s.View(func(tx *kv.Tx) error {
		var err error
		events, err = timeline.New(s).Events(tx, o.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	var h *order.History
	for i := range events {
		if h, err = h.With(&events[i]); err != nil {
			return nil, err
		}
		if h.Revision() != o.State.Revision {
			continue
		}
		for _, difference := range orders.Compare(o.State, orders.Row(o.ID, o.Source, c.machine.Fold(h))) {
			c.problem(RuleDiffers, o, "of the log: "+difference)
		}
	}
	if h.Revision() < o.State.Revision {
		c.problem(RuleMissing, o, fmt.Sprintf("the timeline has %d events, the log %d", h.Revision(), o.State.Revision))
	}
	return h, nil
}

// unreadable reports a view that cannot be read, and goes on; another error ends.
func (c *Checker) unreadable(o Order, err error) error {
	if domain.KindOf(err) != domain.Corrupt {
		return err
	}
	c.problem(RuleDiffers, o, err.Error())
	return nil
}

// Finish looks for what is in the views and not in the log, whose events were
// read up to head.
func (c *Checker) Finish(head domain.Position) error {
	return c.file.Snapshot(func(s *projections.Snapshot) error {
		err := s.Parked(func(id domain.OrderID, why string) {
			c.seen[digest(id)] = struct{}{}
			c.problem(RuleDiffers, Order{ID: id}, "parked: "+why)
		})
		if err != nil {
			return err
		}
		history := timeline.New(s)
		extra := func(id domain.OrderID) error {
			if _, ok := c.seen[digest(id)]; ok {
				return nil
			}
			c.seen[digest(id)] = struct{}{} // once for both views
			partition, first, err := history.First(id)
			if err != nil {
				return c.unreadable(Order{ID: id}, err)
			}
			if first == 0 || first <= head.At(partition) {
				c.problem(RuleExtra, Order{ID: id, Partition: partition, Sequence: first}, "the log has no such order, or its events do not hold")
			}
			return nil
		}
		if err := orders.New(s).Orders(extra); err != nil {
			return err
		}
		if err := history.Orders(extra); err != nil {
			return err
		}
		err = orders.New(s).CheckIndexes(func(id domain.OrderID, problem string) {
			c.problem(RuleDiffers, Order{ID: id}, problem)
		})
		if err != nil {
			return err
		}
		return c.strays(s)
	})
}

func (c *Checker) problem(rule string, o Order, detail string) {
	c.report(&comandav1.VerifyProblem{
		Rule: rule, Partition: uint32(o.Partition), Sequence: o.Sequence, //nolint:gosec // at most 256 partitions
		OrderId: string(o.ID), Detail: detail,
	})
}

func digest(id domain.OrderID) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}
