package checkout

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
)

// Checkout reads INTAKE. Run may be called once.
type Checkout struct {
	cfg     Config
	js      jetstream.JetStream
	sources map[string]*intake.Source
	intake  *intake.Intake
	logger  *slog.Logger
	metrics *metrics
	ready   chan struct{}
	opened  sync.Once
	sweeps  sweeps
	fronted atomic.Bool // a Front passes messages on to INTAKE
	away    atomic.Bool // nothing could be recorded the last time: the Front tries one a second
}

// New makes a checkout that hands messages of sources to in. js is a handle on
// the account that owns INTAKE, and its connection also publishes the outcomes.
func New(
	cfg Config, js jetstream.JetStream, sources []*intake.Source, in *intake.Intake,
	logger *slog.Logger, registerer prometheus.Registerer,
) (*Checkout, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	c := &Checkout{
		cfg: cfg, js: js, sources: make(map[string]*intake.Source, len(sources)), intake: in,
		logger: logger, ready: make(chan struct{}),
	}
	for _, s := range sources {
		if !s.ID.Valid() || s.Codec == nil {
			return nil, domain.Errorf(domain.Invalid, "source %q: needs a valid id and a codec", string(s.ID))
		}
		c.sources[string(s.ID)] = s
	}
	var err error
	c.metrics, err = newMetrics(registerer)
	return c, err
}

// Ready is closed when messages are being taken for the first time.
func (c *Checkout) Ready() <-chan struct{} { return c.ready }

// Run takes messages until ctx ends, and then finishes those in hand and gives
// the others back. The stream is the log's and must be there; the consumer is made.
// The error is that of the first start; later ones are logged, and tried again.
func (c *Checkout) Run(ctx context.Context) error {
	consumer, err := c.open(ctx)
	if err != nil {
		return err
	}
	crew := c.startCrew(ctx)
	defer c.end(ctx, crew)
	c.sweeps.due.Store(true) // for what an earlier process left
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { c.keepSwept(ctx) })
	for {
		err = c.take(ctx, consumer, crew)
		if ctx.Err() != nil {
			return nil
		}
		c.logger.WarnContext(ctx, "intake interrupted", "error", err)
		if consumer = c.reopen(ctx, consumer); ctx.Err() != nil {
			return nil
		}
	}
}

// end waits for what is in hand, and removes what is done, so that no person's data stay
// in the intake of a server that was stopped; unless messages wait there to be given
// out again, which the next start would have later for that (see sweeps.hold).
func (c *Checkout) end(ctx context.Context, crew *crew) {
	crew.stop()
	ctx = context.WithoutCancel(ctx)
	limited, cancel := context.WithTimeout(ctx, confirmWait)
	defer cancel()
	consumer, err := c.js.Consumer(limited, Stream, Durable)
	if err == nil && consumer.CachedInfo().NumAckPending == 0 {
		c.trySweep(limited)
	}
}

// open finds the stream, which is the log's to make, and finds or makes the consumer.
func (c *Checkout) open(ctx context.Context) (jetstream.Consumer, error) {
	s, err := c.js.Stream(ctx, Stream)
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "open stream %s: %w", Stream, err)
	}
	if config := s.CachedInfo().Config; config.DenyPurge {
		return nil, domain.Errorf(domain.Refused, "stream %s cannot be purged, so what was recorded would stay in it", Stream)
	}
	consumer, err := s.CreateOrUpdateConsumer(ctx, c.cfg.consumer())
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "open consumer %s of stream %s: %w", Durable, Stream, err)
	}
	return consumer, nil
}

// reopenWait is the pause between two tries to reach the stream again.
const reopenWait = time.Second

// reopen opens again until it works or ctx ends.
func (c *Checkout) reopen(ctx context.Context, consumer jetstream.Consumer) jetstream.Consumer {
	timer := time.NewTimer(reopenWait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return consumer
		case <-timer.C:
		}
		opened, err := c.open(ctx)
		if err == nil {
			return opened
		}
		c.logger.WarnContext(ctx, "intake not reopened", "error", err)
		timer.Reset(reopenWait)
	}
}

// take hands messages to the crew until ctx ends or the subscription does.
func (c *Checkout) take(ctx context.Context, consumer jetstream.Consumer, crew *crew) error {
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(c.cfg.MaxAckPending), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return fmt.Errorf("pull from %s: %w", Stream, err)
	}
	defer giveBack(messages)
	c.opened.Do(func() { close(c.ready) })
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("next message of %s: %w", Stream, err)
		}
		if !crew.hand(ctx, c.read(ctx, msg)) {
			return ctx.Err()
		}
	}
}

// drainWait bounds the wait for a message that is already here.
const drainWait = time.Second

// giveBack ends a subscription and returns what it had buffered, which would
// otherwise come again only after AckWait.
func giveBack(messages jetstream.MessagesContext) {
	messages.Drain()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(drainWait))
		if err != nil {
			messages.Stop()
			return
		}
		msg.Nak() //nolint:errcheck,gosec // AckWait gives it back as well
	}
}
