package projections

import (
	"cmp"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
)

// folder turns a batch of events into changes.
type folder struct {
	machine *order.Machine
	facts   Facts
	recent  *cache
	parked  map[domain.OrderID]struct{}
	skipped map[place]string // events that are left out, with their entries in the file
}

// place is where an event is in the log.
type place struct {
	partition int
	sequence  uint64
}

// folded is what a batch gives.
type folded struct {
	changes []Change // by order id
	parked  []parking
}

// parking is an order that can go no further, and why.
type parking struct {
	order     domain.OrderID
	partition int
	sequence  uint64
	err       error
}

func putParked(tx *kv.Tx, p *parking) error {
	return tx.Bucket(parkedBucket).Put([]byte(p.order), []byte(p.text()))
}

// fold reads what it needs of earlier events from tx. It changes nothing in
// memory, so that a transaction which fails can be tried again; keep does that.
func (f *folder) fold(tx *kv.Tx, events []domain.Recorded) (folded, error) {
	index := make(map[domain.OrderID]int, len(events))
	var out folded
	for i := range events {
		id := events[i].Event.OrderID
		if _, isParked := f.parked[id]; isParked {
			continue
		}
		if _, isSkipped := f.skipped[place{events[i].Partition, events[i].Sequence}]; isSkipped {
			continue
		}
		at, ok := index[id]
		if !ok {
			at = len(out.changes)
			index[id] = at
			out.changes = append(out.changes, Change{Order: id, Events: events[i : i+1 : i+1]}) // most have one
			continue
		}
		out.changes[at].Events = append(out.changes[at].Events, events[i])
	}
	slices.SortFunc(out.changes, func(a, b Change) int { return cmp.Compare(a.Order, b.Order) })
	for i := range out.changes {
		if err := f.foldOrder(tx, &out.changes[i], &out); err != nil {
			return folded{}, err
		}
	}
	// An order that was parked at its first event of the batch does not change.
	out.changes = slices.DeleteFunc(out.changes, func(c Change) bool { return len(c.Events) == 0 })
	return out, nil
}

func (f *folder) foldOrder(tx *kv.Tx, c *Change, out *folded) error {
	history, before, err := f.known(tx, c.Order)
	if err != nil {
		return err
	}
	for i := range c.Events {
		next, err := extend(history, &c.Events[i].Event)
		if err != nil {
			at := &c.Events[i]
			out.parked = append(out.parked, parking{order: c.Order, partition: at.Partition, sequence: at.Sequence, err: err})
			c.Events = c.Events[:i]
			break
		}
		history = next
	}
	if len(c.Events) > 0 {
		c.Before, c.History, c.State = before, history, f.machine.Fold(history)
	}
	return nil
}

// known is everything known of an order before the batch, and its fold; nil for a
// new one.
func (f *folder) known(tx *kv.Tx, id domain.OrderID) (*order.History, *order.State, error) {
	if h, s := f.recent.get(id); h != nil {
		return h, s, nil
	}
	events, err := f.facts.Events(tx, id)
	if err != nil {
		return nil, nil, fmt.Errorf("read the facts of %s: %w", id, err)
	}
	var h *order.History
	for i := range events {
		if h, err = extend(h, &events[i]); err != nil {
			return nil, nil, domain.Errorf(domain.Corrupt, "fold the stored facts of %s: %w", id, err)
		}
	}
	if h == nil {
		return nil, nil, nil
	}
	return h, f.machine.Fold(h), nil
}

func extend(h *order.History, e *domain.Event) (*order.History, error) {
	if e.Revision != h.Revision()+1 {
		return nil, domain.Errorf(domain.Corrupt, "event %s: revision %d after %d", e.ID, e.Revision, h.Revision())
	}
	return h.With(e)
}

// keep remembers what was committed.
func (f *folder) keep(done folded) {
	for i := range done.changes {
		f.recent.put(done.changes[i].Order, done.changes[i].History, done.changes[i].State)
	}
	for _, p := range done.parked {
		f.parked[p.order] = struct{}{}
	}
}
