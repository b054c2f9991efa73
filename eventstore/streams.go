package eventstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// identity is what makes this log this log. It is in the metadata of every
// partition's stream.
type identity struct {
	id         string
	epoch      uint64
	partitions int
}

const (
	metaLog        = "comanda-log"
	metaEpoch      = "comanda-epoch"
	metaPartitions = "comanda-partitions"
	metaPartition  = "comanda-partition"

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

// openStreams finds or makes every stream, the first partition first: it says who the log is.
func (l *Log) openStreams(ctx context.Context) error {
	first, err := stream.Info(ctx, l.js, OrdersStream(0))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if len(l.cfg.Remembered) > 0 {
			return domain.Errorf(domain.Corrupt, "the log is gone: %s does not exist, and %s events of it; restore it", OrdersStream(0), l.cfg.Remembered[0].By)
		}
		if l.cfg.Existing {
			return domain.Errorf(domain.NotFound, "there is no log: %s does not exist", OrdersStream(0))
		}
		l.identity = identity{id: "log_" + strings.ToLower(rand.Text()), epoch: 1, partitions: l.cfg.newPartitions()}
	case err != nil:
		return domain.Errorf(domain.Unavailable, "open the log: %w", err)
	default:
		if err := l.adopt(first); err != nil {
			return err
		}
		if err := l.missingPartitions(ctx); err != nil {
			return err
		}
	}
	created, err := l.ensureAll(ctx)
	if err != nil || !created {
		return err
	}
	if err := l.cfg.AfterCreate(); err != nil {
		return domain.Errorf(domain.Unavailable, "create the log: %w", err)
	}
	return nil
}

// adopt takes the identity from the first partition's metadata.
func (l *Log) adopt(first *jetstream.StreamInfo) error {
	meta := first.Config.Metadata
	partitions, err := strconv.ParseUint(meta[metaPartitions], 10, 16)
	epoch, err2 := strconv.ParseUint(meta[metaEpoch], 10, 64)
	if err := errors.Join(err, err2); err != nil || meta[metaLog] == "" || partitions < 1 || partitions > slots || partitions&(partitions-1) != 0 {
		return domain.Errorf(domain.Refused, "stream %s exists and is not Comanda's: it does not say which log it is", OrdersStream(0))
	}
	l.identity = identity{id: meta[metaLog], epoch: epoch, partitions: int(partitions)}
	if l.cfg.Partitions != 0 && l.cfg.Partitions != l.identity.partitions {
		return domain.Errorf(domain.Refused, "the log has %d partitions, not %d: their number is fixed when a log is made", l.identity.partitions, l.cfg.Partitions)
	}
	return nil
}

// ensureAll makes what is missing.
func (l *Log) ensureAll(ctx context.Context) (created bool, err error) {
	for p := range l.identity.partitions {
		_, isNew, err := stream.Ensure(ctx, l.js, l.partitionConfig(p), l.cfg.Logger)
		if err != nil {
			return false, l.explain(ctx, err)
		}
		created = created || isNew
	}
	for _, cfg := range l.sideStreams() {
		_, isNew, err := stream.Ensure(ctx, l.js, cfg, l.cfg.Logger)
		if err != nil {
			return false, err //nolint:wrapcheck // Ensure names the stream
		}
		created = created || isNew
	}
	return created, nil
}

// explain tells a lost race for a new log, which is retried, from drift.
func (l *Log) explain(ctx context.Context, err error) error {
	first, ferr := stream.Info(ctx, l.js, OrdersStream(0))
	if ferr == nil && first.Config.Metadata[metaLog] != l.identity.id {
		return domain.Errorf(domain.Unavailable, "another instance is making the log: try again: %w", err)
	}
	return err
}

func (l *Log) partitionConfig(p int) jetstream.StreamConfig {
	cfg := base(OrdersStream(p), l.cfg.Replicas, partitionSubjects(p, l.identity.partitions)...)
	cfg.Description = fmt.Sprintf("Comanda's log, partition %d of %d", p, l.identity.partitions)
	cfg.DenyDelete = true
	cfg.DenyPurge = true
	cfg.AllowAtomicPublish = true
	cfg.Metadata = map[string]string{
		metaLog:        l.identity.id,
		metaEpoch:      strconv.FormatUint(l.identity.epoch, 10),
		metaPartitions: strconv.Itoa(l.identity.partitions),
		metaPartition:  strconv.Itoa(p),
	}
	return cfg
}

func (l *Log) sideStreams() []jetstream.StreamConfig {
	intake := base(StreamIntake, l.cfg.Replicas, "intake.*")
	intake.Description = "messages of the checkout that wait to be recorded"
	intake.Retention = jetstream.WorkQueuePolicy
	intake.MaxAge = intakeAge
	intake.Duplicates = intakeWindow

	quarantine := base(StreamQuarantine, l.cfg.Replicas, "quarantine.*.*")
	quarantine.Description = "messages that could not become a fact"
	quarantine.MaxAge = quarantineAge
	quarantine.Duplicates = quarantineWindow

	relay := base(StreamRelay, l.cfg.Replicas, "relay.>")
	relay.Description = "catalogue and operational events to pass on"
	relay.MaxAge = relayAge
	return []jetstream.StreamConfig{intake, quarantine, relay}
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
