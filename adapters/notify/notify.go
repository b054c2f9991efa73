package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// Log is what a notifier needs of the log.
type Log interface {
	// DecodeMsg reads a message of a partition's stream.
	DecodeMsg(msg jetstream.Msg) (domain.Recorded, error)
	// Order is the order's events by revision, from 1 without holes.
	Order(ctx context.Context, id domain.OrderID) ([]domain.Recorded, error)
}

// Config says whom to tell, and how hard to try.
type Config struct {
	Endpoints []Endpoint
	// Replicas of the bucket that holds blocked orders, as the log's; 0 is 1.
	Replicas int
	// Schedule of attempts; nil is [delivery.DefaultSchedule].
	Schedule delivery.Schedule
	// MaxBlocked is how many orders of one endpoint may be blocked before no new
	// event is taken for it; 0 is 1,000.
	MaxBlocked int
	// AckWait is how long JetStream waits for a process that died; 0 is 30 s.
	AckWait time.Duration
	// PinTTL is how long JetStream keeps a durable for a process that died before
	// another gets its events; 0 is 20 s, and it is at least 2 s.
	PinTTL time.Duration
	// Grace is how long attempts may go on when the notifier is stopped; 0 is 5 s.
	Grace time.Duration
}

func (c *Config) setDefaults() {
	if c.Schedule == nil {
		c.Schedule = delivery.DefaultSchedule()
	}
	if c.MaxBlocked == 0 {
		c.MaxBlocked = 1000
	}
	if c.AckWait == 0 {
		c.AckWait = 30 * time.Second
	}
	if c.PinTTL == 0 {
		c.PinTTL = 20 * time.Second
	}
	c.PinTTL = max(c.PinTTL, 2*time.Second)
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	endpoints := make([]Endpoint, len(c.Endpoints))
	copy(endpoints, c.Endpoints)
	for i := range endpoints {
		endpoints[i].SetDefaults()
	}
	c.Endpoints = endpoints
}

// Validate joins all mistakes.
func (c *Config) Validate() error {
	var errs []error
	seen := make(map[string]bool, len(c.Endpoints))
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		errs = append(errs, e.Validate())
		if seen[e.ID] {
			errs = append(errs, domain.Errorf(domain.Invalid, "endpoint %q: id is taken", e.ID))
		}
		seen[e.ID] = true
	}
	if c.MaxBlocked < 0 || c.Replicas < 0 || c.AckWait < 0 || c.PinTTL < 0 || c.Grace < 0 {
		errs = append(errs, domain.Errorf(domain.Invalid, "notifications: a limit is negative"))
	}
	return errors.Join(errs...)
}

// Deps is what a notifier is given. All of it is required, but for AfterCreate.
type Deps struct {
	JetStream jetstream.JetStream
	Log       Log
	// Sinks make an endpoint's sink, by kind.
	Sinks map[string]Builder
	Clock func() time.Time
	// Wait waits for d or ctx's end, whose error it then returns. Only the
	// schedule waits by it.
	Wait func(ctx context.Context, d time.Duration) error
	// Random is in [0, 1): the schedule's jitter.
	Random     func() float64
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	// AfterCreate runs when the bucket or a durable was created (natsnode's
	// SyncDirs); nil: nothing.
	AfterCreate func() error
}

// Notifier tells the endpoints. Make it with [New], and run it once.
type Notifier struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	feeds   []*feed
	sinks   []message.Publisher
	ready   chan struct{}
}

// New makes a notifier. It connects to nothing yet.
func New(cfg Config, deps Deps) (*Notifier, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	n := &Notifier{cfg: cfg, deps: deps, ready: make(chan struct{})}
	var err error
	if n.metrics, err = newMetrics(deps.Registerer); err != nil {
		return nil, err
	}
	for i := range n.cfg.Endpoints {
		if err := n.add(n.cfg.Endpoints[i]); err != nil {
			return nil, errors.Join(err, n.closeSinks())
		}
	}
	return n, nil
}

func (n *Notifier) add(e Endpoint) error {
	build, ok := n.deps.Sinks[e.Kind]
	if !ok {
		return domain.Errorf(domain.Invalid, "endpoint %q: no sink for kind %q", e.ID, e.Kind)
	}
	f, err := newFeed(e, &n.cfg, &n.deps, n.metrics)
	if err != nil {
		return err
	}
	sink, err := build(e)
	if err != nil {
		return fmt.Errorf("endpoint %q: %w", e.ID, err)
	}
	n.feeds, n.sinks = append(n.feeds, f), append(n.sinks, sink)
	return nil
}

// Ready is closed when every endpoint has its durables: what is recorded from
// then on is told.
func (n *Notifier) Ready() <-chan struct{} { return n.ready }

// Run tells the endpoints until ctx ends, and then waits for the attempts that
// were begun, as long as [Config.Grace]. It is an error when the log or the
// bucket cannot be opened; what an endpoint does is none.
func (n *Notifier) Run(ctx context.Context) error {
	err := n.run(ctx)
	return errors.Join(err, n.closeSinks())
}

func (n *Notifier) run(ctx context.Context) error {
	if len(n.feeds) == 0 {
		close(n.ready)
		<-ctx.Done()
		return nil
	}
	for _, f := range n.feeds {
		if err := f.open(ctx); err != nil {
			return err
		}
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 2*n.cfg.Grace + time.Minute}, n.watermillLogger())
	if err != nil {
		return fmt.Errorf("make the router: %w", err)
	}
	for i, f := range n.feeds {
		sink, topic := n.sinks[i], f.endpoint.ID
		router.AddConsumerHandler(topic, topic, f, func(msg *message.Message) error {
			report(msg, delivery.OutcomeOf(sink.Publish(topic, msg)))
			return nil
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	select {
	case <-router.Running():
		close(n.ready)
		err = <-ended
	case err = <-ended:
	}
	if err != nil {
		return fmt.Errorf("run the router: %w", err)
	}
	return nil
}

func (n *Notifier) closeSinks() error {
	var errs []error
	for _, s := range n.sinks {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// watermillLogger keeps Watermill's chatter about handlers at debug level.
func (n *Notifier) watermillLogger() watermill.LoggerAdapter {
	return watermill.NewSlogLoggerWithLevelMapping(n.deps.Logger, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
}
