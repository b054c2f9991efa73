package notify

import (
	"context"
	"errors"
	"log/slog"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// retry makes the blockade's next attempt, and after a success goes on with what
// the order did meanwhile, until nothing is left or an attempt fails. Between two
// attempts it stops when ctx ended.
func (f *feed) retry(ctx, work context.Context, t task) result {
	b := t.blocked
	var history []domain.Recorded
	for ctx.Err() == nil {
		if !reaches(history, b.Seen) {
			var err error
			if history, err = f.deps.Log.Order(work, t.order); err == nil && !reaches(history, b.Seen) {
				err = domain.Errorf(domain.Unavailable, "the history of %s does not reach revision %d yet", t.order, b.Seen)
			}
			if err != nil {
				return f.postpone(work, t.order, &b, err)
			}
		}
		due, after := f.nextDue(history, &b)
		if due == nil {
			return f.unblock(work, t.order, &b, after)
		}
		stored, disable, err := f.again(work, t.order, &b, due)
		switch {
		case errors.Is(err, errChanged):
			return f.reload(work, t.order)
		case err != nil:
			return f.postpone(work, t.order, &b, err)
		case stored:
			return result{order: t.order, blockade: &b, moved: true, disable: disable}
		}
		b.Revision, b.Attempts = due.Event.Revision+1, 0
	}
	return f.leave(work, t.order, &b)
}

// leave stores how far a retry came that the end of the process interrupts.
func (f *feed) leave(ctx context.Context, id domain.OrderID, b *blockade) result {
	b.NextAt = f.deps.Clock().UTC()
	if err := f.book.put(ctx, id, b); err != nil {
		f.logger.WarnContext(ctx, "an event may be told again", slog.String("order_id", string(id)), slog.Any("error", err))
	}
	return result{order: id, blockade: b, moved: true}
}

// nextDue is the notification that b waits for, nil when everything up to
// b.Seen was told; and then the chain.
func (f *feed) nextDue(history []domain.Recorded, b *blockade) (*delivery.Notification, delivery.Chain) {
	since := f.since(history[0].Partition)
	chain := f.rules.ChainBefore(history, b.Revision, since)
	for i := range history {
		rec := &history[i]
		if rec.Event.Revision < b.Revision || rec.Sequence < since {
			continue
		}
		if rec.Event.Revision > b.Seen {
			break
		}
		previous := chain.Told
		next, typ := f.rules.Next(chain, rec)
		if typ != "" {
			return &delivery.Notification{
				Endpoint: f.endpoint.ID, Event: &rec.Event, Position: rec.Position(), Type: typ, PreviousRevision: previous,
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
	return f.durables[partition].since
}

// again claims the next attempt, makes it and, when it failed, stores that.
// stored is false when the order may go on.
func (f *feed) again(ctx context.Context, id domain.OrderID, b *blockade, due *delivery.Notification) (stored, disable bool, err error) {
	claim := *b
	claim.Revision, claim.Attempts = due.Event.Revision, b.Attempts+1
	wait, _ := f.cfg.Schedule.After(claim.Attempts, f.deps.Random(), 0)
	claim.NextAt = f.deps.Clock().Add(f.endpoint.Timeout + wait).UTC()
	if err := f.book.put(ctx, id, &claim); err != nil {
		return false, false, err
	}
	begun := *b
	*b = claim
	due.Attempt = claim.Attempts
	outcome, ended := f.attempt(ctx, *due)
	if !ended {
		// It came to nothing, so it does not count. Should this write fail too,
		// the claim holds: one attempt less, and a later one.
		b.Attempts, b.NextAt = begun.Attempts, f.deps.Clock().UTC()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.cfg.Grace)
		defer cancel()
		return true, false, f.book.put(last, id, b)
	}
	if outcome.Kind.Done() || f.fail(b, outcome) {
		b.Dead = false
		return false, false, nil
	}
	return true, outcome.Kind == delivery.Disable, f.book.put(ctx, id, b)
}

// unblock removes the blockade: everything that it held was told.
func (f *feed) unblock(ctx context.Context, id domain.OrderID, b *blockade, told delivery.Chain) result {
	err := f.book.remove(ctx, id, b)
	if errors.Is(err, errChanged) {
		return f.reload(ctx, id) // the order did more
	}
	if err != nil {
		return f.postpone(ctx, id, b, err)
	}
	return result{order: id, moved: true, chain: told, told: true}
}

// postpone keeps the blockade in memory as it is and tries again after a rest.
func (f *feed) postpone(ctx context.Context, id domain.OrderID, b *blockade, err error) result {
	f.logger.WarnContext(ctx, "a retry waits", slog.String("order_id", string(id)), slog.Any("error", err))
	b.NextAt = f.deps.Clock().Add(recheck).UTC()
	return result{order: id, blockade: b, moved: true}
}
