package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/durable"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// Bucket is the KV bucket that holds the groups and what they hold.
const Bucket = "GROUPS"

// Config tunes all groups. The zero value is right.
type Config struct {
	// Replicas of the bucket, as the log's; 0 is 1.
	Replicas int
	// AckWait is how long JetStream waits for a process that died, or was stopped with
	// the server; 0 is 10 s.
	AckWait time.Duration
	// PinTTL is how long JetStream keeps a durable for a process that died before
	// another gets its events; 0 is 20 s, and it is at least 2 s.
	PinTTL time.Duration
	// MaxAckPending is how many events of a partition a group may have taken and not
	// settled or held; 0 is 2,048.
	MaxAckPending int
	// MaxHeld is how many orders of a group may be held before it is given no new
	// event; 0 is 10,000.
	MaxHeld int
	// Tick is how often deadlines are looked at; 0 is 250 ms.
	Tick time.Duration
	// Grace is how long what is under way may take when the last member leaves; 0 is 5 s.
	Grace time.Duration
}

func (c *Config) setDefaults() {
	c.AckWait = cmp.Or(c.AckWait, 10*time.Second)
	c.PinTTL = max(cmp.Or(c.PinTTL, 20*time.Second), 2*time.Second)
	c.MaxAckPending = cmp.Or(c.MaxAckPending, 2048)
	c.MaxHeld = cmp.Or(c.MaxHeld, 10_000)
	c.Tick = cmp.Or(c.Tick, 250*time.Millisecond)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
}

// Log is what groups need of the log.
type Log interface {
	// DecodeMsg reads a message of a partition's stream.
	DecodeMsg(msg jetstream.Msg) (domain.Recorded, error)
	// Order is the order's events by revision, from 1 without holes.
	Order(ctx context.Context, id domain.OrderID) ([]domain.Recorded, error)
}

// Deps is what groups work with. All but AfterCreate and Registerer is required.
type Deps struct {
	JetStream jetstream.JetStream
	Log       Log
	// Match reads a group's filter.
	Match  func(filter []byte) (func(*ring.Entry) bool, error)
	Clock  func() time.Time
	Logger *slog.Logger
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// AfterCreate runs when the bucket or a durable was created (natsnode's
	// SyncDirs); nil: nothing.
	AfterCreate func() error
}

// Groups are the groups of one log. Its methods may be called from any goroutine. It
// has nothing to close: what runs, runs while there are members.
type Groups struct {
	cfg     Config
	deps    Deps
	kv      jetstream.KeyValue
	book    durable.Book
	metrics *metrics

	mu    sync.Mutex
	desks map[string]*desk
}

// Open finds or makes the bucket.
func Open(ctx context.Context, cfg Config, deps Deps) (*Groups, error) {
	cfg.setDefaults()
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	kv, created, err := durable.OpenBucket(ctx, deps.JetStream, Bucket, "consumer groups, and what they hold", cfg.Replicas)
	if err != nil {
		return nil, fmt.Errorf("open the consumer groups: %w", err)
	}
	if created && deps.AfterCreate != nil {
		if err := deps.AfterCreate(); err != nil {
			return nil, fmt.Errorf("after bucket %s was made: %w", Bucket, err)
		}
	}
	return &Groups{
		cfg: cfg, deps: deps, kv: kv, book: durable.Book{KV: kv, Prefix: groupPrefix}, metrics: m, desks: map[string]*desk{},
	}, nil
}

// Create makes a group that begins after a place in the log. The error's kind is
// Exists when there is one of its name, and Invalid when it breaks a bound.
func (g *Groups) Create(ctx context.Context, group Group, after domain.Position) (Group, error) {
	group.setDefaults()
	if err := g.validate(&group); err != nil {
		return Group{}, err
	}
	group.CreatedAt = g.deps.Clock().UTC()
	r := &record{Group: group, Generation: group.CreatedAt.UnixMilli(), After: vector(after)}
	old := new(record)
	switch stamp, err := g.book.Get(ctx, group.Name, old); {
	case err != nil:
		return Group{}, fmt.Errorf("make group %s: %w", group.Name, err)
	case stamp != 0 && old.Deleting:
		return Group{}, domain.Errorf(domain.Exists, "group %s: its removal was not finished: remove it again", group.Name)
	case stamp != 0:
		return Group{}, domain.Errorf(domain.Exists, "group %s: there is one", group.Name)
	}
	stamp, err := g.book.Put(ctx, group.Name, r, 0)
	if errors.Is(err, durable.ErrChanged) {
		return Group{}, domain.Errorf(domain.Exists, "group %s: there is one", group.Name)
	}
	if err != nil {
		return Group{}, fmt.Errorf("make group %s: %w", group.Name, err)
	}
	r.stamp = stamp
	_, err = g.open(ctx, r) // now, so that the server counts what it lags
	return group, err
}

func (g *Groups) validate(group *Group) error {
	_, err := g.deps.Match(group.Filter)
	switch {
	case !ValidName(group.Name):
		return domain.Errorf(domain.Invalid, "group %q: the name must be 1 to 40 of a-z, 0-9 and -", group.Name)
	case group.AckWait < MinAckWait || group.AckWait > MaxAckWait:
		return domain.Errorf(domain.Invalid, "group %s: the wait for an answer must be %s to %s", group.Name, MinAckWait, MaxAckWait)
	case group.MaxDeliveries < 1 || group.MaxDeliveries > MaxDeliveries:
		return domain.Errorf(domain.Invalid, "group %s: deliveries must be 1 to %d", group.Name, MaxDeliveries)
	case err != nil:
		return fmt.Errorf("group %s: %w", group.Name, err)
	default:
		return nil
	}
}

// vector is p as a record has it.
func vector(p domain.Position) []uint64 {
	after := make([]uint64, p.Partitions())
	for i := range after {
		after[i] = p.At(i)
	}
	return after
}

// Get is a group. The error's kind is NotFound when there is none.
func (g *Groups) Get(ctx context.Context, name string) (Group, error) {
	r, err := g.read(ctx, name)
	if err != nil {
		return Group{}, err
	}
	return r.Group, nil
}

// Seek moves a group to another place, as if it had been made there: what is given
// or held is forgotten, and the members' streams end.
func (g *Groups) Seek(ctx context.Context, name string, after domain.Position) error {
	r, err := g.read(ctx, name)
	if err != nil {
		return err
	}
	r.Generation, r.After = max(r.Generation+1, g.deps.Clock().UnixMilli()), vector(after)
	if r.stamp, err = g.book.Put(ctx, name, r, r.stamp); err != nil {
		return changed(name, err)
	}
	if _, err := g.open(ctx, r); err != nil {
		return err
	}
	return g.sweep(ctx, name, r)
}

// changed is what to say of a record that could not be stored.
func changed(name string, err error) error {
	if errors.Is(err, durable.ErrChanged) {
		return domain.Errorf(domain.Unavailable, "group %s: somebody else changed it at the same time; try again", name)
	}
	return fmt.Errorf("change group %s: %w", name, err)
}

// Delete removes a group and all that is kept of it. One whose removal was not finished
// may be removed again.
func (g *Groups) Delete(ctx context.Context, name string) error {
	r := new(record)
	var err error
	if r.stamp, err = g.book.Get(ctx, name, r); err != nil {
		return fmt.Errorf("read group %s: %w", name, err)
	}
	if r.stamp == 0 {
		return domain.Errorf(domain.NotFound, "group %s: there is none", name)
	}
	r.Deleting = true // no desk opens it any more, and those that have it end
	if r.stamp, err = g.book.Put(ctx, name, r, r.stamp); err != nil {
		return changed(name, err)
	}
	g.await(ctx, name)
	if err := g.sweep(ctx, name, nil); err != nil {
		return err
	}
	if err := g.book.Remove(ctx, name, r.stamp); err != nil {
		return changed(name, err)
	}
	return nil
}

// await waits for the group's desk in this process, which is about to end.
func (g *Groups) await(ctx context.Context, name string) {
	g.mu.Lock()
	d := g.desks[name]
	g.mu.Unlock()
	if d == nil {
		return
	}
	select {
	case <-d.ended:
	case <-ctx.Done():
	}
}

// Join makes a member that has at most so many events unanswered, of the tenants that
// allows says. Whoever joins must leave. The error's kind is NotFound when there is no such
// group.
func (g *Groups) Join(ctx context.Context, name string, credits int, allows func(domain.TenantID) bool) (*Member, Group, error) {
	for {
		d, err := g.desk(ctx, name)
		if err != nil {
			return nil, Group{}, err
		}
		m := newMember(d, credits, allows)
		if d.do(func() { d.join(m) }) {
			return m, d.record.Group, nil
		}
		g.leave(d) // it ended meanwhile
		if <-d.ended; d.closing == ClosingFailed {
			return nil, Group{}, domain.Errorf(domain.Unavailable, "group %s: its events cannot be read now", name)
		}
		if err := ctx.Err(); err != nil {
			return nil, Group{}, err //nolint:wrapcheck // the caller's own
		}
	}
}

// desk is the group's, which is begun when there is none. It counts one more user.
func (g *Groups) desk(ctx context.Context, name string) (*desk, error) {
	for {
		g.mu.Lock()
		d := g.desks[name]
		if d != nil && !d.ending() {
			d.users++
			g.mu.Unlock()
			return d, nil
		}
		g.mu.Unlock()
		if d == nil {
			d, err := g.begin(ctx, name)
			if d != nil || err != nil {
				return d, err
			}
			continue // somebody else did
		}
		select {
		case <-d.ended:
			g.forget(d)
		case <-ctx.Done():
			return nil, ctx.Err() //nolint:wrapcheck // the caller's own
		}
	}
}

// begin begins a desk; nil when there is one meanwhile.
func (g *Groups) begin(ctx context.Context, name string) (*desk, error) {
	r, err := g.read(ctx, name)
	if err != nil {
		return nil, err
	}
	wants, err := g.deps.Match(r.Filter)
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.desks[name] != nil {
		return nil, nil //nolint:nilnil // the caller looks again
	}
	d := newDesk(g, r, wants)
	d.users = 1
	g.desks[name] = d
	var run context.Context
	run, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go d.run(run)
	return d, nil
}

func (g *Groups) forget(d *desk) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.desks[d.record.Name] == d {
		delete(g.desks, d.record.Name)
	}
}

// leave counts one user less. Without any the desk ends, and is waited for.
func (g *Groups) leave(d *desk) {
	g.mu.Lock()
	d.users--
	last := d.users == 0
	if last {
		d.cancel()
	}
	g.mu.Unlock()
	if last {
		<-d.ended
		g.forget(d)
	}
}
