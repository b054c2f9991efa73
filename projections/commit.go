package projections

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	bbolterrors "go.etcd.io/bbolt/errors"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// committer gathers events and commits them to memory, which makes them visible.
// One goroutine owns it.
type committer struct {
	runner *Runner
	disk   *flusher
	head   domain.Position // to be caught up with
	live   bool            // caught up
	// unchecked are the partitions whose remembered event was not yet seen again.
	unchecked map[int]struct{}

	pending []domain.Recorded
	marks   []mark      // with pending
	pace    *time.Timer // fires when the next commit may be
	due     bool        // it has fired
}

func newCommitter(r *Runner, disk *flusher, marks []mark, head domain.Position) *committer {
	c := &committer{runner: r, disk: disk, head: head, unchecked: map[int]struct{}{}, marks: slices.Clone(marks)}
	for partition, m := range marks {
		if m.sequence > 0 {
			c.unchecked[partition] = struct{}{}
		}
	}
	return c
}

// run commits what comes from pieces until ctx ends. What was not committed then
// is read again by the next run.
func (c *committer) run(ctx context.Context, pieces <-chan piece) error {
	c.live = isClosed(c.runner.ready) // before a pause
	c.noteLive()
	c.due = c.live
	c.pace = time.NewTimer(c.interval())
	defer c.pace.Stop()
	for {
		if c.isDue() {
			if err := c.commit(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case p := <-pieces:
			c.add(p)
		case <-c.pace.C:
			c.due = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *committer) interval() time.Duration {
	if c.live {
		return c.runner.cfg.Interval
	}
	return c.runner.cfg.CatchUpInterval
}

func (c *committer) isDue() bool {
	if len(c.pending) == 0 {
		return false
	}
	return c.due || len(c.pending) >= c.runner.cfg.MaxBatch || (!c.live && c.reachedHead())
}

func (c *committer) add(p piece) {
	if len(p.events) == 0 {
		delete(c.unchecked, p.partition)
		c.noteLive()
		return
	}
	c.pending = append(c.pending, p.events...)
	newest := &p.events[len(p.events)-1]
	c.marks[p.partition] = mark{sequence: newest.Sequence, hash: newest.Hash}
}

func (c *committer) reachedHead() bool { return positionOf(c.marks).Covers(c.head) }

// noteLive declares the views ready once they hold all of head, and the log all
// that they remember.
func (c *committer) noteLive() {
	if !c.live && len(c.unchecked) == 0 && c.runner.Position().Covers(c.head) {
		c.live, c.due = true, true
		close(c.runner.ready)
		c.runner.answer()
	}
}

// commit makes what is pending visible, trying again until it is: what fails
// leaves the views as they were. Only the end of ctx, a closed file and one that
// does not hold together are errors.
func (c *committer) commit(ctx context.Context) error {
	r := c.runner
	if c.live {
		c.restartPace() // the interval is between the beginnings of commits
	}
	started := r.deps.Clock()
	var done folded
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		var err error
		r.deps.at(PointCommit)
		done, err = r.write(c.pending, c.marks)
		if err == nil {
			r.deps.at(PointCommitted)
			break
		}
		if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) || domain.KindOf(err) == domain.Corrupt {
			return fmt.Errorf("commit the views: %w", err)
		}
		r.metrics.failures.Inc()
		r.deps.Logger.ErrorContext(ctx, "views cannot be committed; trying again", "error", err, "events", len(c.pending))
		if err := pause(ctx, backoff); err != nil {
			return err
		}
	}
	r.folder.keep(done)
	r.publish(c.marks)
	r.deps.at(PointPublished)
	r.announce(done)
	r.see(c.pending[len(c.pending)-1].Event.RecordedAt)
	if err := r.file.seen.note(r.deps.Log.Identity(), c.marks); err != nil {
		r.deps.Logger.WarnContext(ctx, "what the views have read cannot be noted", "error", err)
	}
	r.report(done)
	r.metrics.committed(c.pending, started, r.deps.Clock(), c.live)
	clear(c.pending) // the events' memory
	c.pending = c.pending[:0]
	c.noteLive()
	if !c.live {
		c.restartPace()
	}
	return c.disk.room(ctx)
}

func (c *committer) restartPace() {
	c.due = false
	c.pace.Reset(c.interval())
}

// write is the transaction: rows, indexes, parked orders and marks, or nothing.
func (r *Runner) write(events []domain.Recorded, marks []mark) (folded, error) {
	var done folded
	db := r.file.db()
	err := db.Update(func(tx *kv.Tx) error {
		var err error
		if done, err = r.apply(tx, events); err != nil {
			return err
		}
		for partition, m := range marks {
			if m.sequence == 0 {
				continue
			}
			if err := putMark(tx, partition, m); err != nil {
				return err
			}
		}
		return nil
	})
	return done, r.file.damaged(db, err)
}

// apply folds events, and writes what they change and the orders that they park.
func (r *Runner) apply(tx *kv.Tx, events []domain.Recorded) (folded, error) {
	done, err := r.folder.fold(tx, events)
	if err != nil {
		return folded{}, err
	}
	for _, p := range r.all {
		if err := p.Apply(tx.Bucket(p.Name()), done.changes); err != nil {
			return folded{}, fmt.Errorf("apply to the view %s: %w", p.Name(), err)
		}
	}
	for _, p := range done.parked {
		if err := putParked(tx, &p); err != nil {
			return folded{}, err
		}
	}
	return done, nil
}

// publish makes the committed position known to those who wait.
func (r *Runner) publish(marks []mark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.marks, marks)
	r.position = positionOf(r.marks)
	close(r.changed)
	r.changed = make(chan struct{})
}

// announce says which orders a commit changed.
func (r *Runner) announce(done folded) {
	if r.deps.Committed != nil && !r.candidate && len(done.changes) > 0 {
		r.deps.Committed(done.changes)
	}
}

// see notes when what was committed last was recorded.
func (r *Runner) see(recorded time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newest = recorded
}

// report raises the alarm for orders that were parked.
func (r *Runner) report(done folded) {
	for _, p := range done.parked {
		r.deps.Logger.Error("order is parked: its event does not follow its history",
			"order_id", string(p.order), "partition", p.partition, "sequence", p.sequence, "error", p.err)
	}
	r.metrics.parked.Set(float64(len(r.folder.parked)))
}
