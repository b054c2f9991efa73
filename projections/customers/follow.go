package customers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

const (
	// liveEvery is the least time between two batches once the index is made: what comes
	// meanwhile is opened and written together, and a look-up waits so long at most.
	liveEvery = 100 * time.Millisecond
	// flushEvery is long, for entries fall on pages at random, and a crash costs little.
	flushEvery = 5 * time.Second
	// flushBytes of memory are written without waiting for it, unless Deps says otherwise.
	flushBytes = 16 << 20
	// openers are the events of a batch that are opened at the same time: each may
	// wait for its key.
	openers = 8
	// Between two tries of what may work again.
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// errOther says that the log holds another event than the index remembers.
var errOther = errors.New("the log went backwards")

// Run reads the log until ctx ends, which is no error. It may be called once.
func (x *Index) Run(ctx context.Context) error {
	defer close(x.done)
	select {
	case <-x.deps.Begin:
	case <-ctx.Done():
		return nil
	}
	group, within := errgroup.WithContext(ctx)
	group.Go(func() error { return x.keep(within) })
	group.Go(func() error { return x.operate(within) })
	err := group.Wait()
	if ctx.Err() != nil {
		return nil // the caller ended it
	}
	return fmt.Errorf("keep the customer index: %w", err)
}

// keep follows the log until ctx ends, with a file anew where that one is of no use.
func (x *Index) keep(ctx context.Context) error {
	err := x.follow(ctx)
	for (errors.Is(err, errOther) || errors.Is(err, errDamaged)) && !x.isReady() { // later there are readers; the next start does it
		x.deps.Logger.WarnContext(ctx, "customer index cannot go on, and is made anew", "path", x.path, "reason", err)
		if err = x.reset(); err == nil {
			err = x.follow(ctx)
		}
	}
	return err
}

func (x *Index) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	var head domain.Position
	err := x.persist(ctx, func() (err error) {
		head, err = x.deps.Log.Head(ctx)
		return err
	})
	if err != nil {
		return err
	}
	x.unchecked = map[int]struct{}{}
	for partition := range x.marks {
		switch last := x.marks[partition].sequence; {
		case last > head.At(partition):
			return errOther
		case last > 0:
			x.unchecked[partition] = struct{}{}
		}
	}
	for partition := range x.marks {
		f := &follower{index: x, partition: partition, head: head}
		group.Go(func() error { return x.persist(ctx, func() error { return f.run(ctx) }) })
	}
	group.Go(func() error { return x.flush(ctx) })
	x.noteReady(head, -1)
	return group.Wait() //nolint:wrapcheck // Run says of what
}

// persist calls try until its error is nil or not of kind Unavailable.
func (x *Index) persist(ctx context.Context, try func() error) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		err := try()
		if err == nil || ctx.Err() != nil || domain.KindOf(err) != domain.Unavailable {
			return err
		}
		x.deps.Logger.WarnContext(ctx, "customer index cannot go on now; trying again", "error", err)
		if err := pause(ctx, backoff); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush writes what only memory holds, now and then. What fails is tried again.
func (x *Index) flush(ctx context.Context) error {
	pace := time.NewTicker(flushEvery)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch err := x.flushNow(); {
		case errors.Is(err, errDamaged):
			return err
		case err != nil:
			x.deps.Logger.WarnContext(ctx, "customer index cannot be written to its file; trying again", "error", err)
		}
	}
}

func (x *Index) flushNow() error {
	x.deps.At(PointFlush)
	err := x.survive((*kv.DB).Flush)
	x.deps.At(PointFlushed)
	return err
}

func (x *Index) isReady() bool { return isClosed(x.ready) }

// noteReady closes Ready once everything up to head was read, and the log was seen to
// hold what is remembered of it, as it was of the partition checked.
func (x *Index) noteReady(head domain.Position, checked int) {
	have, _ := x.position()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.unchecked, checked)
	if !x.isReady() && len(x.unchecked) == 0 && have.Covers(head) {
		close(x.ready)
	}
}

// follower reads one partition.
type follower struct {
	index     *Index
	partition int
	head      domain.Position // to be caught up with
}

// run reads until ctx ends, or the log cannot be read for now.
func (f *follower) run(ctx context.Context) error {
	last := f.index.mark(f.partition)
	after, checked := last.sequence, last.sequence == 0
	if !checked {
		after-- // to see the remembered event again
	}
	err := f.index.deps.Log.Follow(ctx, f.partition, after, func(events []domain.Recorded) error {
		if len(events) == 0 {
			return nil
		}
		if !checked {
			if events[0].Sequence != last.sequence || events[0].Hash != last.hash {
				return errOther
			}
			checked, events = true, events[1:]
			f.index.noteReady(f.head, f.partition)
		}
		if err := f.index.add(ctx, f.partition, events, f.head); err != nil || !f.index.isReady() {
			return err
		}
		return pause(ctx, liveEvery)
	})
	if err == nil && ctx.Err() == nil {
		return domain.Errorf(domain.Unavailable, "follow partition %d: the log stopped", f.partition)
	}
	if err == nil {
		return ctx.Err()
	}
	return err //nolint:wrapcheck // Run says of what
}

// entry is what one name makes.
type entry struct{ key, value []byte }

// open makes the entries of each of events. broken is told, at any time, which cannot be opened.
func (x *Index) open(ctx context.Context, events []domain.Recorded, broken func(*domain.Event, error)) ([][]entry, error) {
	made := make([][]entry, len(events))
	group, within := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range min(openers, len(events)) {
		group.Go(func() (err error) {
			ids := x.subjects()
			for i := taken.Add(1) - 1; i < int64(len(events)) && err == nil; i = taken.Add(1) - 1 {
				if e := &events[i].Event; len(e.SealedPersonal) > 0 {
					made[i], err = x.entries(within, e, ids, broken)
				}
			}
			return err
		})
	}
	return made, group.Wait() //nolint:wrapcheck // Run says of what
}

// add makes the entries of events and moves the mark.
func (x *Index) add(ctx context.Context, partition int, events []domain.Recorded, head domain.Position) error {
	if len(events) == 0 {
		return nil
	}
	made, err := x.open(ctx, events, func(e *domain.Event, err error) {
		x.broken.Inc()
		x.deps.Logger.ErrorContext(ctx, "personal data of an event cannot be opened; its customer is not found by it",
			"event_id", string(e.ID), "order_id", string(e.OrderID), "error", err)
	})
	if err != nil {
		return err
	}
	if err := x.put(partition, events, made); err != nil {
		return err
	}
	x.noteReady(head, partition)
	return x.room(ctx)
}

// put writes the entries of events, as far as the index does not have them, and moves the mark.
func (x *Index) put(partition int, events []domain.Recorded, made [][]entry) error {
	x.writing.Lock()
	defer x.writing.Unlock()
	have := x.mark(partition).sequence // more than was followed, when another file took the place
	for len(events) > 0 && events[0].Sequence <= have {
		events, made = events[1:], made[1:]
	}
	if len(events) == 0 {
		return nil
	}
	newest := &events[len(events)-1]
	m := mark{sequence: newest.Sequence, hash: newest.Hash}
	x.deps.At(PointCommit)
	if err := x.survive(func(db *kv.DB) error { return write(db, events, made, partition, m) }); err != nil {
		return err
	}
	x.deps.At(PointCommitted)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.marks[partition] = m
	if newest.Event.RecordedAt.After(x.newest) {
		x.newest = newest.Event.RecordedAt
	}
	close(x.changed)
	x.changed = make(chan struct{})
	return nil
}

// write writes the entries made of events and the mark of a partition in one transaction.
func write(db *kv.DB, events []domain.Recorded, made [][]entry, partition int, m mark) error {
	return db.Update(func(tx *kv.Tx) error {
		b := tx.Bucket(entriesBucket)
		for i, entries := range made {
			later := events[i].Event.Revision > 1
			for _, e := range entries {
				if later && holds(b, &e) {
					continue // most events of an order name whom the first did
				}
				if err := b.Put(e.key, e.value); err != nil {
					return err
				}
			}
		}
		value := binary.BigEndian.AppendUint64(make([]byte, 0, markSize), m.sequence)
		return tx.Bucket(metaBucket).Put(markKey(partition), append(value, m.hash[:]...))
	})
}

func holds(b *kv.Bucket, e *entry) bool {
	have := b.Get(e.key)
	return have != nil && bytes.Equal(have, e.value)
}

// room waits until memory holds little that is not in the file.
func (x *Index) room(ctx context.Context) error {
	if x.db().Unflushed() < x.deps.FlushBytes {
		return nil
	}
	return x.persist(ctx, func() error {
		err := x.flushNow()
		if err == nil || errors.Is(err, errDamaged) {
			return err
		}
		return domain.Errorf(domain.Unavailable, "write the file: %w", err)
	})
}

// entries are those of one event; none when it was erased or cannot be opened.
func (x *Index) entries(ctx context.Context, e *domain.Event, ids *subjects, broken func(*domain.Event, error)) ([]entry, error) {
	var personal domain.Personal
	err := x.persist(ctx, func() (err error) {
		personal, err = x.deps.Vault.Reveal(ctx, e)
		return err //nolint:wrapcheck // names the key
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case domain.KindOf(err) == domain.NotFound:
		return nil, nil
	case err != nil:
		broken(e, err)
		return nil, nil
	}
	names, key := namesOf(&personal), []byte(e.KeyID)
	out := make([]entry, len(names))
	for i, n := range names {
		out[i] = entry{append(prefix(e.Tenant, ids.of(e.Tenant, n)), e.OrderID...), key}
	}
	return out, nil
}
