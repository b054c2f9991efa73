package groups

import (
	"context"
	"log/slog"
	"slices"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// start lets workers read and write while there are places.
func (d *desk) start(work context.Context) {
	for d.running < maxWorkers {
		switch {
		case len(d.jobs) > 0:
			job := d.jobs[0]
			d.jobs[0] = nil
			d.jobs = d.jobs[1:]
			d.running++
			d.workers.Go(func() { d.results <- job(work) })
		case len(d.todo) > 0 && !d.draining:
			l := d.todo[0]
			d.todo[0] = nil
			d.todo = d.todo[1:]
			l.listed = false
			d.begin(l)
		default:
			return
		}
	}
}

func (d *desk) begin(l *lane) {
	switch d.step(l) {
	case stepJoin:
		d.joinHold(l)
	case stepRecall:
		d.recall(l)
	default:
		d.settle(l)
	}
}

// work has a worker run job, and then the loop what it answers.
func (d *desk) work(l *lane, job func(context.Context) func()) {
	l.busy = true
	d.jobs = append(d.jobs, func(ctx context.Context) func() {
		apply := job(ctx)
		return func() {
			d.running--
			l.busy = false
			apply()
			d.freed(l)
		}
	})
}

// freed goes on with l after a worker.
func (d *desk) freed(l *lane) {
	if l.busy {
		return
	}
	if o := l.after; o != nil {
		l.after = nil
		if l.flight != nil {
			d.answered(l.flight, *o)
			return
		}
	}
	d.settle(l)
}

// became takes over what a record is now; nil: there is none.
func (d *desk) became(l *lane, h *hold) {
	var stamp uint64
	if h != nil {
		stamp = h.stamp
	}
	d.block(l, h, stamp)
}

// unsure has l rest before it is tried again.
func (d *desk) unsure(l *lane, err error) {
	if err != nil {
		d.logger.Warn("an order's events wait", slog.String("order_id", string(l.order)), slog.Any("error", err))
	}
	l.restsUntil = d.now().Add(recheck)
}

// keep stores what became of a delivery.
func (d *desk) keep(l *lane, base hold, to func(hold) *hold) {
	d.work(l, func(ctx context.Context) func() {
		h, err := d.insist(ctx, l.order, base, to)
		if err != nil {
			return func() { d.unsure(l, err) } // it is given again
		}
		return func() { d.became(l, h) }
	})
}

// insist changes what is held of an order, for as long as it takes. The error is that
// ctx ended first.
func (d *desk) insist(ctx context.Context, id domain.OrderID, base hold, to func(hold) *hold) (*hold, error) {
	for {
		h, err := d.holds.change(ctx, id, base, to)
		if err == nil || ctx.Err() != nil {
			return h, err
		}
		d.logger.WarnContext(ctx, "what became of an event is not stored yet", slog.String("order_id", string(id)), slog.Any("error", err))
		rest(ctx, recheck)
	}
}

// joinHold records that the queue waits behind what is held, and acknowledges it: from
// then on the log holds it.
func (d *desk) joinHold(l *lane) {
	base, last := *l.hold, l.last()
	d.work(l, func(ctx context.Context) func() {
		h, err := d.holds.change(ctx, l.order, base, func(h hold) *hold {
			h.Seen = max(h.Seen, last)
			return &h
		})
		return func() {
			if err != nil {
				d.unsure(l, err)
				return
			}
			d.became(l, h)
		}
	})
}

// history is the order's up to a revision at least.
func (d *desk) history(ctx context.Context, id domain.OrderID, revision uint64) ([]domain.Recorded, error) {
	history, err := d.groups.deps.Log.Order(ctx, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // the log names the order
	}
	if uint64(len(history)) < revision {
		return nil, domain.Errorf(domain.Unavailable, "the history of %s does not reach revision %d yet", id, revision)
	}
	return history, nil
}

// claim makes what is held the flight's: it counts a delivery, and says until when it
// is nobody else's.
func (d *desk) claim(f *flight) {
	l, base := f.lane, *f.lane.hold
	d.work(l, func(ctx context.Context) func() {
		rec, entry, err := d.due(ctx, l.order, &base)
		if err != nil {
			return func() { d.unclaimed(f, err) }
		}
		deadline := d.now().Add(d.record.AckWait)
		var mine *hold
		h, err := d.holds.change(ctx, l.order, base, func(h hold) *hold {
			mine = h.claimed(rec, base.Seen, deadline, d.now(), d.record.MaxDeliveries)
			return mine
		})
		if err != nil {
			return func() { d.unclaimed(f, err) }
		}
		return func() {
			d.became(l, h)
			if rec == nil || h == nil || h != mine || h.Parked {
				d.cancelled(f)
				return
			}
			f.attempt = h.Deliveries
			d.send(f, rec, entry, deadline)
			if !slices.Contains(d.members, f.member) {
				d.takeBack(f, false, false, "")
			}
		}
	})
}

func (d *desk) unclaimed(f *flight, err error) {
	d.cancelled(f)
	d.unsure(f.lane, err)
}

// due is the first event that h holds and the group wants; nil: there is none.
func (d *desk) due(ctx context.Context, id domain.OrderID, h *hold) (*domain.Recorded, *ring.Entry, error) {
	history, err := d.history(ctx, id, h.Seen)
	if err != nil {
		return nil, nil, err
	}
	for i := range history[h.Revision-1 : h.Seen] {
		rec := &history[int(h.Revision)-1+i] //nolint:gosec // within the history
		entry, err := ring.EntryOf(rec)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // names the event
		}
		if d.wants(&entry) {
			return rec, &entry, nil
		}
	}
	return nil, nil, nil
}

// renew stores a flight's new deadline. When what it has is somebody else's by now, it is
// taken back.
func (d *desk) renew(f *flight) {
	l, deadline := f.lane, f.deadline.UTC()
	var mine *hold
	base := *l.hold
	d.work(l, func(ctx context.Context) func() {
		h, err := d.holds.change(ctx, l.order, base, func(h hold) *hold {
			h.NextAt = deadline
			mine = &h
			return mine
		})
		return func() {
			if err != nil {
				return // the claim ends as it would have
			}
			d.became(l, h)
			if h == nil || h != mine {
				d.lost(f)
			} else if !f.deadline.Equal(deadline) {
				d.renew(f) // it was extended meanwhile
			}
		}
	})
}

// lost ends a flight whose event is somebody else's by now.
func (d *desk) lost(f *flight) {
	f.member.withdraw(f, true)
	d.cancelled(f)
}
