package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

const (
	// maxReady is how many lanes may wait for a worker before the feed takes no
	// more events.
	maxReady = 256
	// maxChains is how many orders' chains a feed remembers.
	maxChains = 16384
	// maxAckPending bounds what was delivered and is not acknowledged. Blocked
	// orders do not count: what they hold is acknowledged.
	maxAckPending = 4096
	// recheck is how long a parked lane waits before it asks for its
	// predecessor again, and how long a failed look at the log or the bucket is let rest.
	recheck = 250 * time.Millisecond
)

// feed is the subscriber of one endpoint: it turns the log into one Watermill
// message for each attempt. All its state belongs to its loop, run; pullers,
// timers and workers talk to it by channels.
type feed struct {
	endpoint Endpoint
	rules    delivery.Rules
	cfg      *Config
	deps     *Deps
	logger   *slog.Logger
	metrics  *metrics

	book     book
	durables []*durable.Consumer

	out      chan *message.Message
	intake   chan *arrival
	alarms   chan alarm
	wakes    chan domain.OrderID
	results  chan result
	stop     context.CancelFunc
	workers  sync.WaitGroup
	stopPull context.CancelFunc

	lanes    map[domain.OrderID]*lane
	chains   *chains
	ready    []*lane
	running  int
	blocked  int // blockades that are not dead
	dead     int
	disabled bool
}

var _ message.Subscriber = (*feed)(nil)

// alarm is the end of a blockade's wait. A stamp that is not the blockade's any
// more belongs to a wait that nobody waits for.
type alarm struct {
	order domain.OrderID
	stamp uint64
}

func newFeed(e Endpoint, cfg *Config, deps *Deps, m *metrics) (*feed, error) {
	rules, err := e.Rules()
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", e.ID, err)
	}
	return &feed{
		endpoint: e, rules: rules, cfg: cfg, deps: deps, metrics: m,
		logger: deps.Logger.With(slog.String("endpoint", e.ID)),
		out:    make(chan *message.Message), intake: make(chan *arrival), alarms: make(chan alarm),
		wakes: make(chan domain.OrderID), results: make(chan result),
		lanes: make(map[domain.OrderID]*lane), chains: newChains(maxChains),
	}, nil
}

// open finds or makes the bucket and the endpoint's durables.
func (f *feed) open(ctx context.Context) error {
	kv, created, err := durable.OpenBucket(ctx, f.deps.JetStream, Bucket, "orders whose delivery to an endpoint failed", f.cfg.Replicas)
	if err != nil {
		return fmt.Errorf("endpoint %q: %w", f.endpoint.ID, err)
	}
	f.book = newBook(kv, f.endpoint.ID)
	streams, err := durable.Partitions(ctx, f.deps.JetStream)
	if err != nil {
		return fmt.Errorf("endpoint %q: %w", f.endpoint.ID, err)
	}
	for _, stream := range streams {
		d, err := durable.Open(ctx, f.deps.JetStream, stream, durable.Spec{
			Name: "notify-" + f.endpoint.ID, Description: "notifications of endpoint " + f.endpoint.ID,
			Tenants: []domain.TenantID{f.endpoint.Tenant},
			AckWait: f.cfg.AckWait, MaxAckPending: maxAckPending, PinTTL: f.cfg.PinTTL,
		})
		if err != nil {
			return fmt.Errorf("endpoint %q: %w", f.endpoint.ID, err)
		}
		f.durables = append(f.durables, d)
		created = created || d.Created
	}
	if created && f.deps.AfterCreate != nil {
		if err := f.deps.AfterCreate(); err != nil {
			return fmt.Errorf("endpoint %q: after its durables were made: %w", f.endpoint.ID, err)
		}
	}
	return nil
}

// Subscribe starts the feed, which was opened before: the Router cannot close
// when one of its subscribers does not start. The channel is closed when ctx has
// ended and so has every attempt that was begun.
func (f *feed) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	ctx, f.stop = context.WithCancel(ctx)
	watcher, err := f.book.KV.Watch(ctx, f.endpoint.ID+".>")
	if err != nil {
		f.stop()
		return nil, fmt.Errorf("endpoint %q: watch bucket %s: %w", f.endpoint.ID, Bucket, err)
	}
	go f.run(ctx, watcher)
	return f.out, nil
}

// Close ends the feed; the channel of Subscribe closes when it has ended.
func (f *feed) Close() error {
	if f.stop != nil {
		f.stop()
	}
	return nil
}

// run is the loop. It ends when ctx has ended and no worker is busy.
func (f *feed) run(ctx context.Context, watcher jetstream.KeyWatcher) {
	defer close(f.out)
	defer f.stop()
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	f.loadBlockades(ctx, watcher)
	pull, stopPull := context.WithCancel(ctx)
	f.stopPull = stopPull
	defer stopPull()
	for _, d := range f.durables {
		f.workers.Go(func() { f.pull(pull, d) })
	}
	beat := time.NewTicker(f.cfg.AckWait / 3)
	defer beat.Stop()
	for ctx.Err() == nil {
		f.start(ctx, work)
		select {
		case a := <-f.door():
			f.arrived(a)
		case entry, ok := <-watcher.Updates():
			if !ok {
				watcher = closedWatcher{}
				continue
			}
			f.changed(ctx, entry)
		case al := <-f.alarms:
			f.alarmed(al)
		case id := <-f.wakes:
			f.woken(id)
		case r := <-f.results:
			f.apply(ctx, r)
		case <-beat.C:
			f.hold()
		case <-ctx.Done():
		}
	}
	f.drain(ctx, cancelWork, watcher)
	_ = watcher.Stop() // the subscription dies with its connection anyway
	f.release(context.WithoutCancel(ctx))
}

// closedWatcher stands for a watcher whose connection was closed.
type closedWatcher struct{}

func (closedWatcher) Updates() <-chan jetstream.KeyValueEntry { return nil }
func (closedWatcher) Stop() error                             { return nil }

// loadBlockades reads what was blocked before, so that no event of a blocked
// order can overtake it.
func (f *feed) loadBlockades(ctx context.Context, watcher jetstream.KeyWatcher) {
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok || entry == nil {
				return
			}
			f.changed(ctx, entry)
		case <-ctx.Done():
			return
		}
	}
}

// door is the intake, or nil while the feed takes nothing: too many lanes wait,
// or so many orders are blocked that the endpoint must be down.
func (f *feed) door() <-chan *arrival {
	if len(f.ready) >= maxReady || f.blocked >= f.cfg.MaxBlocked {
		return nil
	}
	return f.intake
}

func (f *feed) lane(id domain.OrderID) *lane {
	l, ok := f.lanes[id]
	if !ok {
		l = &lane{order: id}
		f.lanes[id] = l
	}
	return l
}

// settle lists l if it has something to do, and forgets it if it has nothing.
func (f *feed) settle(l *lane) {
	switch {
	case l.busy || l.listed:
	case l.task() != taskNone:
		l.listed = true
		f.ready = append(f.ready, l)
	case l.blocked == nil && len(l.queue) == 0:
		delete(f.lanes, l.order)
	}
}

func (f *feed) arrived(a *arrival) {
	l := f.lane(a.rec.Event.OrderID)
	l.insert(a)
	// It may be the predecessor that the lane waits for.
	l.parked = l.parked && l.queue[0] != a
	f.settle(l)
}

func (f *feed) alarmed(al alarm) {
	l, ok := f.lanes[al.order]
	if !ok || l.blocked == nil || l.blocked.stamp != al.stamp {
		return
	}
	l.due = true
	f.settle(l)
}

func (f *feed) woken(id domain.OrderID) {
	if l, ok := f.lanes[id]; ok {
		l.parked = false
		f.settle(l)
	}
}

// changed takes over a record of the bucket: at the start, when another
// instance changed it, and when we did.
func (f *feed) changed(ctx context.Context, entry jetstream.KeyValueEntry) {
	if entry == nil {
		return
	}
	to, err := readBlockade(entry)
	if err != nil {
		f.logger.ErrorContext(ctx, "a blockade cannot be read", slog.String("key", entry.Key()), slog.Any("error", err))
		return
	}
	l := f.lane(f.book.order(entry))
	news := change{to: to, stamp: entry.Revision()}
	if l.busy {
		l.news = &news
		return
	}
	if l.blocked == nil || l.blocked.stamp < news.stamp {
		f.block(ctx, l, to)
	}
	f.settle(l)
}

// block sets l's blockade, nil for none, and its timer.
func (f *feed) block(ctx context.Context, l *lane, to *blockade) {
	f.count(l.blocked, -1)
	f.count(to, +1)
	if l.stopTimer != nil {
		l.stopTimer()
		l.stopTimer = nil
	}
	known := l.blocked != nil && l.blocked.Dead
	l.blocked, l.due = to, false
	if to == nil {
		return
	}
	if to.Dead {
		if !known {
			f.logger.ErrorContext(ctx, "delivery is dead; the order waits for an operator",
				slog.String("order_id", string(l.order)), slog.Uint64("revision", to.Revision),
				slog.String("reason", to.Reason), slog.String("detail", to.Detail))
		}
		return
	}
	timer, cancel := context.WithCancel(ctx)
	l.stopTimer = cancel
	al := alarm{order: l.order, stamp: to.stamp}
	wait := max(to.NextAt.Sub(f.deps.Clock()), 0)
	f.workers.Go(func() {
		if f.deps.Wait(timer, wait) != nil {
			return
		}
		select {
		case f.alarms <- al:
		case <-timer.Done():
		}
	})
}

func (f *feed) count(b *blockade, by int) {
	switch {
	case b == nil:
		return
	case b.Dead:
		f.dead += by
		f.metrics.blocked.WithLabelValues(f.endpoint.ID, "dead").Set(float64(f.dead))
	default:
		f.blocked += by
		f.metrics.blocked.WithLabelValues(f.endpoint.ID, "waiting").Set(float64(f.blocked))
	}
}

// hold tells the server that what waits here is not lost, so that it does not
// redeliver it.
func (f *feed) hold() {
	if f.disabled {
		return
	}
	for _, l := range f.lanes {
		for _, a := range l.queue {
			_ = a.msg.InProgress() // a redelivery is harmless
		}
	}
}

// pull feeds the loop from one durable until ctx ends.
func (f *feed) pull(ctx context.Context, d *durable.Consumer) {
	for ctx.Err() == nil {
		err := d.Pull(ctx, max(f.cfg.PinTTL/4, time.Second), func(msg jetstream.Msg) {
			rec, err := f.deps.Log.DecodeMsg(msg)
			if err != nil {
				f.undecodable(ctx, msg, err)
				return
			}
			select {
			case f.intake <- &arrival{rec: rec, msg: msg, from: d}:
			case <-ctx.Done():
			}
		})
		if err != nil {
			f.logger.WarnContext(ctx, "notifications are not read", slog.String("stream", d.Stream), slog.Any("error", err))
			rest(ctx, time.Second)
		}
	}
}

// undecodable gives up an event that this version cannot read: no later attempt
// would be better. Verify finds such an event too.
func (f *feed) undecodable(ctx context.Context, msg jetstream.Msg, err error) {
	f.logger.ErrorContext(ctx, "an event cannot be read and is not told", slog.Any("error", err))
	f.metrics.attempts.WithLabelValues(f.endpoint.Kind, "undecodable").Inc()
	_ = msg.Term() // a redelivery only logs it again
}

// drain waits for the workers after ctx ended, for as long as the grace time;
// then it cancels their work.
func (f *feed) drain(ctx context.Context, cancelWork context.CancelFunc, watcher jetstream.KeyWatcher) {
	grace := time.AfterFunc(f.cfg.Grace, cancelWork)
	defer grace.Stop()
	for f.running > 0 {
		select {
		case r := <-f.results:
			f.apply(ctx, r)
		case _, ok := <-watcher.Updates(): // or its subscription would wait for us
			if !ok {
				watcher = closedWatcher{}
			}
		}
	}
	f.workers.Wait()
}

// release sends the last acknowledgements out and lets go of the durables.
func (f *feed) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Grace)
	defer cancel()
	if err := f.deps.JetStream.Conn().FlushWithContext(ctx); err != nil {
		f.logger.WarnContext(ctx, "the last acknowledgements may be lost", slog.Any("error", err))
	}
	for _, d := range f.durables {
		if err := d.Unpin(ctx); err != nil {
			f.logger.InfoContext(ctx, "the durable stays pinned for a while", slog.Any("error", err))
		}
	}
}

// rest waits for d of real time, or for ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
