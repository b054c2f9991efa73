package groups

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

const (
	// maxWorkers is how many lanes may read or write at once.
	maxWorkers = 32
	// remembered is how many orders at least a desk remembers to have settled.
	remembered = 1 << 14
	// recheck is how long a failed look at the log or the bucket is let rest.
	recheck = 250 * time.Millisecond
)

// desk gives one group's events to its members in this process. All its state belongs
// to its loop, run; pullers, workers and members talk to it by channels.
type desk struct {
	groups *Groups
	record *record
	wants  func(*ring.Entry) bool
	logger *slog.Logger
	holds  holds
	cancel context.CancelFunc
	users  int // under the groups' lock

	durables []*durable.Consumer
	intake   chan *arrival
	commands chan func()
	results  chan func()
	stopping chan struct{} // closed: no commands are taken any more
	ended    chan struct{}
	workers  sync.WaitGroup

	lanes    map[domain.OrderID]*lane
	settled  *memory
	jobs     []func(context.Context) func()
	todo     []*lane // have something to read or write
	waiting  []*lane // have an event to give
	running  int
	held     int          // lanes with a hold
	pleas    map[int]plea // ours, by partition
	members  []*Member
	turn     int // the member that is asked first
	closing  string
	draining bool

	prefix string // of this desk's deliveries
	serial uint64
}

// arrival is an event as a durable delivered it.
type arrival struct {
	rec  domain.Recorded
	msg  jetstream.Msg
	from *durable.Consumer
}

func newDesk(g *Groups, r *record, wants func(*ring.Entry) bool) *desk {
	return &desk{
		groups: g, record: r, wants: wants, logger: g.deps.Logger.With(slog.String("group", r.Name)),
		holds:  holds{durable.Book{KV: g.kv, Prefix: r.holds()}},
		intake: make(chan *arrival), commands: make(chan func()), results: make(chan func()),
		stopping: make(chan struct{}), ended: make(chan struct{}),
		lanes: map[domain.OrderID]*lane{}, settled: newMemory(remembered), pleas: map[int]plea{}, prefix: rand.Text()[:8] + "-",
	}
}

// ending reports whether the desk takes no members any more. The groups' lock is held.
func (d *desk) ending() bool {
	select {
	case <-d.stopping:
		return true
	default:
		return d.users == 0
	}
}

// do has the loop run f; false: it ended.
func (d *desk) do(f func()) bool {
	select {
	case d.commands <- f:
		return true
	case <-d.stopping:
		return false
	}
}

func (d *desk) now() time.Time { return d.groups.deps.Clock() }

// run is the loop. It ends when ctx has ended, or the group was moved, removed or
// cannot be read, and then no worker is busy.
func (d *desk) run(ctx context.Context) {
	defer close(d.ended)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work, cancelWork := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelWork()
	watcher, err := d.open(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.logger.ErrorContext(ctx, "a consumer group cannot be opened", slog.Any("error", err))
		}
		d.end(ClosingFailed)
	} else {
		pull, stop := context.WithCancel(ctx)
		for _, c := range d.durables {
			d.workers.Go(func() { d.pull(pull, c) })
		}
		d.loop(ctx, work, watcher.Updates())
		stop()
	}
	close(d.stopping)
	for _, m := range d.members {
		m.tell(func() { m.closing = cmp.Or(d.closing, ClosingFailed) })
	}
	d.drain(work, cancelWork, watcher)
	d.release(context.WithoutCancel(ctx))
}

// open finds or makes the durables, and reads what is held, so that no event can
// overtake it.
func (d *desk) open(ctx context.Context) (jetstream.KeyWatcher, error) {
	var err error
	if d.durables, err = d.groups.open(ctx, d.record); err != nil {
		return nil, err
	}
	watcher, err := d.groups.kv.WatchFiltered(ctx, []string{groupPrefix + d.record.Name, d.record.holds() + ">", d.record.pleas() + ">"})
	if err != nil {
		return nil, err //nolint:wrapcheck // logged at once
	}
	entries, err := initial(ctx, watcher)
	if err != nil {
		_ = watcher.Stop() // the error is what counts
		return nil, err
	}
	for _, entry := range entries {
		d.changed(ctx, entry)
	}
	return watcher, nil
}

func (d *desk) loop(ctx, work context.Context, updates <-chan jetstream.KeyValueEntry) {
	beat := time.NewTicker(d.groups.cfg.AckWait / 3)
	defer beat.Stop()
	tick := time.NewTicker(d.groups.cfg.Tick)
	defer tick.Stop()
	for ctx.Err() == nil && d.closing == "" {
		d.give()
		d.start(work)
		select {
		case a := <-d.intake:
			d.arrived(a)
		case entry, ok := <-updates:
			if !ok { // the connection was closed
				d.end(ClosingFailed)
				continue
			}
			d.changed(ctx, entry)
		case f := <-d.commands:
			f()
		case f := <-d.results:
			f()
		case <-tick.C:
			d.look()
		case <-beat.C:
			d.hold()
		case <-ctx.Done():
		}
	}
}

// end has the loop end, and says why.
func (d *desk) end(reason string) {
	if d.closing == "" {
		d.closing = reason
	}
}

func (d *desk) lane(id domain.OrderID) *lane {
	l, ok := d.lanes[id]
	if !ok {
		l = &lane{order: id}
		d.lanes[id] = l
	}
	return l
}

func (d *desk) arrived(a *arrival) {
	l := d.lane(a.rec.Event.OrderID)
	l.insert(a)
	if l.queue[0] == a {
		l.restsUntil = time.Time{} // it may be the predecessor that is waited for
	}
	d.settle(l)
}

// changed takes over a record of the bucket: at the start, when another process or an
// operator changed it, and when we did.
func (d *desk) changed(ctx context.Context, entry jetstream.KeyValueEntry) {
	if entry == nil {
		return
	}
	switch {
	case strings.HasPrefix(entry.Key(), d.record.holds()):
		d.changedHold(ctx, entry)
	case !strings.HasPrefix(entry.Key(), d.record.pleas()):
		d.regroup(entry)
	case !durable.Removed(entry):
		if err := d.heed(entry); err != nil {
			d.logger.ErrorContext(ctx, "what is asked to be held cannot be read", slog.Any("error", err))
		}
	}
}

func (d *desk) changedHold(ctx context.Context, entry jetstream.KeyValueEntry) {
	to, err := readHold(entry)
	if err != nil {
		d.logger.ErrorContext(ctx, "a held event cannot be read", slog.String("key", entry.Key()), slog.Any("error", err))
		return
	}
	l := d.lane(domain.OrderID(d.holds.ID(entry)))
	n := news{to: to, stamp: entry.Revision()}
	if l.busy || l.flight != nil {
		l.news = &n
		return
	}
	d.adopt(l, n)
	d.settle(l)
}

// adopt takes over what is newer than what the lane knows.
func (d *desk) adopt(l *lane, n news) {
	if n.stamp > l.stamp {
		d.block(l, n.to, n.stamp)
	}
}

// block sets what l holds, nil for nothing. What waits behind it is acknowledged: the
// log holds it.
func (d *desk) block(l *lane, to *hold, stamp uint64) {
	if l.hold != nil {
		d.held--
	}
	if to != nil {
		d.held++
	}
	l.hold, l.stamp = to, max(stamp, l.stamp)
	if to != nil {
		l.through(to.Seen)
	}
}

// regroup ends the desk when the group is not what it was.
func (d *desk) regroup(entry jetstream.KeyValueEntry) {
	r := new(record)
	switch {
	case durable.Removed(entry):
		d.end(ClosingDeleted)
	case durable.Decode(entry, r) != nil:
		d.end(ClosingFailed)
	case r.Deleting:
		d.end(ClosingDeleted)
	case r.Generation != d.record.Generation:
		d.end(ClosingMoved)
	}
}

// hold tells the server that what waits here is not lost, so that it does not
// redeliver it.
func (d *desk) hold() {
	for _, l := range d.lanes {
		for _, a := range l.queue {
			_ = a.msg.InProgress() // a redelivery is harmless
		}
	}
}

// pull feeds the loop from one durable until ctx ends.
func (d *desk) pull(ctx context.Context, c *durable.Consumer) {
	for ctx.Err() == nil {
		err := c.Pull(ctx, max(d.groups.cfg.PinTTL/4, time.Second), func(msg jetstream.Msg) {
			rec, err := d.groups.deps.Log.DecodeMsg(msg)
			if err != nil {
				// No later attempt would be better. Verify finds such an event too.
				d.logger.ErrorContext(ctx, "an event cannot be read and is not given", slog.Any("error", err))
				_ = msg.Term() // a redelivery only logs it again
				return
			}
			select {
			case d.intake <- &arrival{rec: rec, msg: msg, from: c}:
			case <-ctx.Done():
				_ = msg.Nak() // otherwise it comes again later
			}
		})
		if err != nil {
			d.logger.WarnContext(ctx, "a group's events are not read", slog.String("stream", c.Stream), slog.Any("error", err))
			rest(ctx, time.Second)
		}
	}
}

// drain lets the workers store what members answered, for as long as the grace
// time; then it cancels them.
func (d *desk) drain(work context.Context, cancelWork context.CancelFunc, watcher jetstream.KeyWatcher) {
	d.draining = true
	grace := time.AfterFunc(d.groups.cfg.Grace, cancelWork)
	defer grace.Stop()
	var updates <-chan jetstream.KeyValueEntry
	if watcher != nil {
		updates = watcher.Updates()
	}
	for d.start(work); d.running > 0; d.start(work) {
		select {
		case f := <-d.results:
			f()
		case _, ok := <-updates: // or its subscription would wait for us
			if !ok {
				updates = nil
			}
		}
	}
	d.workers.Wait()
	if watcher != nil {
		_ = watcher.Stop() // the subscription dies with its connection anyway
	}
}

// release gives back what was not settled, and lets go of the durables, so that
// whoever is next has it at once.
func (d *desk) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.groups.cfg.Grace)
	defer cancel()
	var left []*arrival
	for _, l := range d.lanes {
		left = append(left, l.queue...)
	}
	slices.SortFunc(left, func(a, b *arrival) int { return cmp.Compare(a.rec.Sequence, b.rec.Sequence) })
	for _, a := range left {
		_ = a.msg.Nak() // otherwise it comes again later
	}
	if err := d.groups.deps.JetStream.Conn().FlushWithContext(ctx); err != nil {
		d.logger.WarnContext(ctx, "the last acknowledgements may be lost", slog.Any("error", err))
	}
	if d.closing == ClosingDeleted || d.closing == ClosingMoved {
		return // the durables go too
	}
	for _, c := range d.durables {
		if err := c.Unpin(ctx); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			d.logger.InfoContext(ctx, "the durable stays pinned for a while", slog.Any("error", err))
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
