package proof

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/attention"
	"comanda.internal/projections/conflicts"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/queue"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Views are the views that a Checker expects in a file, all over one reader: the
// facts, and what is built on them.
func Views(reader projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(reader), []projections.Projection{
		orders.New(reader), purchases.New(reader), conflicts.New(reader), attention.New(reader), stats.New(reader),
	}
}

func queues(reader projections.Reader) []*queue.View {
	return []*queue.View{conflicts.New(reader), attention.New(reader)}
}

// others compares what the views beside orders and timeline hold of an order with
// its state, and reports what differs as of the given facts.
func (c *Checker) others(s *projections.Snapshot, o *Order, state *order.State, of string) error {
	problems, err := purchases.New(s).Check(o.ID, state)
	if err != nil {
		return c.unreadable(*o, err)
	}
	for _, problem := range problems {
		c.problem(RuleDiffers, *o, of+problem)
	}
	return c.queued(s, o, state, of)
}

// queued compares what the queues hold of an order.
func (c *Checker) queued(s *projections.Snapshot, o *Order, state *order.State, of string) error {
	if len(attention.Items(state)) == 0 { // as of most orders
		return nil
	}
	problems, err := c.waiting(s, o.ID, state)
	if err != nil {
		return c.unreadable(*o, err)
	}
	for _, problem := range problems {
		c.problem(RuleDiffers, *o, of+problem)
	}
	return nil
}

// waiting says what the queues lack of an order.
func (c *Checker) waiting(s *projections.Snapshot, id domain.OrderID, state *order.State) ([]string, error) {
	h, err := history(s, id)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, q := range queues(s) {
		lacks, err := q.Check(h, state)
		if err != nil {
			return nil, err
		}
		problems = append(problems, lacks...)
	}
	return problems, nil
}

// history are the order's facts as the timeline has them; nil for none.
func history(s *projections.Snapshot, id domain.OrderID) (h *order.History, err error) {
	err = s.View(func(tx *kv.Tx) error {
		events, err := timeline.New(s).Events(tx, id)
		for i := 0; i < len(events) && err == nil; i++ {
			h, err = h.With(&events[i])
		}
		return err
	})
	return h, err
}

// strays reports what the views beside orders and timeline hold that is of no row
// of orders, each of which was compared, or of no fact.
func (c *Checker) strays(s *projections.Snapshot, members *purchases.Sums) error {
	rows := orders.New(s)
	row := func(id domain.OrderID) (*comandav1.Order, error) {
		row, _, err := rows.Get(id)
		if domain.KindOf(err) == domain.Corrupt {
			return nil, nil //nolint:nilnil // it was reported of the row; what is of it is then of none
		}
		return row, err
	}
	fold := func(id domain.OrderID) (*order.History, *order.State, error) {
		h, err := history(s, id)
		if h == nil || domain.KindOf(err) == domain.Corrupt {
			return nil, nil, nil // likewise
		}
		return h, c.machine.Fold(h), err
	}
	report := func(id domain.OrderID, problem string) { c.problem(RuleDiffers, Order{ID: id}, problem) }
	same, err := purchases.New(s).Same(members)
	if err == nil && !same {
		err = c.members(s, row, report)
	}
	if err != nil {
		return err
	}
	for _, q := range queues(s) {
		if err := q.CheckAll(fold, report); err != nil {
			return err
		}
	}
	return nil
}

// members says where the purchases are not those of the orders.
func (c *Checker) members(
	s *projections.Snapshot, row func(domain.OrderID) (*comandav1.Order, error), report func(domain.OrderID, string),
) error {
	view := purchases.New(s)
	if err := view.CheckAll(row, report); err != nil || c.whole == nil {
		return err
	}
	return orders.New(s).Orders(func(id domain.OrderID) error { // whose members were not compared one by one
		of, err := row(id)
		if err != nil || of == nil {
			return err
		}
		problems, err := view.CheckRow(of)
		if err != nil {
			return c.unreadable(Order{ID: id}, err)
		}
		for _, problem := range problems {
			report(id, problem)
		}
		return nil
	})
}
