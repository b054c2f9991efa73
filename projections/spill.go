package projections

import (
	"encoding/binary"
	"fmt"
	"os"

	"comanda.internal/domain"
	"comanda.internal/proto/wire"
)

// Of a spill: the ranges of order ids, and what each may have in memory.
const (
	ranges     = 256
	rangeBytes = 16 << 10
)

// spill holds the events of a build by ranges of order ids, in the order in
// which they came: in a file, but for the newest of each range. The file has no
// name, so that nothing is left of it after a crash.
type spill struct {
	file   *os.File
	end    int64
	newest [ranges][]byte
	blocks [ranges][]block
	counts [ranges]int
}

// block is a piece of the file.
type block struct {
	at   int64
	size int
}

func newSpill(path string) (*spill, error) {
	file, err := unnamed(path)
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

func (s *spill) add(r *domain.Recorded) error {
	encoded, err := wire.Encoded(r)
	if err != nil {
		return fmt.Errorf("spill the event %s: %w", r.Event.ID, err)
	}
	n := rangeOf(r.Event.OrderID)
	b := binary.AppendUvarint(s.newest[n], uint64(r.Partition)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, r.Sequence)
	b = append(b, r.Hash[:]...)
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	b = append(b, encoded...)
	s.counts[n]++
	if s.newest[n] = b; len(b) < rangeBytes {
		return nil
	}
	if _, err := s.file.WriteAt(b, s.end); err != nil {
		return fmt.Errorf("spill events: %w", err)
	}
	s.blocks[n] = append(s.blocks[n], block{at: s.end, size: len(b)})
	s.end += int64(len(b))
	s.newest[n] = b[:0]
	return nil
}

// events are those of one range, which is forgotten.
func (s *spill) events(n int) ([]domain.Recorded, error) {
	size := len(s.newest[n])
	for _, b := range s.blocks[n] {
		size += b.size
	}
	all := make([]byte, 0, size)
	for _, b := range s.blocks[n] {
		piece := all[len(all) : len(all)+b.size]
		if _, err := s.file.ReadAt(piece, b.at); err != nil {
			return nil, fmt.Errorf("read spilled events: %w", err)
		}
		all = all[:len(all)+b.size]
	}
	all = append(all, s.newest[n]...)
	s.newest[n], s.blocks[n] = nil, nil
	out := make([]domain.Recorded, s.counts[n])
	for i := range out {
		r := &out[i]
		var read int
		partition, k := binary.Uvarint(all)
		r.Partition, read = int(partition), k //nolint:gosec // as it was written
		r.Sequence, k = binary.Uvarint(all[read:])
		read += k
		read += copy(r.Hash[:], all[read:])
		length, k := binary.Uvarint(all[read:])
		all = all[read+k:]
		r.Encoded, all = all[:length:length], all[length:]
		var err error
		if r.Event, err = wire.DecodeEvent(r.Encoded); err != nil {
			return nil, fmt.Errorf("read spilled events: %w", err)
		}
	}
	return out, nil
}

func (s *spill) close() error { return s.file.Close() }
