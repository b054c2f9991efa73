package timeline

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// Told is one event of the log, as the view should hold it.
type Told struct {
	Partition int
	Sequence  uint64
	Order     domain.OrderID
	ID        domain.EventID
	Revision  uint64
	Encoded   []byte // see [domain.Recorded]
}

// CheckEvents compares what the view holds of events with the log's, byte for
// byte, and says in words what differs of which. It is fastest in the order of
// the log, which is the view's.
func (v *View) CheckEvents(events []Told, report func(e *Told, problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		var at place
		if b := tx.Bucket(name); b != nil {
			at.cursor = b.Bucket(eventsBucket).Cursor()
		}
		for i := range events {
			e := &events[i]
			stored := at.get(placeKey(e.Partition, e.Sequence))
			switch {
			case stored == nil:
				report(e, fmt.Sprintf("event %s of revision %d is missing", e.ID, e.Revision))
			case !bytes.Equal(stored, e.Encoded):
				report(e, fmt.Sprintf("event %s of revision %d differs from the log's", e.ID, e.Revision))
			}
		}
		return nil
	})
}

// CheckBeyond reports every event at a place that was not read: read is what the
// views have. What lies at the others is compared by CheckEvents.
func (v *View) CheckBeyond(read domain.Position, report func(partition int, sequence uint64, problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		c := tx.Bucket(name, eventsBucket).Cursor()
		for k, _ := c.First(); k != nil; {
			if len(k) != placeSize {
				report(0, 0, fmt.Sprintf("the events have a key of %d bytes", len(k)))
				k, _ = c.Next()
				continue
			}
			partition, sequence := int(binary.BigEndian.Uint16(k)), binary.BigEndian.Uint64(k[2:])
			if end := read.At(partition); sequence <= end {
				k, _ = c.Seek(placeKey(partition, end+1))
				continue
			}
			report(partition, sequence, "an event where the views have read none")
			k, _ = c.Next()
		}
		return nil
	})
}

// place is where a reader is that goes from key to key.
type place struct {
	cursor *kv.Cursor // nil: there is no view
	began  bool
}

// get is the value of key, nil when there is none. The next one is where the
// cursor is, as a rule.
func (p *place) get(key []byte) []byte {
	if p.cursor == nil {
		return nil
	}
	if p.began {
		if k, value := p.cursor.Next(); bytes.Equal(k, key) {
			return value
		}
	}
	p.began = true
	if k, value := p.cursor.Seek(key); bytes.Equal(k, key) {
		return value
	}
	return nil
}

// Places are where the events of orders are, of many orders by id.
type Places struct{ at place }

// Places reads in tx.
func (v *View) Places(tx *kv.Tx) *Places {
	p := new(Places)
	if b := tx.Bucket(name); b != nil {
		p.at.cursor = b.Bucket(ordersBucket).Cursor()
	}
	return p
}

// Of is what is stored of an order, as [AppendPlaces] writes it, valid as long as the
// transaction; nil when there is none.
func (p *Places) Of(id []byte) []byte { return p.at.get(id) }

// AppendPlaces adds what the view stores of an order with these events, by revision.
func AppendPlaces(b []byte, partition int, sequences []uint64) []byte {
	for _, sequence := range sequences {
		b = appendPlace(b, partition, sequence)
	}
	return b
}

// ParsePlaces is what [AppendPlaces] has written, of the first so many events; false when they are
// not so many, or not of one partition.
func ParsePlaces(b []byte, events int) (partition int, sequences []uint64, ok bool) {
	if events == 0 || len(b) < events*placeSize {
		return 0, nil, false
	}
	partition = int(binary.BigEndian.Uint16(b))
	for i := range events {
		sequences = append(sequences, binary.BigEndian.Uint64(b[i*placeSize+2:]))
	}
	return partition, sequences, bytes.Equal(AppendPlaces(nil, partition, sequences), b[:events*placeSize])
}

// CheckPlaces compares where the view has the first events of the order with
// their sequences in the log, and says in words what differs; "" when nothing does. more
// says that the view has others after those.
func (v *View) CheckPlaces(id domain.OrderID, partition int, sequences []uint64) (problem string, more bool, err error) {
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		if b == nil {
			problem = "there is no view"
			return nil
		}
		places := b.Bucket(ordersBucket).Get([]byte(id))
		for i, sequence := range sequences {
			if len(places) < placeSize {
				problem = fmt.Sprintf("the history has %d events, the log %d", i, len(sequences))
				return nil
			}
			var key [placeSize]byte
			if !bytes.Equal(places[:placeSize], appendPlace(key[:0], partition, sequence)) {
				problem = fmt.Sprintf("revision %d is not in its place in the history", i+1)
				return nil
			}
			places = places[placeSize:]
		}
		more = len(places) > 0
		return nil
	})
	return problem, more, err
}
