package timeline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

const (
	name    = "timeline"
	version = 1
)

// The buckets below the view's own.
const (
	eventsBucket = "events" // place: Event
	ordersBucket = "orders" // order id: places
)

// View is the projection and its reader. It is safe for concurrent use, except
// for the methods of [projections.Facts].
type View struct{ reader projections.Reader }

var (
	_ projections.Facts = (*View)(nil)
	_ projections.Bulk  = (*View)(nil)
)

// New is the view as reader gives it.
func New(reader projections.Reader) *View { return &View{reader: reader} }

// Name is the view's bucket.
func (v *View) Name() string { return name }

// Version of what Apply writes.
func (v *View) Version() uint32 { return version }

// Apply appends the changes' events.
func (v *View) Apply(b *kv.Bucket, changes []projections.Change) error {
	if err := putEvents(b.Bucket(eventsBucket), changes); err != nil {
		return err
	}
	orders := b.Bucket(ordersBucket)
	for i := range changes {
		c := &changes[i]
		var before []byte
		if c.Before != nil { // else there is nothing
			before = orders.Get([]byte(c.Order))
		}
		if err := putPlaces(orders, c, before); err != nil {
			return err
		}
	}
	return nil
}

// putPlaces puts the places of the change's events behind those before.
func putPlaces(orders *kv.Bucket, c *projections.Change, before []byte) error {
	places := append(make([]byte, 0, len(before)+placeSize*len(c.Events)), before...)
	for j := range c.Events {
		places = appendPlace(places, c.Events[j].Partition, c.Events[j].Sequence)
	}
	if err := orders.Put([]byte(c.Order), places); err != nil {
		return fmt.Errorf("put the places of %s: %w", c.Order, err)
	}
	return nil
}

// BuildEvents writes the events.
func (v *View) BuildEvents(b *kv.Bucket, events []domain.Stored) error {
	stored := b.Bucket(eventsBucket)
	stored.Appended()
	for i := range events {
		e := &events[i]
		if err := stored.Put(placeKey(e.Partition, e.Sequence), e.Encoded); err != nil {
			return fmt.Errorf("put the event at %d of partition %d: %w", e.Sequence, e.Partition, err)
		}
	}
	return nil
}

// BuildOrders writes the orders' places.
func (v *View) BuildOrders(b *kv.Bucket, changes []projections.Change, _ projections.Put) error {
	orders := b.Bucket(ordersBucket)
	orders.Appended()
	for i := range changes {
		if err := putPlaces(orders, &changes[i], nil); err != nil {
			return err
		}
	}
	return nil
}

// putEvents writes in the order of the log, so that pages fill from left to right.
func putEvents(b *kv.Bucket, changes []projections.Change) error {
	var events []*domain.Recorded
	for i := range changes {
		for j := range changes[i].Events {
			events = append(events, &changes[i].Events[j])
		}
	}
	slices.SortFunc(events, func(x, y *domain.Recorded) int {
		return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Sequence, y.Sequence))
	})
	b.Appended()
	for _, r := range events {
		if err := putEvent(b, r); err != nil {
			return err
		}
	}
	return nil
}

func putEvent(b *kv.Bucket, r *domain.Recorded) error {
	stored, err := wire.Encoded(r)
	if err != nil {
		return fmt.Errorf("encode the event %s: %w", r.Event.ID, err)
	}
	if err := b.Put(placeKey(r.Partition, r.Sequence), stored); err != nil {
		return fmt.Errorf("put the event %s: %w", r.Event.ID, err)
	}
	return nil
}

// Events are the order's events as tx holds them.
func (v *View) Events(tx *kv.Tx, id domain.OrderID) ([]domain.Event, error) {
	var events []domain.Event
	err := eachStored(tx, id, func(place, value []byte) error {
		e, err := wire.DecodeEvent(value)
		if err != nil {
			return fmt.Errorf("timeline of %s: at place %x: %w", id, place, err)
		}
		events = append(events, e)
		return nil
	})
	return events, err
}

// History is every event of the order, by revision; none when the view knows no
// such order.
func (v *View) History(id domain.OrderID) ([]*comandav1.Event, error) {
	var events []*comandav1.Event
	err := v.reader.View(func(tx *kv.Tx) error {
		var err error
		events, err = history(tx, id)
		return err
	})
	return events, err
}

// Event is the order's event of a revision; nil when the view knows no such.
func (v *View) Event(id domain.OrderID, revision uint64) (*comandav1.Event, error) {
	var e *comandav1.Event
	err := v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		places := b.Bucket(ordersBucket).Get([]byte(id))
		if revision == 0 || revision > uint64(len(places)/placeSize) {
			return nil
		}
		place := places[(revision-1)*placeSize:][:placeSize]
		e = new(comandav1.Event)
		if err := proto.Unmarshal(b.Bucket(eventsBucket).Get(place), e); err != nil {
			return domain.Errorf(domain.Corrupt, "timeline of %s: decode the event at place %x: %w", id, place, err)
		}
		return nil
	})
	return e, err
}

// Orders calls yield for every order of the view, by id, until it errs.
func (v *View) Orders(yield func(domain.OrderID) error) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		return b.Bucket(ordersBucket).ForEach(func(k, _ []byte) error { return yield(domain.OrderID(k)) })
	})
}

// After are the first orders after one, by id, "" for the first of all; most of them at
// the most.
func (v *View) After(tx *kv.Tx, after domain.OrderID, most int) []domain.OrderID {
	b := tx.Bucket(name)
	if b == nil {
		return nil
	}
	c := b.Bucket(ordersBucket).Cursor()
	var ids []domain.OrderID
	for k, _ := c.Seek([]byte(after)); k != nil && len(ids) < most; k, _ = c.Next() {
		if id := domain.OrderID(k); id != after {
			ids = append(ids, id)
		}
	}
	return ids
}

// Lengths calls yield for every order of the view, by id, until it errs: with the
// number of its events, and of those at until or before.
func (v *View) Lengths(until domain.Position, yield func(id domain.OrderID, events, old int) error) error {
	return v.reader.View(func(tx *kv.Tx) error {
		return tx.Bucket(name).Bucket(ordersBucket).ForEach(func(k, places []byte) error {
			events := len(places) / placeSize
			old := events
			for ; old > 0; old-- {
				last := places[(old-1)*placeSize:]
				if binary.BigEndian.Uint64(last[2:]) <= until.At(int(binary.BigEndian.Uint16(last))) {
					break
				}
			}
			return yield(domain.OrderID(k), events, old)
		})
	})
}

// First is the place in the log of the order's first event; sequence 0 when the
// view knows no such order.
func (v *View) First(id domain.OrderID) (partition int, sequence uint64, err error) {
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		if places := b.Bucket(ordersBucket).Get([]byte(id)); len(places) >= placeSize {
			partition = int(binary.BigEndian.Uint16(places))
			sequence = binary.BigEndian.Uint64(places[2:])
		}
		return nil
	})
	return partition, sequence, err
}

// Between are the orders whose events lie at the sequences first to last of a
// partition, as the view remembers: each once, in the order of the log, most of them at the most, and how many
// there are in all.
func (v *View) Between(partition int, first, last uint64, most int) (orders []domain.OrderID, count int, err error) {
	end := placeKey(partition, last)
	seen := map[string]struct{}{}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		c := b.Bucket(eventsBucket).Cursor()
		for k, value := c.Seek(placeKey(partition, first)); k != nil && bytes.Compare(k, end) <= 0; k, value = c.Next() {
			var e comandav1.Event
			if err := proto.Unmarshal(value, &e); err != nil {
				continue // a damaged row names no order
			}
			if _, known := seen[e.GetOrderId()]; known {
				continue
			}
			seen[e.GetOrderId()] = struct{}{}
			if len(orders) < most {
				orders = append(orders, domain.OrderID(e.GetOrderId()))
			}
		}
		return nil
	})
	return orders, len(seen), err
}

func history(tx *kv.Tx, id domain.OrderID) ([]*comandav1.Event, error) {
	var events []*comandav1.Event
	err := eachStored(tx, id, func(place, value []byte) error {
		e := new(comandav1.Event)
		if err := proto.Unmarshal(value, e); err != nil {
			return domain.Errorf(domain.Corrupt, "timeline of %s: decode the event at place %x: %w", id, place, err)
		}
		events = append(events, e)
		return nil
	})
	return events, err
}

// eachStored calls yield with what is stored of each event of the order, by
// revision.
func eachStored(tx *kv.Tx, id domain.OrderID, yield func(place, value []byte) error) error {
	places := tx.Bucket(name, ordersBucket).Get([]byte(id))
	if len(places)%placeSize != 0 {
		return domain.Errorf(domain.Corrupt, "timeline of %s: places of %d bytes", id, len(places))
	}
	stored := tx.Bucket(name, eventsBucket)
	for place := range slices.Chunk(places, placeSize) {
		value := stored.Get(place)
		if value == nil {
			return domain.Errorf(domain.Corrupt, "timeline of %s: no event at place %x", id, place)
		}
		if err := yield(place, value); err != nil {
			return err
		}
	}
	return nil
}

// placeSize is the length of a place: the partition as two bytes and the
// sequence as eight, both big-endian.
const placeSize = 2 + 8

func placeKey(partition int, sequence uint64) []byte {
	return appendPlace(make([]byte, 0, placeSize), partition, sequence)
}

func appendPlace(b []byte, partition int, sequence uint64) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(partition)) //nolint:gosec // at most 256 partitions
	return binary.BigEndian.AppendUint64(b, sequence)
}
