package projections

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// job is what an operator has done while nothing else changes the views.
type job struct {
	do   func(ctx context.Context) error
	done chan error // of one
}

// errPaused ends the followers for a job.
var errPaused = errors.New("paused")

// exclusively runs do while the views stand still; they go on afterwards, whatever
// do answers. Readers notice nothing but that.
func (r *Runner) exclusively(ctx context.Context, do func(ctx context.Context) error) error {
	j := &job{do: do, done: make(chan error, 1)}
	select {
	case r.jobs <- j:
	case <-r.done:
		return errStopped()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-j.done:
		return err
	case <-r.done:
		return errStopped()
	}
}

func errStopped() error { return domain.Errorf(domain.Unavailable, "the views have stopped") }

// keepUp follows the log, and does jobs in between, until ctx ends or the views
// cannot go on.
func (r *Runner) keepUp(ctx context.Context, head domain.Position) error {
	for {
		j, err := r.followAll(ctx, head)
		if !errors.Is(err, errPaused) {
			if j != nil {
				j.done <- errStopped()
			}
			return err
		}
		j.done <- j.do(ctx)
	}
}

// followAll follows every partition until ctx ends, or the views cannot go on, or
// there is a job, which it gives back.
func (r *Runner) followAll(ctx context.Context, head domain.Position) (j *job, err error) {
	group, within := errgroup.WithContext(ctx)
	pieces := make(chan piece) // without room: see follower.room
	marks := r.visible()       // the committer changes the runner's
	for partition, m := range marks {
		f := &follower{runner: r, partition: partition, pieces: pieces, last: m}
		group.Go(func() error { return f.follow(within) })
	}
	disk := newFlusher(r)
	group.Go(func() error { return disk.run(within) })
	group.Go(func() error { return newCommitter(r, disk, marks, head).run(within, pieces) })
	group.Go(func() error {
		select {
		case j = <-r.jobs:
			return errPaused
		case <-r.file.damage:
			return r.file.advised(kv.ErrDamaged)
		case <-within.Done():
			return within.Err()
		}
	})
	err = group.Wait()
	return j, err
}
