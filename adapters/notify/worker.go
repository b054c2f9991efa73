package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// task is what a worker is given: a copy of what it needs of a lane.
type task struct {
	kind    taskKind
	order   domain.OrderID
	queue   []*arrival
	blocked blockade // when the lane has one
	chain   delivery.Chain
	known   bool // the chain is remembered
}

// result is what a worker came to.
type result struct {
	order domain.OrderID
	// through is the revision up to which the queue is acknowledged; 0: nothing.
	through uint64
	// chain is what the endpoint was told, when told is set.
	chain delivery.Chain
	told  bool
	// blockade is the order's now, when moved is set; nil: none.
	blockade *blockade
	moved    bool
	// wait asks to try the same again after a rest.
	wait    bool
	disable bool
}

// start gives ready lanes to workers while there are places.
func (f *feed) start(ctx, work context.Context) {
	for f.running < f.endpoint.Concurrency && len(f.ready) > 0 {
		l := f.ready[0]
		f.ready = slices.Delete(f.ready, 0, 1)
		l.listed = false
		kind := l.task()
		if kind == taskNone || f.disabled {
			continue
		}
		t := task{kind: kind, order: l.order, queue: slices.Clone(l.queue)}
		t.chain, t.known = f.chains.get(l.order)
		if l.blocked != nil {
			t.blocked = *l.blocked
		}
		l.busy = true
		l.due = l.due && kind != taskRetry
		f.running++
		f.workers.Go(func() { f.results <- f.work(ctx, work, t) })
	}
}

func (f *feed) work(ctx, work context.Context, t task) result {
	switch t.kind {
	case taskDeliver:
		return f.deliver(work, t)
	case taskJoin:
		return f.join(work, t)
	case taskRetry:
		return f.retry(ctx, work, t)
	case taskNone:
	}
	return result{order: t.order}
}

// apply takes a worker's result over.
func (f *feed) apply(ctx context.Context, r result) {
	f.running--
	l := f.lane(r.order)
	l.busy = false
	l.through(r.through)
	if r.told {
		f.chains.put(r.order, r.chain)
	}
	news := l.news
	l.news = nil
	if r.moved {
		f.block(ctx, l, r.blockade)
	}
	if news != nil && l.blocked != nil && news.stamp > l.blocked.stamp {
		f.block(ctx, l, news.to)
	}
	if r.wait {
		f.park(ctx, l)
	}
	if r.disable {
		f.disable(ctx)
	}
	f.settle(l)
}

// park lets l rest; then it tries again.
func (f *feed) park(ctx context.Context, l *lane) {
	l.parked = true
	id := l.order
	f.workers.Go(func() {
		rest(ctx, recheck)
		select {
		case f.wakes <- id:
		case <-ctx.Done():
		}
	})
}

// disable stops the endpoint: nothing more is pulled and nothing begun. What
// waits stays in the log and the bucket, for the next start.
func (f *feed) disable(ctx context.Context) {
	if f.disabled {
		return
	}
	f.disabled = true
	f.stopPull()
	f.metrics.disabled.WithLabelValues(f.endpoint.ID).Set(1)
	f.logger.ErrorContext(ctx, "endpoint disabled by its own answer; see to it and start again")
}

// deliver makes the first attempt of the event at the head of the queue, if the
// endpoint is to be told of it.
func (f *feed) deliver(ctx context.Context, t task) result {
	a := t.queue[0]
	revision := a.rec.Event.Revision
	if t.known && t.chain.Revision >= revision {
		return f.acked(ctx, result{order: t.order, through: revision}, a) // redelivered
	}
	chain := t.chain
	if !t.known || t.chain.Revision+1 != revision {
		recalled, r := f.recall(ctx, t, a)
		if r != nil {
			return *r
		}
		chain = recalled
	}
	next, typ := f.rules.Next(chain, &a.rec)
	if typ == "" {
		return f.acked(ctx, result{order: t.order, through: revision, chain: next, told: true}, a)
	}
	outcome, ended := f.attempt(ctx, delivery.Notification{
		Endpoint: f.endpoint.ID, Event: &a.rec.Event, Position: a.rec.Position(), Type: typ,
		PreviousRevision: chain.Told, Attempt: 1,
	})
	if !ended {
		return result{order: t.order, wait: true}
	}
	b := blockade{Revision: revision, Seen: revision, Attempts: 1}
	if outcome.Kind.Done() || f.fail(&b, outcome) {
		return f.acked(ctx, result{order: t.order, through: revision, chain: next, told: true}, a)
	}
	if err := f.book.put(ctx, t.order, &b); err != nil {
		// Whoever made it knows what is due: with it, this event joins the queue behind it.
		return f.unsure(ctx, t.order, err)
	}
	return f.acked(ctx, result{
		order: t.order, through: revision, blockade: &b, moved: true, disable: outcome.Kind == delivery.Disable,
	}, a)
}

// recall folds what the endpoint was told before a from the log, and makes sure
// that the last of it is done. The result is set when that cannot be said yet.
func (f *feed) recall(ctx context.Context, t task, a *arrival) (delivery.Chain, *result) {
	revision := a.rec.Event.Revision
	if revision == 1 {
		return delivery.Chain{}, nil
	}
	history, err := f.deps.Log.Order(ctx, t.order)
	if err == nil && !reaches(history, revision-1) {
		err = domain.Errorf(domain.Unavailable, "the history of %s does not reach revision %d yet", t.order, revision-1)
	}
	if err != nil {
		r := f.unsure(ctx, t.order, err)
		return delivery.Chain{}, &r
	}
	chain := f.rules.ChainBefore(history, revision, a.from.Since)
	if chain.Told == 0 || t.known && chain.Told <= t.chain.Revision {
		return chain, nil
	}
	// In this order: a failed delivery is in the bucket before it is acknowledged.
	floor, err := a.from.Floor(ctx)
	if err != nil {
		r := f.unsure(ctx, t.order, err)
		return chain, &r
	}
	b, err := f.book.get(ctx, t.order)
	switch {
	case err != nil:
		r := f.unsure(ctx, t.order, err)
		return chain, &r
	case b != nil:
		return chain, &result{order: t.order, blockade: b, moved: true}
	case floor < chain.ToldAt:
		return chain, &result{order: t.order, wait: true}
	}
	return chain, nil
}

// reaches reports whether history has the event of this revision and all before.
func reaches(history []domain.Recorded, revision uint64) bool {
	return uint64(len(history)) >= revision && history[revision-1].Event.Revision == revision
}

// join records that the queued events wait behind the order's blockade, and
// acknowledges them: from then on the log holds them.
func (f *feed) join(ctx context.Context, t task) result {
	last := t.queue[len(t.queue)-1].rec.Event.Revision
	r := result{order: t.order}
	b := t.blocked
	if b.Seen < last {
		b.Seen = last
		err := f.book.put(ctx, t.order, &b)
		if errors.Is(err, errChanged) {
			return f.reload(ctx, t.order)
		}
		if err != nil {
			return f.unsure(ctx, t.order, err)
		}
		// A timer of the old stamp would be nobody's.
		r.blockade, r.moved = &b, true
	}
	r.through = last
	return f.acked(ctx, r, t.queue...)
}

// reload takes over the blockade as the bucket has it.
func (f *feed) reload(ctx context.Context, id domain.OrderID) result {
	b, err := f.book.get(ctx, id)
	if err != nil {
		return f.unsure(ctx, id, err)
	}
	return result{order: id, blockade: b, moved: true}
}

// unsure logs err and asks to try again.
func (f *feed) unsure(ctx context.Context, id domain.OrderID, err error) result {
	if errors.Is(err, errChanged) {
		return f.reload(ctx, id)
	}
	f.logger.WarnContext(ctx, "a delivery waits", slog.String("order_id", string(id)), slog.Any("error", err))
	return result{order: id, wait: true}
}

// acked acknowledges the events and answers r.
func (f *feed) acked(ctx context.Context, r result, events ...*arrival) result {
	for _, a := range events {
		if err := a.ack(); err != nil {
			f.logger.WarnContext(ctx, "an acknowledgement was not sent", slog.Any("error", err))
		}
	}
	return r
}

// fail notes a failed attempt in b and says when the next one is due. true: there
// is none, and the order is to go on without the event.
func (f *feed) fail(b *blockade, o delivery.Outcome) bool {
	b.Reason, b.Detail = o.Reason, o.Detail
	wait, again := f.cfg.Schedule.After(b.Attempts, f.deps.Random(), o.After)
	if !again && o.Kind != delivery.Disable {
		b.Dead = true
		return f.endpoint.OnExhausted == OnExhaustedSkip
	}
	b.NextAt = f.deps.Clock().Add(wait).UTC()
	return false
}

// attempt makes one attempt through the Router. false: it was cut short by the
// end of the process and came to nothing.
func (f *feed) attempt(ctx context.Context, n delivery.Notification) (delivery.Outcome, bool) {
	slot := &outcomeSlot{}
	bounded, cancel := context.WithTimeout(ctx, f.endpoint.Timeout)
	defer cancel()
	msg, err := newMessage(bounded, n, slot)
	if err != nil {
		f.logger.ErrorContext(ctx, "an event cannot be written", slog.Any("error", err))
		return delivery.Outcome{Kind: delivery.Retry, Reason: "encode"}, true
	}
	begun := f.deps.Clock()
	select {
	case f.out <- msg:
	case <-ctx.Done():
		return delivery.Outcome{}, false
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	}
	if ctx.Err() != nil && !slot.get().Kind.Done() {
		return delivery.Outcome{}, false
	}
	outcome := slot.get()
	f.observe(ctx, n, outcome, f.deps.Clock().Sub(begun))
	return outcome, true
}

func (f *feed) observe(ctx context.Context, n delivery.Notification, o delivery.Outcome, took time.Duration) {
	f.metrics.attempted(f.endpoint.Kind, o, took)
	level := slog.LevelDebug
	if o.Kind != delivery.OK && o.Kind != delivery.Skipped {
		level = slog.LevelWarn
	}
	f.logger.LogAttrs(ctx, level, "delivery attempted",
		slog.String("order_id", string(n.Event.OrderID)), slog.String("event_id", string(n.Event.ID)),
		slog.Uint64("revision", n.Event.Revision), slog.String("type", n.Type), slog.Int("attempt", n.Attempt),
		slog.String("outcome", o.Kind.String()), slog.String("reason", o.Reason), slog.String("detail", o.Detail))
}
