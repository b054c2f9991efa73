package projections

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/proto/wire"
)

// Of a spill: the ranges of order ids, and what each may have in memory.
const (
	ranges     = 256
	rangeBytes = 16 << 10
)

// spill holds the events of a build by ranges of order ids, in the order in
// which they came: in a file, but for the newest of each range.
type spill struct {
	file   *os.File
	end    int64
	newest [ranges][]byte
	blocks [ranges][]block
	counts [ranges]int
	run    int // of what is added: see block
}

// block is a piece of the file. In a run, the events of a range are in the order of the log;
// a build that goes on after partitions grew of which another was begun starts a new one.
type block struct {
	at   int64
	size int
	sum  uint32 // CRC-32C
	run  int
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newSpill takes the place of what is at path.
func newSpill(path string) (*spill, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // beside the views
	if err != nil {
		return nil, fmt.Errorf("spill events: %w", err)
	}
	return &spill{file: file}, nil
}

// rangeOf is the range of an order id; a greater id never has a lesser one.
func rangeOf(id domain.OrderID) int {
	var digits [2]int
	for i := range digits {
		// Of base32 as domain ids have it, digits sort before letters.
		if at := len("ord_") + i; at < len(id) {
			switch c := int(id[at]); {
			case c >= 'a':
				digits[i] = min(c-'a'+6, 31)
			case c >= '2':
				digits[i] = min(c-'2', 5)
			}
		}
	}
	return digits[0]<<3 | digits[1]>>2
}

func (s *spill) add(e *domain.Stored) error {
	n := rangeOf(e.Order)
	b := binary.AppendUvarint(s.newest[n], uint64(e.Partition)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, e.Sequence)
	b = binary.AppendUvarint(b, uint64(len(e.Order)))
	b = append(b, e.Order...)
	b = binary.AppendUvarint(b, uint64(len(e.Encoded)))
	b = append(b, e.Encoded...)
	s.counts[n]++
	if s.newest[n] = b; len(b) < rangeBytes {
		return nil
	}
	return s.write(n)
}

// write moves the newest events of a range to the file.
func (s *spill) write(n int) error {
	b := s.newest[n]
	if _, err := s.file.WriteAt(b, s.end); err != nil {
		return fmt.Errorf("spill events: %w", err)
	}
	s.blocks[n] = append(s.blocks[n], block{at: s.end, size: len(b), sum: crc32.Checksum(b, castagnoli), run: s.run})
	s.end += int64(len(b))
	s.newest[n] = b[:0]
	return nil
}

// readBlock fills into, which is of its size, with b.
func (s *spill) readBlock(b block, into []byte) error {
	if _, err := s.file.ReadAt(into, b.at); err != nil {
		return fmt.Errorf("read spilled events: %w", err)
	}
	if crc32.Checksum(into, castagnoli) != b.sum {
		return domain.Errorf(domain.Corrupt, "read spilled events: the %d bytes at %d are not those that were written", b.size, b.at)
	}
	return nil
}

// spilled is an event of a range that was read back.
type spilled struct {
	order     string
	partition int
	sequence  uint64
	from, to  int // of its encoded bytes
}

// parse takes the event at the beginning of b, which is at from among all bytes, and
// gives what comes behind it.
func (e *spilled) parse(b []byte, from int) (rest []byte) {
	rest = b
	number := func() uint64 {
		v, k := binary.Uvarint(rest)
		rest = rest[k:]
		return v
	}
	e.partition, e.sequence = int(number()), number() //nolint:gosec // as it was written
	length := number()
	e.order, rest = string(rest[:length]), rest[length:]
	length = number()
	e.from = from + len(b) - len(rest)
	e.to = e.from + int(length) //nolint:gosec // as it was written
	return rest[length:]
}

// read are the bytes of a range, and its events by their orders, each order's as they
// came.
func (s *spill) read(n int) (all []byte, events []spilled, err error) {
	size := len(s.newest[n])
	for _, b := range s.blocks[n] {
		size += b.size
	}
	all = make([]byte, 0, size)
	for _, b := range s.blocks[n] {
		piece := all[len(all) : len(all)+b.size]
		if err := s.readBlock(b, piece); err != nil {
			return nil, nil, err
		}
		all = all[:len(all)+b.size]
	}
	all = append(all, s.newest[n]...)
	events = make([]spilled, s.counts[n])
	rest := all
	for i := range events {
		rest = events[i].parse(rest, len(all)-len(rest))
	}
	slices.SortFunc(events, func(x, y spilled) int { return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(x.from, y.from)) })
	return all, events, nil
}

// wholeOrders is how many of events, which are by their orders, are at least as many as
// most, or all, and all of each order.
func wholeOrders(events []spilled, most int) int {
	n := min(most, len(events))
	for n > 0 && n < len(events) && events[n].order == events[n-1].order {
		n++
	}
	return n
}

// changesOf are what events, with their bytes in all, do to their orders, by order
// id, without a fold. They are in room then, which is grown, or in one that takes its
// place. own is false when there are events with other bytes than they would be encoded to.
func changesOf(all []byte, events []spilled, room []domain.Recorded) (changes []Change, grown []domain.Recorded, own bool, err error) {
	room = slices.Grow(room[:0], len(events))[:len(events)]
	own = true
	for i := range events {
		e, r := &events[i], &room[i]
		*r = domain.Recorded{Partition: e.partition, Sequence: e.sequence, Encoded: all[e.from:e.to:e.to]}
		asEncoded, err := wire.ReadEvent(string(r.Encoded), &r.Event)
		if err == nil && !asEncoded {
			asEncoded, err = isEncoded(r)
		}
		if err != nil {
			return nil, nil, false, fmt.Errorf("read spilled events: %w", err)
		}
		own = own && asEncoded
		if i == 0 || e.order != events[i-1].order {
			changes = append(changes, Change{Order: r.Event.OrderID})
		}
		c := &changes[len(changes)-1]
		c.Events = room[i-len(c.Events) : i+1 : i+1]
	}
	return changes, room, own, nil
}

// isEncoded reports whether the encoded bytes of r are those of its event.
func isEncoded(r *domain.Recorded) (bool, error) {
	encoded, err := wire.EncodeEvent(&r.Event)
	return bytes.Equal(encoded, r.Encoded), err
}

func (s *spill) close() error { return s.file.Close() }
