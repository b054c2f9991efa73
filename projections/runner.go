package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Config tunes a Runner. The zero value is right for a server.
type Config struct {
	// Interval is the least time between two commits of a runner that is
	// caught up; events that come meanwhile share the next one. A commit makes
	// events visible; it writes to memory. Default 4 ms.
	Interval time.Duration `yaml:"interval"`
	// CatchUpInterval is the same while the runner is behind the log's head of
	// when it started: longer, because an order that changes several times in
	// one commit is written once. Default 500 ms.
	CatchUpInterval time.Duration `yaml:"catch_up_interval"`
	// MaxBatch is how many events make a commit due at once. Default 16,384.
	MaxBatch int `yaml:"max_batch"`
	// FlushInterval is the time between two writings of what changed to the
	// file, and so about what a start after a crash reads again of the log.
	// Default 1 s.
	FlushInterval time.Duration `yaml:"flush_interval"`
	// FlushBytes is how many bytes of changed keys and values are written at
	// once without waiting for FlushInterval. When the file cannot be written,
	// memory holds up to four times as many, and then the views wait. Default 32 MiB.
	FlushBytes int `yaml:"flush_bytes"`
	// CacheFacts bounds the facts of the orders that are kept in memory for the
	// next fold. Default 200,000, some 200 MB at worst.
	CacheFacts int `yaml:"cache_facts"`
	// BuildFrom is how many events a runner must be behind, at its start, to
	// build the whole file anew beside the old one, which is faster; it does so
	// when those are a fifth of the log at least. Default 20,000.
	BuildFrom int `yaml:"build_from"`
}

func (c *Config) setDefaults() {
	if c.Interval == 0 {
		c.Interval = 4 * time.Millisecond
	}
	if c.CatchUpInterval == 0 {
		c.CatchUpInterval = 500 * time.Millisecond
	}
	if c.MaxBatch == 0 {
		c.MaxBatch = 16_384
	}
	if c.FlushInterval == 0 {
		c.FlushInterval = time.Second
	}
	if c.FlushBytes == 0 {
		c.FlushBytes = 32 << 20
	}
	if c.CacheFacts == 0 {
		c.CacheFacts = 200_000
	}
	if c.BuildFrom == 0 {
		c.BuildFrom = 20_000
	}
}

// Validate joins everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	bad := func(field string, wrong bool) {
		if wrong {
			errs = append(errs, domain.Errorf(domain.Invalid, "%s: must not be negative", field))
		}
	}
	bad("interval", c.Interval < 0)
	bad("catch_up_interval", c.CatchUpInterval < 0)
	bad("max_batch", c.MaxBatch < 0)
	bad("flush_interval", c.FlushInterval < 0)
	bad("flush_bytes", c.FlushBytes < 0)
	bad("cache_facts", c.CacheFacts < 0)
	bad("build_from", c.BuildFrom < 0)
	return errors.Join(errs...)
}

// Deps is what a Runner needs of the process. All but Registerer are required.
type Deps struct {
	Log     Log
	Machine *order.Machine
	Clock   func() time.Time
	Logger  *slog.Logger
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
	// Committed is told of every commit once it is visible: the orders that it
	// changed, or nil when any may be another, as after a promotion. It is called from
	// one goroutine, which waits for it. nil: nobody is told.
	Committed func(changes []Change)
	// At is called at every [Point]: tests end the process there. nil: nobody is.
	At func(Point)
	// Building is called when a build begins, and what it returns when that has ended: a
	// build makes garbage faster than anything else. nil: nobody is told.
	Building func() (ended func())
	// OnlyLook leaves a build that an earlier process left where it is.
	OnlyLook bool
}

// Runner keeps the projections of a file up to date with the log.
type Runner struct {
	cfg     Config
	deps    Deps
	file    *File
	all     []Projection // the facts first
	folder  *folder
	metrics *metrics

	ready     chan struct{}
	answering chan struct{}
	answer    func()        // closes answering
	done      chan struct{} // closed when Run returned
	jobs      chan *job

	candidate bool // nobody reads its file yet
	anew      bool // its file is of other versions, and is not followed into
	counted   *counted

	mu       sync.Mutex
	marks    []mark // by partition; visible
	position domain.Position
	newest   time.Time     // when the newest event that was committed was recorded; zero: before Run
	changed  chan struct{} // closed at every commit, then replaced
	starting time.Time     // when the build at the start began; zero: there is none now
	operator operator
	outdated outdated
}

// New is a runner of facts and views on file. A file of other versions of them
// is emptied here, which later rebuilds it, or stands still: see [Runner.Outdated]. The
// error's kind is Corrupt when the file belongs to another log. Nothing may read the
// file before New returns.
func New(cfg Config, deps Deps, file *File, facts Facts, views ...Projection) (*Runner, error) {
	return newRunner(cfg, deps, file, false, facts, views)
}

func newRunner(cfg Config, deps Deps, file *File, isCandidate bool, facts Facts, views []Projection) (*Runner, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure the views: %w", err)
	}
	r := &Runner{
		cfg: cfg, deps: deps, file: file, candidate: isCandidate,
		all:       append([]Projection{facts}, views...),
		marks:     make([]mark, deps.Log.Partitions()),
		ready:     make(chan struct{}),
		answering: make(chan struct{}),
		done:      make(chan struct{}),
		changed:   make(chan struct{}),
		jobs:      make(chan *job), counted: new(counted),
	}
	r.answer = sync.OnceFunc(func() { close(r.answering) })
	r.operator.begin = make(chan *candidate, 1)
	h, err := r.adopt()
	if err != nil {
		return nil, err
	}
	for partition, m := range h.marks {
		if partition >= len(r.marks) {
			return nil, domain.Errorf(domain.Corrupt, "the views %s have read partition %d; the log has %d partitions",
				file.path, partition, len(r.marks))
		}
		r.marks[partition] = m
	}
	r.position = positionOf(r.marks)
	r.folder = &folder{
		machine: deps.Machine, facts: facts,
		recent: newCache(uint64(cfg.CacheFacts)), //nolint:gosec // validated: not negative
		parked: h.parked, skipped: h.skipped,
	}
	r.metrics, err = newMetrics(deps.Registerer, r)
	if err != nil {
		return nil, err
	}
	r.metrics.parked.Set(float64(len(h.parked)))
	return r, nil
}

// adopt makes the file one of this log and these versions.
func (r *Runner) adopt() (header, error) {
	identity := r.deps.Log.Identity()
	h, err := r.file.header(r.deps.Machine.Version(), r.all)
	if err != nil {
		return header{}, err
	}
	if h.identity != "" && h.identity != identity {
		return header{}, domain.Errorf(domain.Corrupt,
			"the views %s are of log %s; this is log %s; delete the file to build them of this one", r.file.path, h.identity, identity)
	}
	if h.identity != "" && len(h.stale) > 0 {
		switch {
		case r.deps.OnlyLook && len(h.marks) > 0:
			r.anew = true // and what is there stays until that is built
			return header{parked: map[domain.OrderID]struct{}{}, skipped: h.skipped}, nil
		case h.legible && len(h.marks) > 0 && !r.candidate:
			r.outdated = outdated{why: ofOlderVersions, versions: h.versions}
			r.answer()
			return h, nil
		}
		if h, err = r.renew(h); err != nil {
			return header{}, err
		}
	}
	if err := r.file.prepare(identity, r.deps.Machine.Version(), r.all); err != nil {
		return header{}, fmt.Errorf("prepare the views %s: %w", r.file.path, err)
	}
	return h, nil
}

// renew puts the previous file in the place of one whose rows mean nothing, or an empty
// one.
func (r *Runner) renew(h header) (header, error) {
	if !r.candidate {
		if back, ok := r.takeBack(&h); ok {
			r.deps.Logger.Info("views have another version; the previous ones have the right one and are back", "views", h.stale)
			return back, nil
		}
	}
	r.deps.Logger.Info("views have another version and are rebuilt from the log", "views", h.stale)
	if err := r.file.reset(); err != nil {
		return header{}, err
	}
	return header{parked: map[domain.OrderID]struct{}{}, skipped: h.skipped}, r.file.carry(h.skipped)
}

// Ready is closed when the views hold everything that was in the log when Run
// was called, and the log everything that the views held.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Position is what the views hold.
func (r *Runner) Position() domain.Position {
	position, _ := r.now()
	return position
}

// Wait blocks until the views hold position. Components that position does not
// name are not waited for. The error is the context's, or of kind Invalid for a
// partition that the log does not have, or Unavailable when the runner ended.
func (r *Runner) Wait(ctx context.Context, position domain.Position) error {
	if position.Partitions() > len(r.marks) {
		return domain.Errorf(domain.Invalid, "position %s: the log has %d partitions", position, len(r.marks))
	}
	for {
		current, changed := r.now()
		if current.Covers(position) {
			return nil
		}
		select {
		case <-changed:
		case <-r.done:
			return fmt.Errorf("wait for the views: %w", errStopped())
		case <-ctx.Done():
			return fmt.Errorf("wait for the views to hold position %s: %w", position, ctx.Err())
		}
	}
}

// visible is a copy of the marks.
func (r *Runner) visible() []mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.marks)
}

func (r *Runner) now() (domain.Position, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position, r.changed
}

// Run follows the log until ctx ends, which is no error, or until the views can
// not go on: the error is then of kind Corrupt, or whatever the log or the file
// failed with. It may be called once. The file stays open.
func (r *Runner) Run(ctx context.Context) error {
	defer close(r.done)
	head, err := r.headNow(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	begin := func() error { return r.catchUp(ctx, head) }
	if r.isOutdated() {
		begin = func() error { return r.stillThere(ctx) }
	}
	if err := begin(); err != nil {
		return ended(ctx, err)
	}
	group, within := errgroup.WithContext(ctx)
	if !r.candidate {
		group.Go(func() error {
			r.operate(within)
			return within.Err()
		})
	}
	group.Go(func() error { return r.follow(within, head) })
	return ended(ctx, group.Wait())
}

// ended is err, but nil when the caller ended the run.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	return err
}

// headNow is the log's head, which it asks for until it is answered.
func (r *Runner) headNow(ctx context.Context) (domain.Position, error) {
	var head domain.Position
	err := r.persist(ctx, "log head is not known; asking again", func() error {
		var err error
		head, err = r.deps.Log.Head(ctx)
		return err
	})
	return head, err
}

// Between two tries of what may work again.
const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// persist calls try until its error is nil or not of kind Unavailable.
func (r *Runner) persist(ctx context.Context, message string, try func() error) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		err := try()
		if err == nil || ctx.Err() != nil || domain.KindOf(err) != domain.Unavailable {
			return err
		}
		r.deps.Logger.Warn(message, "error", err) //nolint:sloglint // the callers' messages are constant
		if err := pause(ctx, backoff); err != nil {
			return err
		}
	}
}

// pause waits for d or the end of ctx, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func positionOf(marks []mark) domain.Position {
	var p domain.Position
	for partition, m := range marks {
		if m.sequence > 0 {
			p = p.With(partition, m.sequence)
		}
	}
	return p
}
