package scrub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"comanda.internal/domain"
)

// Config tunes a Scrubber. The zero value is right for a server.
type Config struct {
	// EventsPerSecond bounds how fast the log is read. Default 500.
	EventsPerSecond int `yaml:"events_per_second"`
	// PercentOfTime bounds how much of the time it works: where the machine is busy a check
	// takes longer, and it rests longer in turn, up to Interval. Default 10; 100 bounds nothing.
	PercentOfTime int `yaml:"percent_of_time"`
	// Interval is how long it rests when everything is proven, or after a check
	// that could not be made, and at most otherwise. Default 30 s.
	Interval time.Duration `yaml:"interval"`
	// Again is how long after a round began the next one does, from the
	// beginning of the log, once this one has come to its end. Default 7 days.
	Again time.Duration `yaml:"again"`
	// Slice is how many events are proven at a time; what is remembered is
	// written after each. Default 2,048.
	Slice int `yaml:"slice"`
}

func (c *Config) setDefaults() {
	if c.EventsPerSecond == 0 {
		c.EventsPerSecond = 500
	}
	if c.PercentOfTime == 0 {
		c.PercentOfTime = 10
	}
	if c.Interval == 0 {
		c.Interval = 30 * time.Second
	}
	if c.Again == 0 {
		c.Again = 7 * 24 * time.Hour
	}
	if c.Slice == 0 {
		c.Slice = 2048
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
	bad("events_per_second", c.EventsPerSecond < 0)
	if c.PercentOfTime < 0 || c.PercentOfTime > 100 {
		errs = append(errs, domain.Errorf(domain.Invalid, "percent_of_time: must be from 1 to 100"))
	}
	bad("interval", c.Interval < 0)
	bad("again", c.Again < 0)
	bad("slice", c.Slice < 0)
	return errors.Join(errs...)
}

// Log is what a Scrubber asks of the log.
type Log interface {
	Identity() string
	Epoch() uint64
	Partitions() int
	// HashAt is the hash of the event at a place; NotFound when there is none
	// that can be read.
	HashAt(ctx context.Context, partition int, sequence uint64) ([32]byte, error)
}

// Result is what one check found.
type Result struct {
	Events uint64
	Head   domain.Position // up to which the log was read
	// Problems is how many there are, Texts some of them in words: rule, place,
	// order, and nothing personal.
	Problems uint64
	Texts    []string
}

// Deps is what a Scrubber needs of the process. All but Registerer are required.
type Deps struct {
	Log Log
	// Verify proves at most limit events after since.
	Verify func(ctx context.Context, since domain.Position, limit uint64) (Result, error)
	Clock  func() time.Time
	Logger *slog.Logger
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
}

// Scrubber proves the log in the background. Its methods are safe for concurrent use.
type Scrubber struct {
	cfg     Config
	deps    Deps
	path    string
	limiter *rate.Limiter
	metrics *metrics
	reached bool // the last check came to the end of the log; for Run alone

	mu     sync.Mutex
	memory Memory
}

// New is a scrubber that keeps what it remembers in the file at path. memory is
// what [Load] read there; that of another log, or of another epoch of it, is dropped.
func New(cfg Config, deps Deps, path string, memory Memory) (*Scrubber, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure the scrub: %w", err)
	}
	if memory.Log != deps.Log.Identity() || memory.Epoch != deps.Log.Epoch() {
		memory = Memory{Log: deps.Log.Identity(), Epoch: deps.Log.Epoch()}
	}
	if memory.RoundBegan.IsZero() {
		memory.RoundBegan = deps.Clock()
	}
	s := &Scrubber{
		cfg: cfg, deps: deps, path: path, memory: memory,
		limiter: rate.NewLimiter(rate.Limit(cfg.EventsPerSecond), cfg.Slice),
	}
	var err error
	if s.metrics, err = newMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	s.metrics.show(&memory)
	return s, nil
}

// Run scrubs until ctx ends, which is no error. A check that cannot be made is
// logged and tried again.
func (s *Scrubber) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		more, err := s.slice(ctx)
		if err != nil && ctx.Err() == nil {
			s.deps.Logger.WarnContext(ctx, "log cannot be scrubbed now; trying again", "error", err)
		}
		if !more {
			rest(ctx, s.cfg.Interval)
		}
	}
	return nil
}

// slice proves what comes next, and reports whether there may be more.
func (s *Scrubber) slice(ctx context.Context) (more bool, err error) {
	next := s.now()
	// A round that never came to the end would leave the newest events for ever.
	if s.reached && s.deps.Clock().Sub(next.RoundBegan) >= s.cfg.Again {
		next.begin(s.deps.Clock())
	}
	began := s.deps.Clock()
	result, err := s.deps.Verify(ctx, next.Cursor, uint64(s.cfg.Slice)) //nolint:gosec // validated: not negative
	if err != nil {
		return false, err
	}
	s.reached = result.Events < uint64(s.cfg.Slice) //nolint:gosec // as above
	if result.Events == 0 && result.Head.Equal(next.Cursor) && result.Problems == 0 {
		return false, nil
	}
	for _, text := range result.Texts {
		s.deps.Logger.ErrorContext(ctx, "the scrub found a problem in the log or its views", "problem", text)
	}
	if err := s.remember(ctx, &next, &result); err != nil {
		return false, err
	}
	// Waiting afterwards, for what was read, lets a short log be proven at once.
	worked := s.deps.Clock().Sub(began)
	rest(ctx, min(worked*time.Duration(100-s.cfg.PercentOfTime)/time.Duration(s.cfg.PercentOfTime), s.cfg.Interval))
	err = s.limiter.WaitN(ctx, int(min(result.Events, uint64(s.cfg.Slice)))) //nolint:gosec // at most Slice
	return err == nil, err
}

// begin starts a round at the beginning of the log.
func (m *Memory) begin(now time.Time) {
	m.RoundBegan, m.Cursor = now, domain.Position{}
	m.Before, m.Found = m.Found, 0
	if m.Before == 0 {
		m.First = ""
	}
}

// remember adds result to what is remembered, in the file before in memory.
func (s *Scrubber) remember(ctx context.Context, next *Memory, result *Result) error {
	before := next.Cursor
	next.Cursor, next.VerifiedAt = result.Head, s.deps.Clock()
	if result.Problems > 0 && next.Found == 0 && len(result.Texts) > 0 {
		next.First = result.Texts[0]
	}
	next.Found += result.Problems
	for p := range s.deps.Log.Partitions() {
		if result.Head.At(p) == before.At(p) {
			continue
		}
		hash, err := s.deps.Log.HashAt(ctx, p, result.Head.At(p))
		switch {
		case domain.KindOf(err) == domain.NotFound: // a hole, which is among the problems
		case err != nil:
			return err
		default:
			next.mark(p, result.Head.At(p), hash)
		}
	}
	if err := next.save(s.path); err != nil {
		return fmt.Errorf("write what the scrub remembers: %w", err)
	}
	s.metrics.found(result)
	s.metrics.show(next)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = *next
	return nil
}

// now is a copy of what is remembered, marks and all.
func (s *Scrubber) now() Memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.memory
	m.Marks = append([]Mark(nil), m.Marks...)
	return m
}

// Problems is how many problems this round of the scrub or the last one found,
// and one of them in words.
func (s *Scrubber) Problems() (n uint64, first string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.memory.Found, s.memory.Before), s.memory.First
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// metrics are the scrub's. They exist whether or not anybody registered them.
type metrics struct {
	events   prometheus.Counter
	problems prometheus.Counter
	known    prometheus.Gauge
	verified prometheus.Gauge
	sequence *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_scrub_events_total", Help: "Events that the scrub has proven since the start of the process.",
		}),
		problems: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_scrub_problems_total", Help: "Problems that the scrub has found since the start of the process.",
		}),
		known: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_scrub_known_problems", Help: "Problems found by this round of the scrub or the last one, whichever found more; remembered across restarts.",
		}),
		verified: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_scrub_verified_timestamp_seconds", Help: "When the scrub last proved something; 0: never.",
		}),
		sequence: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "comanda_scrub_verified_sequence", Help: "The furthest event that the scrub has proven, by partition.",
		}, []string{"partition"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.events, m.problems, m.known, m.verified, m.sequence} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the scrub's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) found(r *Result) {
	m.events.Add(float64(r.Events))
	m.problems.Add(float64(r.Problems))
}

func (m *metrics) show(memory *Memory) {
	m.known.Set(float64(max(memory.Found, memory.Before)))
	if !memory.VerifiedAt.IsZero() {
		m.verified.Set(float64(memory.VerifiedAt.Unix()))
	}
	for _, mark := range memory.Marks {
		m.sequence.WithLabelValues(strconv.Itoa(mark.Partition)).Set(float64(mark.Sequence))
	}
}
