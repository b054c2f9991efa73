package ring

import (
	"comanda.internal/domain"
)

// Reader is one subscriber's place in a ring. Its methods are its owner's, one
// goroutine's.
type Reader struct {
	run      *run
	wants    func(*Entry) bool
	patience uint64
	awake    chan struct{}

	// While it is asleep these are the run's, otherwise the owner's.
	at     []uint64 // by partition, what was handed over or passed over
	passed uint64   // since Mark
	turn   int      // the partition that is looked at first
}

// Gap is what a reader wants next and the ring does not hold any more: the events of
// a partition after one sequence and up to another, which the log holds.
type Gap struct {
	Partition   int
	After, UpTo uint64
}

// Take appends to buf, up to its capacity, what comes next of one partition, and
// does not move: the owner calls [Reader.Advance]. Nothing and no gap: the reader has
// seen all.
func (r *Reader) Take(buf []*Entry) ([]*Entry, *Gap) {
	n := r.run
	n.mu.Lock()
	defer n.mu.Unlock()
	for range n.partitions {
		which := r.turn
		p, at := &n.partitions[which], r.at[which]
		r.turn = (r.turn + 1) % len(n.partitions)
		if at >= p.head {
			continue
		}
		before := p.before()
		if at < before {
			return buf, &Gap{Partition: which, After: at, UpTo: p.head}
		}
		next := p.entries[p.dropped+int(at-before):] //nolint:gosec // at most the number of entries
		return append(buf, next[:min(len(next), cap(buf)-len(buf))]...), nil
	}
	return buf, nil
}

// Advance moves the reader to a later sequence of a partition.
func (r *Reader) Advance(partition int, sequence uint64) {
	r.passed += sequence - r.at[partition]
	r.at[partition] = sequence
}

// At is the reader's place.
func (r *Reader) At() domain.Position { return domain.PositionOf(r.at) }

// Passed counts the events that the reader moved past since [Reader.Mark].
func (r *Reader) Passed() uint64 { return r.passed }

// Patience sets after how many events that it does not want a sleep of the reader ends;
// 0: after any. The reader must be awake.
func (r *Reader) Patience(events uint64) { r.patience = events }

// Mark begins to count anew.
func (r *Reader) Mark() { r.passed = 0 }

// Head is how far the ring has read the log, and lag how many events the reader
// is before that. A reader may be after the head of a ring that was just made.
func (r *Reader) Head() (head domain.Position, lag uint64) {
	n := r.run
	n.mu.Lock()
	defer n.mu.Unlock()
	heads := make([]uint64, len(r.at))
	for p := range heads {
		heads[p] = max(n.partitions[p].head, r.at[p])
		lag += heads[p] - r.at[p]
	}
	return domain.PositionOf(heads), lag
}

// Sleep lets the ring move the reader past what it does not want, until
// [Reader.Awake] tells, or [Reader.Wake] is called. False: there is something to
// take, and the reader is not asleep.
func (r *Reader) Sleep() bool {
	n := r.run
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.partitions {
		if r.at[p] < n.partitions[p].head {
			return false
		}
	}
	n.asleep[r] = struct{}{}
	return true
}

// Awake has a value when a reader that is asleep should wake.
func (r *Reader) Awake() <-chan struct{} { return r.awake }

// Wake ends the sleep. It must be called after each, whoever ended it.
func (r *Reader) Wake() {
	n := r.run
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asleep, r)
	select {
	case <-r.awake:
	default:
	}
}

// pass moves a reader that is asleep past the entries up to one that it wants, and
// reports whether it is to be woken.
func (r *Reader) pass(p int, entries []*Entry) bool {
	for _, e := range entries {
		if e.Sequence <= r.at[p] {
			continue
		}
		if r.wants(e) {
			return true
		}
		r.Advance(p, e.Sequence)
	}
	return r.passed >= r.patience
}

// Failed is closed when nothing more comes because a follower failed.
func (r *Reader) Failed() <-chan struct{} { return r.run.failed }

// Err is why Failed is closed.
func (r *Reader) Err() error {
	r.run.mu.Lock()
	defer r.run.mu.Unlock()
	return r.run.err
}

// Leave ends the reader. The last one ends the followers, and waits for them.
func (r *Reader) Leave() {
	n := r.run
	if n.left() > 0 {
		return
	}
	n.cancel()
	<-n.ended
}

// left counts the readers after one has left. Without any the next run is another.
func (n *run) left() int {
	n.ring.mu.Lock()
	defer n.ring.mu.Unlock()
	n.readers--
	if n.readers == 0 && n.ring.run == n {
		n.ring.run = nil
	}
	return n.readers
}
