package notify

import (
	"context"
	"errors"
	"log/slog"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// retry is one worker's turn at a blocked order.
type retry struct {
	f  *feed
	id domain.OrderID
	// stored is the record as the bucket has it, now how far this turn came.
	stored, now blockade
	history     []domain.Recorded
}

// retry makes the blockade's next attempt, and after a success goes on with what
// the order did meanwhile, until nothing is left or an attempt fails. Between two
// attempts it stops when ctx ended.
func (f *feed) retry(ctx, work context.Context, t task) result {
	r := &retry{f: f, id: t.order, stored: t.blocked, now: t.blocked}
	for ctx.Err() == nil {
		if err := r.read(work); err != nil {
			return r.postpone(work, err)
		}
		due, chain := r.due()
		if due == nil {
			err := r.remove(work)
			switch {
			case err == nil:
				return result{order: r.id, moved: true, chain: chain, told: true}
			case errors.Is(err, errMore):
				continue
			}
			return r.failed(work, err)
		}
		done, disable, err := r.attempt(work, due)
		switch {
		case err != nil:
			return r.failed(work, err)
		case !done:
			return result{order: r.id, blockade: &r.now, moved: true, disable: disable}
		}
		r.now.Revision, r.now.Attempts = due.Event.Revision+1, 0
	}
	return r.leave(work)
}

// errMore is a blockade that holds more than was told.
var errMore = errors.New("the order did more")

// read reads the order's history, unless it is at hand as far as is needed.
func (r *retry) read(ctx context.Context) error {
	if reaches(r.history, r.now.Seen) {
		return nil
	}
	history, err := r.f.deps.Log.Order(ctx, r.id)
	if err != nil {
		return err //nolint:wrapcheck // the log names the order
	}
	if !reaches(history, r.now.Seen) {
		return domain.Errorf(domain.Unavailable, "the history of %s does not reach revision %d yet", r.id, r.now.Seen)
	}
	r.history = history
	return nil
}

// due is the notification that is waited for, nil when everything up to Seen was
// told; and the chain before it. What comes after Seen arrives by itself.
func (r *retry) due() (*delivery.Notification, delivery.Chain) {
	f, since := r.f, r.f.since(r.history[0].Partition)
	chain := f.rules.ChainBefore(r.history, r.now.Revision, since)
	for i := range r.history {
		rec := &r.history[i]
		if rec.Event.Revision < r.now.Revision || rec.Sequence < since {
			continue
		}
		if rec.Event.Revision > r.now.Seen {
			break
		}
		next, typ := f.rules.Next(chain, rec)
		if typ != "" {
			return &delivery.Notification{
				Endpoint: f.endpoint.ID, Event: &rec.Event, Position: rec.Position(), Type: typ, PreviousRevision: chain.Told,
			}, chain
		}
		chain = next
	}
	return nil, chain
}

// since is where the endpoint began in a partition.
func (f *feed) since(partition int) uint64 {
	if partition < 0 || partition >= len(f.durables) {
		return 0
	}
	return f.durables[partition].Since
}

// attempt claims the next attempt, makes it, and stores what became of it. done:
// the order may go on.
func (r *retry) attempt(ctx context.Context, due *delivery.Notification) (done, disable bool, err error) {
	f, begun := r.f, r.now.Attempts
	r.now.Revision, r.now.Attempts = due.Event.Revision, begun+1
	wait, _ := f.cfg.Schedule.After(r.now.Attempts, f.deps.Random(), 0)
	r.now.NextAt = f.deps.Clock().Add(f.endpoint.Timeout + wait).UTC()
	if err := r.store(ctx); err != nil {
		return false, false, err
	}
	due.Attempt = r.now.Attempts
	outcome, ended := f.attempt(ctx, *due)
	if !ended {
		// It came to nothing, so it does not count. Should this write fail too,
		// the claim holds: one attempt less, and a later one.
		r.now.Attempts, r.now.NextAt = begun, f.deps.Clock().UTC()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Grace)
		defer cancel()
		return false, false, r.store(last)
	}
	if outcome.Kind.Done() || f.fail(&r.now, outcome) {
		r.now.Dead = false
		return true, false, nil
	}
	return false, outcome.Kind == delivery.Disable, r.store(ctx)
}

// store writes how far this turn came. Another instance may have let more events
// join meanwhile, and that is kept; errChanged: it did anything else.
func (r *retry) store(ctx context.Context) error {
	for {
		r.now.stamp, r.now.Seen = r.stored.stamp, max(r.now.Seen, r.stored.Seen)
		err := r.f.book.put(ctx, r.id, &r.now)
		if err == nil {
			r.stored = r.now
			return nil
		}
		if !errors.Is(err, errChanged) {
			return err
		}
		if err := r.joined(ctx); err != nil {
			return err
		}
	}
}

// remove ends the blockade. errMore: events joined it meanwhile.
func (r *retry) remove(ctx context.Context) error {
	err := r.f.book.remove(ctx, r.id, &r.stored)
	if !errors.Is(err, errChanged) {
		return err
	}
	if err := r.joined(ctx); err != nil {
		return err
	}
	r.now.stamp, r.now.Seen = r.stored.stamp, r.stored.Seen
	return errMore
}

// joined takes the record over when it differs from the stored one in nothing but
// the events that joined it; errChanged when it differs in more.
func (r *retry) joined(ctx context.Context) error {
	got, err := r.f.book.get(ctx, r.id)
	if err != nil {
		return err
	}
	if got == nil || got.Revision != r.stored.Revision || got.Attempts != r.stored.Attempts || !got.NextAt.Equal(r.stored.NextAt) {
		return errChanged
	}
	r.stored = *got
	return nil
}

// failed is the result when the bucket did not take what was to be stored.
func (r *retry) failed(ctx context.Context, err error) result {
	if errors.Is(err, errChanged) {
		return r.f.reload(ctx, r.id)
	}
	return r.postpone(ctx, err)
}

// leave stores how far this turn came, which the end of the process interrupts.
func (r *retry) leave(ctx context.Context) result {
	r.now.NextAt = r.f.deps.Clock().UTC()
	if err := r.store(ctx); err != nil {
		r.f.logger.WarnContext(ctx, "an event may be told again", slog.String("order_id", string(r.id)), slog.Any("error", err))
	}
	return result{order: r.id, blockade: &r.now, moved: true}
}

// postpone keeps how far this turn came in memory and tries again after a rest.
func (r *retry) postpone(ctx context.Context, err error) result {
	r.f.logger.WarnContext(ctx, "a retry waits", slog.String("order_id", string(r.id)), slog.Any("error", err))
	r.now.stamp = r.stored.stamp
	r.now.NextAt = r.f.deps.Clock().Add(recheck).UTC()
	return result{order: r.id, blockade: &r.now, moved: true}
}
