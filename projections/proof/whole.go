package proof

import (
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Reread is every event of an order by revision, from the log.
type Reread func(domain.OrderID) ([]domain.Recorded, error)

// whole is a check of all of the log, that leaves to [Checker.Finish] what it can: to go
// through each view once in its own order costs a fraction of looking for each order's rows.
type whole struct {
	reread Reread
	row    wire.Appender
	places []byte
	unlike []domain.OrderID // of Finish: orders whose rows are not those expected
}

// expected is what the views should hold of an order, as far as the log has told.
type expected struct {
	is       bool   // else the order was compared when it was told, or there is none
	revision uint32 // up to which the log told
	sum      kv.Sum // of row and places
}

// Whole has the checker keep of each order that was told with all its events a digest of its
// rows, and compare them in Finish, which must then be called. Where a digest differs the order is
// folded again and compared field by field, from the log if the timeline has other events.
// It comes before all else.
func (c *Checker) Whole(reread Reread) { c.whole = &whole{reread: reread} }

// Parts of what is expected.
var (
	partRow    = []byte("row")
	partPlaces = []byte("places")
)

func sumOf(row, places []byte) (s kv.Sum) {
	s.AddPair(partRow, row)
	s.AddPair(partPlaces, places)
	return s
}

// expect keeps what Finish compares o with; false: o is to be compared now.
func (c *Checker) expect(o *Order) bool {
	if c.whole == nil || o.History == nil || o.Told != o.State.Revision || uint64(len(o.Sequences)) != o.Told {
		return false
	}
	if _, ok := o.ID.Digest(); !ok {
		return false // its name would not be known
	}
	key := c.key(o.ID)
	c.count(key, o)
	kept := c.seen[key]
	kept.expected = expected{is: true, revision: uint32(o.Told), sum: c.whole.sum(o)} //nolint:gosec // an order has a thousand at most
	c.seen[key] = kept
	return true
}

// sum is of the rows that o should have.
func (w *whole) sum(o *Order) kv.Sum {
	w.row.Bytes = w.row.Bytes[:0]
	orders.AppendRow(&w.row, o.ID, o.Source, o.State)
	w.places = timeline.AppendPlaces(w.places[:0], o.Partition, o.Sequences)
	return sumOf(w.row.Bytes, w.places)
}

// half is what [Checker.Finish] finds in one half of the rows, while another goroutine
// goes through the other: of the checker they only read.
type half struct {
	checker *Checker
	places  *timeline.Places
	members purchases.Sums

	found    int    // rows of orders that are expected
	compared uint64 // of those, the rows that are as expected
	// Of those, the rows that are not, and the others that queues hold.
	unlike, attended []domain.OrderID
	unknown          []domain.OrderID // that the log did not tell of
}

// row compares what is stored of an order with what is expected.
func (h *half) row(id, stored []byte, row *comandav1.Order) error {
	if row != nil {
		h.members.Add(row)
	}
	c := h.checker
	kept, ok := c.seen[c.key(domain.OrderID(id))]
	switch {
	case !ok:
		h.unknown = append(h.unknown, domain.OrderID(id))
		return nil
	case !kept.is:
		return nil
	}
	h.found++
	if sumOf(stored, h.places.Of(id)) != kept.sum {
		h.unlike = append(h.unlike, domain.OrderID(id))
		return nil
	}
	h.compared++
	if len(row.GetConflicts()) > 0 || len(row.GetAttention()) > 0 {
		h.attended = append(h.attended, domain.OrderID(id))
	}
	return nil
}

// join adds what the other half has found.
func (h *half) join(other *half) {
	h.members.Join(&other.members)
	h.found += other.found
	h.compared += other.compared
	h.unlike = append(h.unlike, other.unlike...)
	h.attended = append(h.attended, other.attended...)
	h.unknown = append(h.unknown, other.unknown...)
}

// settle compares in full the orders whose rows are not as expected, those that have
// none, and the queues of those that are in one.
func (c *Checker) settle(s *projections.Snapshot, of *half) error {
	if c.whole == nil {
		return nil
	}
	rowless, err := c.rowless(s, of.found)
	if err != nil {
		return err
	}
	c.whole.unlike = slices.Concat(of.unlike, rowless)
	slices.Sort(c.whole.unlike)
	for _, id := range c.whole.unlike {
		if err := c.unlike(s, id); err != nil {
			return err
		}
	}
	for _, id := range of.attended {
		h, err := history(s, id)
		if err == nil {
			err = c.queued(s, &Order{ID: id}, c.machine.Fold(h), "of the log: ")
		} else {
			err = c.unreadable(Order{ID: id}, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rowless is the orders that are expected and have no row, where so many have one.
func (c *Checker) rowless(s *projections.Snapshot, found int) ([]domain.OrderID, error) {
	for _, kept := range c.seen {
		if kept.is {
			found--
		}
	}
	if found == 0 { // as it should be
		return nil, nil
	}
	have := map[orderKey]struct{}{}
	err := orders.New(s).Orders(func(id domain.OrderID) error {
		have[c.key(id)] = struct{}{}
		return nil
	})
	var ids []domain.OrderID
	for key, kept := range c.seen {
		if _, has := have[key]; kept.is && !has {
			ids = append(ids, domain.OrderIDOf(key))
		}
	}
	return ids, err
}

// unlike compares an order as the log told of it.
func (c *Checker) unlike(s *projections.Snapshot, id domain.OrderID) error {
	kept := c.seen[c.key(id)]
	o, err := c.ofTimeline(s, id, &kept.expected)
	if err != nil {
		return err
	}
	if o == nil {
		if o, err = c.ofLog(id, &kept.expected); err != nil {
			c.problem(RuleDiffers, Order{ID: id}, fmt.Sprintf("the views have something else than the log, and reading it again: %v", err))
			o = nil
		}
	}
	if o == nil {
		return nil
	}
	_, err = c.hold(s, o, false)
	return err
}

// ofTimeline is the order that the timeline's events make, if it is the one expected; nil
// when it is not.
func (c *Checker) ofTimeline(s *projections.Snapshot, id domain.OrderID, of *expected) (*Order, error) {
	var events []domain.Event
	var partition int
	var sequences []uint64
	err := s.View(func(tx *kv.Tx) error {
		var ok bool
		if partition, sequences, ok = timeline.ParsePlaces(timeline.New(s).Places(tx).Of([]byte(id)), int(of.revision)); !ok {
			return nil
		}
		var err error
		events, err = timeline.New(s).Events(tx, id)
		return err
	})
	if err != nil && domain.KindOf(err) != domain.Corrupt {
		return nil, err
	}
	if err != nil || len(events) < int(of.revision) {
		return nil, nil //nolint:nilnil,nilerr // the log is asked
	}
	o, err := fold(id, events[:of.revision])
	if err != nil {
		return nil, nil //nolint:nilnil,nilerr // likewise
	}
	o.Partition, o.Sequence, o.Sequences = partition, sequences[len(sequences)-1], sequences
	if c.whole.sum(o) != of.sum {
		return nil, nil //nolint:nilnil // likewise
	}
	return o, nil
}

// ofLog is the order that was told, read again.
func (c *Checker) ofLog(id domain.OrderID, of *expected) (*Order, error) {
	recorded, err := c.whole.reread(id)
	if err != nil {
		return nil, err
	}
	var events []domain.Event
	var sequences []uint64
	for i := range min(len(recorded), int(of.revision)) {
		events, sequences = append(events, recorded[i].Event), append(sequences, recorded[i].Sequence)
	}
	o, err := fold(id, events)
	if err != nil {
		return nil, err
	}
	o.Partition, o.Sequence, o.Sequences = recorded[0].Partition, sequences[len(sequences)-1], sequences
	if c.whole.sum(o) != of.sum {
		return nil, domain.Errorf(domain.Corrupt, "it is another order than before")
	}
	return o, nil
}

// fold is an order of events that were compared with the log.
func fold(id domain.OrderID, events []domain.Event) (*Order, error) {
	if len(events) == 0 {
		return nil, domain.Errorf(domain.Corrupt, "it has no events")
	}
	var h *order.History
	for i := range events {
		var err error
		if h, err = h.With(&events[i]); err != nil {
			return nil, err
		}
	}
	machine, err := order.ForVersion(h.MachineVersion())
	if err != nil {
		return nil, err
	}
	return &Order{ID: id, Source: events[0].Source, State: machine.Fold(h), History: h, Told: h.Revision()}, nil
}
