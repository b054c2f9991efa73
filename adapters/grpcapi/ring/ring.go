package ring

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
)

// Log is what a ring follows.
type Log interface {
	Partitions() int
	// Follow hands events above the sequence after to handle, in order and without
	// a hole, until ctx ends.
	Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error
}

// DefaultBytes is what a ring holds unless told otherwise.
const DefaultBytes = 16 << 20

// Ring holds the newest events of a log. Its methods may be called from any
// goroutine.
type Ring struct {
	log   Log
	bytes int

	mu  sync.Mutex
	run *run // nil: there is no reader
}

// New is a ring of about so many bytes, of all partitions together; 0 is
// [DefaultBytes]. It follows nothing before somebody joins.
func New(log Log, bytes int) *Ring {
	if bytes == 0 {
		bytes = DefaultBytes
	}
	return &Ring{log: log, bytes: bytes}
}

// run is the time between the first reader that joins and the last that leaves, or
// the failure of a follower.
type run struct {
	ring   *Ring
	cancel context.CancelFunc
	failed chan struct{} // closed when err is set
	ended  chan struct{} // closed when the followers have ended

	readers int // under the ring's lock

	mu         sync.Mutex
	asleep     map[*Reader]struct{}
	partitions []partition
	err        error
}

// partition has the newest entries, without a hole, of which the last is head.
type partition struct {
	entries []*Entry // the first ones are nil: they are dropped
	dropped int
	head    uint64
	bytes   int
}

// Join makes a reader that is after the place after. When it is the first, the
// ring begins to follow after head, which the log must hold. wants says what the
// reader is to be woken for; otherwise it is when it was moved past patience
// events. Whoever joins must leave.
func (r *Ring) Join(ctx context.Context, head, after domain.Position, wants func(*Entry) bool, patience uint64) *Reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		r.run = r.start(context.WithoutCancel(ctx), head)
	}
	reader := &Reader{
		run: r.run, wants: wants, patience: patience,
		awake: make(chan struct{}, 1), at: make([]uint64, r.log.Partitions()),
	}
	for p := range reader.at {
		reader.at[p] = after.At(p)
	}
	r.run.readers++
	return reader
}

// Bytes is about what the ring holds now.
func (r *Ring) Bytes() int {
	r.mu.Lock()
	n := r.run
	r.mu.Unlock()
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	held := 0
	for i := range n.partitions {
		held += n.partitions[i].bytes
	}
	return held
}

func (r *Ring) start(ctx context.Context, head domain.Position) *run {
	n := &run{
		ring: r, failed: make(chan struct{}), ended: make(chan struct{}),
		asleep: map[*Reader]struct{}{}, partitions: make([]partition, r.log.Partitions()),
	}
	ctx, n.cancel = context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	for p := range n.partitions {
		n.partitions[p].head = head.At(p)
		group.Go(func() error { return n.follow(ctx, p, head.At(p)) })
	}
	go func() {
		defer close(n.ended)
		if err := group.Wait(); err != nil {
			n.fail(err)
		}
	}()
	return n
}

// follow feeds a partition until ctx ends, which is no error.
func (n *run) follow(ctx context.Context, p int, after uint64) error {
	err := n.ring.log.Follow(ctx, p, after, func(events []domain.Recorded) error {
		entries := make([]*Entry, len(events))
		for i := range events {
			var err error
			if entries[i], err = kept(&events[i]); err != nil {
				return err
			}
		}
		n.publish(p, entries)
		return nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it was ended
	}
	if err == nil {
		err = domain.Errorf(domain.Unavailable, "the log stopped")
	}
	return fmt.Errorf("follow partition %d: %w", p, err)
}

// fail ends the run for its readers; who joins next begins another.
func (n *run) fail(err error) {
	n.ring.forget(n)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
	close(n.failed)
}

func (r *Ring) forget(n *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == n {
		r.run = nil
	}
}

// publish adds entries of a partition, and wakes who waits for one of them.
func (n *run) publish(p int, entries []*Entry) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.partitions[p].add(entries, n.ring.bytes/len(n.partitions))
	for reader := range n.asleep {
		if reader.pass(p, entries) {
			delete(n.asleep, reader)
			reader.awake <- struct{}{} // it has room: the reader empties it before it sleeps
		}
	}
}

// add appends entries and drops the oldest while there are more than so many bytes,
// but for the last.
func (p *partition) add(entries []*Entry, bytes int) {
	for _, e := range entries {
		p.entries, p.head, p.bytes = append(p.entries, e), e.Sequence, p.bytes+e.size()
	}
	for p.bytes > bytes && p.dropped < len(p.entries)-1 {
		p.bytes -= p.entries[p.dropped].size()
		p.entries[p.dropped] = nil
		p.dropped++
	}
	if p.dropped > len(p.entries)/2 {
		kept := copy(p.entries, p.entries[p.dropped:])
		clear(p.entries[kept:])
		p.entries, p.dropped = p.entries[:kept], 0
	}
}

// before is the sequence before the oldest entry.
func (p *partition) before() uint64 {
	return p.head - uint64(len(p.entries)-p.dropped) //nolint:gosec // not negative
}
