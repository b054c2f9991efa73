package projections

import (
	"context"
	"fmt"

	"comanda.internal/domain"
)

// follower reads one partition into the committer's channel.
type follower struct {
	runner    *Runner
	partition int
	pieces    chan<- piece
	last      mark // handed over, or remembered from before
	checked   bool // the log holds last
	// What was handed over last, and room for what comes next: when the committer takes
	// a piece from the channel, which has no room for one, it has copied the one before.
	handed, room []domain.Recorded
}

// piece is what a follower hands over: new events, or none, which says that the
// log holds the remembered one.
type piece struct {
	partition int
	events    []domain.Recorded
}

// follow hands the partition's events to pieces until ctx ends. Whenever it
// starts to read it first compares the remembered event with the log's.
func (f *follower) follow(ctx context.Context) error {
	return f.runner.persist(ctx, "log cannot be followed now; trying again", func() error { return f.read(ctx) })
}

// reaches is nil when the log is as long as what is remembered of it.
func (f *follower) reaches(ctx context.Context) error {
	head, err := f.runner.deps.Log.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head of the log: %w", err)
	}
	if at := head.At(f.partition); at < f.last.sequence {
		return domain.Errorf(domain.Corrupt,
			"partition %d went backwards: the views have read sequence %d, the log ends at %d; restore the log, or delete %s to rebuild the views from what is left",
			f.partition, f.last.sequence, at, f.runner.file.path)
	}
	return nil
}

// read follows the log once.
func (f *follower) read(ctx context.Context) error {
	if err := f.reaches(ctx); err != nil {
		return err
	}
	after := f.last.sequence
	f.checked = after == 0
	if !f.checked {
		after-- // to see the remembered event again
	}
	err := f.runner.deps.Log.Follow(ctx, f.partition, after, func(events []domain.Recorded) error {
		return f.handle(ctx, events)
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return domain.Errorf(domain.Unavailable, "follow partition %d: the log stopped", f.partition)
	default:
		return fmt.Errorf("follow partition %d: %w", f.partition, err)
	}
}

func (f *follower) handle(ctx context.Context, events []domain.Recorded) error {
	if len(events) == 0 {
		return nil
	}
	if err := f.check(ctx, &events[0]); err != nil {
		return err
	}
	seen := 0 // events that were handed over before
	for seen < len(events) && events[seen].Sequence <= f.last.sequence {
		seen++
	}
	if seen == len(events) {
		return nil
	}
	f.handed, f.room = append(f.room[:0], events[seen:]...), f.handed
	if err := f.hand(ctx, f.handed); err != nil {
		return err
	}
	clear(f.room) // the events' memory
	newest := &events[len(events)-1]
	f.last = mark{sequence: newest.Sequence, hash: newest.Hash}
	return nil
}

func (f *follower) hand(ctx context.Context, events []domain.Recorded) error {
	select {
	case f.pieces <- piece{partition: f.partition, events: events}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check compares the first event that is read with the remembered one.
func (f *follower) check(ctx context.Context, first *domain.Recorded) error {
	if f.checked {
		return nil
	}
	if err := f.compare(first); err != nil {
		return err
	}
	f.checked = true
	return f.hand(ctx, nil)
}

// compare reports that first, which should be the remembered event, is another.
func (f *follower) compare(first *domain.Recorded) error {
	if first.Sequence == f.last.sequence && first.Hash == f.last.hash {
		return nil
	}
	return domain.Errorf(domain.Corrupt,
		"partition %d went backwards: at sequence %d the views remember event hash %x, the log holds %x at %d; restore the log, or delete %s to rebuild the views from it",
		f.partition, f.last.sequence, f.last.hash[:8], first.Hash[:8], first.Sequence, f.runner.file.path)
}
