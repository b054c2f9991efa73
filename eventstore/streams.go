package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

const (
	intakeAge     = 7 * 24 * time.Hour
	relayAge      = 7 * 24 * time.Hour
	quarantineAge = 180 * 24 * time.Hour
	dedupeWindow  = 2 * time.Minute
	// intakeWindow is the server's least. The window is the whole stream's, so two
	// sources that number their messages alike would hide each other's; a
	// repeat is the recorder's to know, and has an answer of its own.
	intakeWindow     = 100 * time.Millisecond
	quarantineWindow = time.Hour // a platform that repeats a bad message does so for a while
)

// errOvertaken says that another instance made the log between two looks at it.
var errOvertaken = errors.New("another instance is making the log")

// openTries is how often a new log may be lost to another instance: the second
// look finds the other's first stream, and adopts it.
const openTries = 5

// openStreams finds or makes every stream.
func (l *Log) openStreams(ctx context.Context) error {
	var created bool
	for try := 1; ; try++ {
		var err error
		if created, err = l.findOrMake(ctx); err == nil {
			break
		}
		if !errors.Is(err, errOvertaken) || try == openTries || !pause(ctx, pauseNoAnswer) {
			return err
		}
	}
	if !created {
		return nil
	}
	l.spread(ctx)
	if err := l.cfg.AfterCreate(); err != nil {
		return domain.Errorf(domain.Unavailable, "create the log: %w", err)
	}
	return nil
}

// findOrMake begins with the first partition: it says who the log is.
func (l *Log) findOrMake(ctx context.Context) (created bool, err error) {
	first, err := stream.Await(ctx, l.js, OrdersStream(0))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if len(l.cfg.Remembered) > 0 {
			return false, domain.Errorf(domain.Corrupt, "the log is gone: %s does not exist, and %s events of it; restore it", OrdersStream(0), l.cfg.Remembered[0].By)
		}
		if l.cfg.Existing {
			return false, domain.Errorf(domain.NotFound, "there is no log: %s does not exist", OrdersStream(0))
		}
		l.identity = NewLineage(l.cfg.newPartitions())
	case err != nil:
		return false, domain.Errorf(domain.Unavailable, "open the log: %w", err)
	default:
		if err := l.adopt(first); err != nil {
			return false, err
		}
		if err := l.checkWhole(ctx); err != nil {
			return false, err
		}
	}
	return l.ensureAll(ctx)
}

// spread gives each server of a cluster its share of a new log's partitions to
// lead. A log whose leaders are elsewhere is as good, only slower.
func (l *Log) spread(ctx context.Context) {
	for p := range l.identity.Partitions {
		if err := stream.Lead(ctx, l.js, OrdersStream(p), p); err != nil {
			l.cfg.Logger.WarnContext(ctx, "a partition stays with the leader that it has", "error", err)
		}
	}
}

// adopt takes the identity from the first partition's metadata.
func (l *Log) adopt(first *jetstream.StreamInfo) error {
	var err error
	if l.identity, err = ParseLineage(first.Config.Metadata); err != nil {
		return err
	}
	if !l.cfg.Inspect {
		if err := l.identity.Live(); err != nil {
			return err
		}
	}
	if l.cfg.Partitions != 0 && l.cfg.Partitions != l.identity.Partitions {
		return domain.Errorf(domain.Refused, "the log has %d partitions, not %d: their number is fixed when a log is made", l.identity.Partitions, l.cfg.Partitions)
	}
	return nil
}

// checkWhole refuses a log that lost a partition: all are made before the first
// event is written, so one that is missing after another was seen with events is lost.
func (l *Log) checkWhole(ctx context.Context) error {
	var events uint64
	var missing []string
	for p := range l.identity.Partitions {
		info, err := stream.Await(ctx, l.js, OrdersStream(p))
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			missing = append(missing, OrdersStream(p))
		case err != nil:
			return domain.Errorf(domain.Unavailable, "open stream %s: %w", OrdersStream(p), err)
		default:
			events += info.State.LastSeq
		}
	}
	if events == 0 {
		return nil
	}
	for _, name := range missing { // again: another instance may have been making them
		if _, err := stream.Await(ctx, l.js, name); errors.Is(err, jetstream.ErrStreamNotFound) {
			return domain.Errorf(domain.Corrupt, "stream %s is missing beside partitions that hold events: its events are lost; restore the log", name)
		}
	}
	return nil
}

// ensureAll makes what is missing.
func (l *Log) ensureAll(ctx context.Context) (created bool, err error) {
	for p := range l.identity.Partitions {
		_, isNew, err := stream.Ensure(ctx, l.js, l.partitionConfig(p), l.cfg.Logger)
		if err != nil {
			return created, l.explain(ctx, err)
		}
		created = created || isNew
	}
	intake, err := l.intakeConfig(ctx)
	if err != nil {
		return created, err
	}
	for _, cfg := range append(l.sideStreams(), intake) {
		_, isNew, err := stream.Ensure(ctx, l.js, cfg, l.cfg.Logger)
		if err != nil {
			return created, err //nolint:wrapcheck // Ensure names the stream
		}
		created = created || isNew
	}
	return created, nil
}

// explain tells a lost race for a new log, which is retried, from drift.
func (l *Log) explain(ctx context.Context, err error) error {
	first, ferr := stream.Await(ctx, l.js, OrdersStream(0))
	if ferr == nil && first.Config.Metadata[metaLog] != l.identity.ID {
		return domain.Errorf(domain.Unavailable, "%w: %w", errOvertaken, err)
	}
	return err
}

func (l *Log) partitionConfig(p int) jetstream.StreamConfig {
	cfg := base(OrdersStream(p), l.cfg.Replicas, PartitionSubjects(p, l.identity.Partitions)...)
	cfg.Description = PartitionDescription(p, l.identity.Partitions)
	cfg.DenyDelete = true
	cfg.DenyPurge = true
	cfg.AllowAtomicPublish = true
	cfg.Metadata = l.identity.Metadata(p)
	return cfg
}

func (l *Log) sideStreams() []jetstream.StreamConfig {
	quarantine := base(StreamQuarantine, l.cfg.Replicas, "quarantine.*.*")
	quarantine.Description = "messages that could not become a fact"
	quarantine.MaxAge = quarantineAge
	quarantine.Duplicates = quarantineWindow

	relay := base(StreamRelay, l.cfg.Replicas, "relay.>")
	relay.Description = "catalogue and operational events to pass on"
	relay.MaxAge = relayAge

	audit := base(StreamAudit, l.cfg.Replicas, "audit.*")
	audit.Description = "what operators did, and why"
	audit.DenyDelete = true
	audit.DenyPurge = true

	canary := base(StreamCanary, l.cfg.Replicas, canarySubject)
	canary.Description = "what is written only to see whether anything can be"
	canary.Discard = jetstream.DiscardOld
	canary.MaxMsgs = 1
	return []jetstream.StreamConfig{quarantine, relay, audit, canary}
}

func base(name string, replicas int, subjects ...string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        name,
		Subjects:    subjects,
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		Replicas:    replicas,
		Duplicates:  dedupeWindow,
		AllowDirect: true,
	}
}

// describe is a position for people.
func describe(p domain.Position) string {
	parts := make([]string, 0, p.Partitions())
	for i := range p.Partitions() {
		parts = append(parts, fmt.Sprintf("%d:%d", i, p.At(i)))
	}
	return "[" + strings.Join(parts, " ") + "]"
}
