package projections

import (
	"context"
	"time"

	"comanda.internal/domain"
)

// catchUp builds the file anew when that is faster than to follow. Whatever
// hinders it is met again, and dealt with, by those who follow: the error is only
// the end of ctx. A candidate is built or is none.
func (r *Runner) catchUp(ctx context.Context, head domain.Position) error {
	var behind, total uint64
	for partition, m := range r.marks {
		at := head.At(partition)
		total += at
		if at < m.sequence {
			return nil // the log went backwards, as a follower will say
		}
		behind += at - m.sequence
	}
	if !r.anew && (behind < uint64(r.cfg.BuildFrom) || behind < total/5) { //nolint:gosec // validated: not negative
		return r.forgo()
	}
	began := r.deps.Clock()
	r.setStarting(began)
	defer r.setStarting(time.Time{})
	r.deps.Logger.InfoContext(ctx, "views are built from the log", "events", total)
	done, err := r.build(ctx, r.file.path+building, head, r.counted)
	if err == nil {
		err = r.install(done)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && (r.candidate || r.anew):
		return err
	case err != nil:
		r.deps.Logger.WarnContext(ctx, "views cannot be built at once; they follow the log instead", "error", err)
	default:
		r.metrics.events.Add(float64(total))
		r.deps.Logger.InfoContext(ctx, "views are built", "events", total, "seconds", r.deps.Clock().Sub(began).Seconds())
	}
	return nil
}

// forgo removes what a build has kept that is not needed any more. That is no error which
// keeps the views from following.
func (r *Runner) forgo() error {
	if r.deps.OnlyLook {
		return nil
	}
	if err := dropKept(r.file.path + building); err != nil {
		r.deps.Logger.Warn("what a build of views has kept cannot be removed", "error", err)
	}
	return nil
}

func (r *Runner) setStarting(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starting = began
}

// Starting is how far the build is that a start began with, as after an upgrade, and
// that Ready waits for; false when there is none now.
func (r *Runner) Starting() (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counted.progress(), !r.starting.IsZero()
}

// install puts a built file in the place of the runner's. Nothing else of the
// runner is running.
func (r *Runner) install(b *built) error {
	if err := r.file.replace(b.path, b.db, func() { r.deps.at(PointInstalled) }); err != nil {
		return err
	}
	r.adoptState(b)
	return nil
}
