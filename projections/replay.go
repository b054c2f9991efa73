package projections

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"comanda.internal/domain"
)

// replayed is how many events are handed over at a time.
const replayed = 512

// replay is the events that a spill holds in its file when it begins, in the order of the
// log: a heap of the runs of ranges by the places of their events. There is a block of each
// run of a range in memory, and those of the events that were handed over.
type replay []*rangeReplay

func newReplay(s *spill) (all replay, err error) {
	for n := range ranges {
		for rest := s.blocks[n]; len(rest) > 0; {
			k := slices.IndexFunc(rest, func(b block) bool { return b.run != rest[0].run })
			if k < 0 {
				k = len(rest)
			}
			r := &rangeReplay{spill: s, blocks: rest[:k]}
			if _, err := r.next(); err != nil {
				return nil, err
			}
			all, rest = append(all, r), rest[k:]
		}
	}
	heap.Init(&all)
	return all, nil
}

// partition calls yield with the events of a partition, many at a time, which are its own
// and have no hashes. Partitions come in ascending order.
func (r *replay) partition(partition int, yield func([]domain.Stored) error) error {
	for r.has(partition) {
		events := make([]domain.Stored, 0, replayed)
		for len(events) < replayed && r.has(partition) {
			events = append(events, (*r)[0].event)
			if err := r.next(); err != nil {
				return err
			}
		}
		if err := yield(events); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) has(partition int) bool { return len(*r) > 0 && (*r)[0].event.Partition == partition }

func (r *replay) next() error {
	more, err := (*r)[0].next()
	if err != nil {
		return err
	}
	if more {
		heap.Fix(r, 0)
	} else {
		heap.Pop(r)
	}
	return nil
}

// rangeReplay is a run of a range that is read, at its event.
type rangeReplay struct {
	spill  *spill
	blocks []block // behind the one in rest
	rest   []byte  // behind the event
	event  domain.Stored
}

// next goes to the next event; false: there is none.
func (r *rangeReplay) next() (more bool, err error) {
	if len(r.rest) == 0 {
		if len(r.blocks) == 0 {
			return false, nil
		}
		r.rest = make([]byte, r.blocks[0].size) // events of the one before may be in use
		if err := r.spill.readBlock(r.blocks[0], r.rest); err != nil {
			return false, fmt.Errorf("%w: %w", errKept, err)
		}
		r.blocks = r.blocks[1:]
	}
	var e spilled
	block := r.rest
	r.rest = e.parse(block, 0)
	r.event = domain.Stored{
		Order: domain.OrderID(e.order), Partition: e.partition, Sequence: e.sequence, Encoded: slices.Clip(block[e.from:e.to]),
	}
	return true, nil
}

func (r replay) Len() int { return len(r) }

func (r replay) Less(i, j int) bool {
	x, y := &r[i].event, &r[j].event
	return cmp.Or(cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Sequence, y.Sequence)) < 0
}

func (r replay) Swap(i, j int) { r[i], r[j] = r[j], r[i] }

// Push is heap's; nothing is pushed.
func (r *replay) Push(any) {}

// Pop is heap's.
func (r *replay) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
