package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/stream"
)

// Config says what is copied where. Source, Target and Dir are required.
type Config struct {
	// Source is the log's server, Target the mirror's, to which nobody else writes.
	Source, Target *nats.Conn
	// Dir is the mirror's own directory for what is beside the log; made if absent.
	Dir string
	// Also names streams that belong to the log's users, copied when they exist.
	Also []string

	// Interval is between two passes of Run; 0 is 1 s.
	Interval time.Duration
	// AfterCreate runs when streams of the target were made (natsnode's SyncDirs); nil: nothing.
	AfterCreate func() error
	// Progress hears of every batch and of every pass's end; nil: nothing.
	Progress func(Progress)
	// Away hears, from Run, why a pass could not reach the source; nil: nothing.
	Away func(error)
}

func (c *Config) setDefaults() {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.AfterCreate == nil {
		c.AfterCreate = func() error { return nil }
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Away == nil {
		c.Away = func(error) {}
	}
}

// Progress is how far a mirror is: the events it holds, and those of the source
// when the pass began.
type Progress struct {
	Held, Head uint64
}

// Lag is how many events the mirror lacks.
func (p Progress) Lag() uint64 { return p.Head - min(p.Held, p.Head) }

// ErrAway says that the source does not answer: the mirror is what it was, and
// can go on when it does.
var ErrAway = errors.New("the source cannot be reached")

func away(doing string, err error) error {
	return domain.Errorf(domain.Unavailable, "%s: %w: %w", doing, ErrAway, err)
}

// Mirror is one process's hold on a mirror. It is not safe for concurrent use.
type Mirror struct {
	cfg       Config
	source    jetstream.JetStream
	target    jetstream.JetStream
	publisher *stream.Publisher // to the target
	lineage   eventstore.Lineage

	partitions []*partition
	keys       *keys
	side       *side
	passes     int
	head       domain.Position // of the pass
}

// Open finds the mirror on the target, or makes it where there is no stream at
// all. Kinds of errors: Refused (the target is no mirror, or of another log or epoch),
// Corrupt (it was damaged), NotFound (the source has no log), Unavailable.
func Open(ctx context.Context, cfg Config) (*Mirror, error) {
	cfg.setDefaults()
	m := &Mirror{cfg: cfg}
	var err error
	if m.source, err = jetstream.New(cfg.Source); err == nil {
		m.target, err = jetstream.New(cfg.Target)
	}
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "open the mirror: %w", err)
	}
	if m.lineage, err = eventstore.ReadLineage(ctx, cfg.Source); err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	if err := m.lineage.Live(); err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	if err := m.compare(ctx); err != nil {
		return nil, err
	}
	if m.side, err = openSide(cfg.Dir); err != nil {
		return nil, err
	}
	if m.publisher, err = stream.NewPublisher(cfg.Target); err != nil {
		return nil, domain.Errorf(domain.Unavailable, "open the mirror: %w", err)
	}
	if err := m.ensure(ctx); err != nil {
		return nil, errors.Join(err, m.publisher.Close())
	}
	return m, nil
}

// Close ends the mirror. It closes no connection.
func (m *Mirror) Close() error {
	if err := m.publisher.Close(); err != nil {
		return fmt.Errorf("close the mirror: %w", err)
	}
	return nil
}

// Lineage is the source's.
func (m *Mirror) Lineage() eventstore.Lineage { return m.lineage }

// compare refuses a target that is no mirror of the source.
func (m *Mirror) compare(ctx context.Context) error {
	have, err := eventstore.ReadLineage(ctx, m.cfg.Target)
	switch {
	case domain.KindOf(err) == domain.NotFound:
		return m.vacant(ctx)
	case err != nil:
		return fmt.Errorf("open the mirror: %w", err)
	case !have.Mirror:
		return domain.Errorf(domain.Refused, "the target is no mirror but a log of its own, %s, epoch %d: nothing is overwritten", have.ID, have.Epoch)
	default:
		return same(have, m.lineage)
	}
}

// same refuses a mirror of another log, or of another epoch of this one.
func same(have, source eventstore.Lineage) error {
	switch {
	case have.ID != source.ID:
		return domain.Errorf(domain.Refused, "the target is a mirror of %s, and the source is %s", have.ID, source.ID)
	case have.Epoch != source.Epoch || have.Partitions != source.Partitions:
		return domain.Errorf(domain.Refused, "the target is a mirror of %s in epoch %d, and the source is in epoch %d: it was restored since; make a new mirror",
			have.ID, have.Epoch, source.Epoch)
	default:
		return nil
	}
}

// vacant refuses a target without a log that holds something else.
func (m *Mirror) vacant(ctx context.Context) error {
	names := m.target.StreamNames(ctx)
	for name := range names.Name() {
		return domain.Errorf(domain.Refused, "the target has a stream %s and no %s: it is no mirror, and nothing is overwritten", name, eventstore.OrdersStream(0))
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return domain.Errorf(domain.Unavailable, "list the target's streams: %w", err)
	}
	return nil
}

// ensure finds or makes the target's partitions, ORDERS-00 first: it says whose
// mirror this is.
func (m *Mirror) ensure(ctx context.Context) error {
	lineage := m.lineage
	lineage.Mirror = true
	var fresh []string
	var held uint64
	for p := range lineage.Partitions {
		name := eventstore.OrdersStream(p)
		info, err := stream.Await(ctx, m.source, name)
		if err != nil {
			return domain.Errorf(domain.Unavailable, "open %s of the source: %w", name, err)
		}
		want := alone(&info.Config)
		want.Metadata = lineage.Metadata(p)
		made, created, err := m.make(ctx, want)
		if err != nil {
			return err
		}
		if err := whole(name, &made.State); err != nil {
			return err
		}
		if created {
			fresh = append(fresh, name)
		}
		held += made.State.LastSeq
		m.partitions = append(m.partitions, newPartition(m, p, made.State.LastSeq))
	}
	if len(fresh) > 0 && held > 0 {
		return domain.Errorf(domain.Corrupt, "the mirror is damaged: it had lost %v; make a new one", fresh)
	}
	if len(fresh) > 0 {
		if err := m.cfg.AfterCreate(); err != nil {
			return domain.Errorf(domain.Unavailable, "make the mirror: %w", err)
		}
	}
	m.keys = newKeys(m)
	return nil
}

// make is [stream.Ensure] on the target.
func (m *Mirror) make(ctx context.Context, want jetstream.StreamConfig) (*jetstream.StreamInfo, bool, error) {
	info, created, err := stream.Ensure(ctx, m.target, want, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, false, fmt.Errorf("open the mirror: %w", err)
	}
	return info, created, nil
}

// alone is a stream's configuration on a server of its own.
func alone(from *jetstream.StreamConfig) jetstream.StreamConfig {
	cfg := *from
	cfg.Replicas, cfg.Placement, cfg.RePublish = 1, nil, nil
	return cfg
}

// whole refuses a partition that lost events.
func whole(name string, s *jetstream.StreamState) error {
	if s.LastSeq == 0 || s.FirstSeq == 1 && s.NumDeleted == 0 && s.Msgs == s.LastSeq {
		return nil
	}
	return domain.Errorf(domain.Corrupt, "the mirror is damaged: %s holds %d events and its last sequence is %d; make a new one", name, s.Msgs, s.LastSeq)
}

// sidePasses is how many passes share one look at what is beside the log.
const sidePasses = 10

// Pass brings the mirror to where the source is when it begins. Errors that are
// [ErrAway] leave a mirror that can go on; so does the end of ctx.
func (m *Mirror) Pass(ctx context.Context) (Progress, error) {
	var fresh *draft
	var err error
	if m.passes%sidePasses == 0 {
		if fresh, err = m.takeSide(ctx); err != nil {
			return m.progress(), err
		}
	}
	if err := m.readHeads(ctx); err != nil {
		return m.progress(), err
	}
	if err := m.keys.copy(ctx); err != nil {
		return m.progress(), err
	}
	m.cfg.Progress(m.progress())
	for n, p := range m.partitions {
		if err := p.copy(ctx, m.head.At(n)); err != nil {
			return m.progress(), err
		}
	}
	if fresh != nil {
		if err := m.side.keep(fresh); err != nil {
			return m.progress(), err
		}
	}
	m.passes++
	m.cfg.Progress(m.progress())
	return m.progress(), nil
}

// readHeads reads where every partition of the source is, and that it is still
// the log that it was.
func (m *Mirror) readHeads(ctx context.Context) error {
	head := domain.Position{}
	for n := range m.partitions {
		name := eventstore.OrdersStream(n)
		info, err := stream.Info(ctx, m.source, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return domain.Errorf(domain.Corrupt, "the source went backwards: it has no %s any more", name)
		case err != nil:
			return away("read the head of "+name, err)
		}
		if n == 0 {
			lineage, err := eventstore.ParseLineage(info.Config.Metadata)
			if err == nil {
				err = same(m.lineage, lineage)
			}
			if err != nil {
				return fmt.Errorf("read the source: %w", err)
			}
		}
		head = head.With(n, info.State.LastSeq)
	}
	m.head = head
	return nil
}

func (m *Mirror) progress() Progress {
	var p Progress
	for n := range m.partitions {
		p.Held, p.Head = p.Held+m.partitions[n].held, p.Head+m.head.At(n)
	}
	return p
}

// Run makes passes until ctx ends, which is no error. It waits for a source that
// is away; every other error ends it.
func (m *Mirror) Run(ctx context.Context) error {
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		switch _, err := m.Pass(ctx); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrAway):
			m.cfg.Away(err)
		case err != nil:
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
