package eventstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/stream"
)

// Log is Comanda's log. It is safe for concurrent use; Close ends it.
type Log struct {
	cfg      Config
	js       jetstream.JetStream
	identity Lineage

	publisher  *stream.Publisher
	leaders    []*stream.Reader // one a partition, on the writers' connection
	readers    []*stream.Reader // one a partition, for replays
	committers []*committer
	quarantine *stream.Reader
	vault      *privacy.Vault
	metrics    *metrics
	watch      *watch
	send       sender    // submit, unless a test stands between
	damage     []Problem // found by an Open that inspects

	bulkBatch int // how many messages of a snapshot are handed over at a time; 0 is the default
}

// Open finds the log or makes it, and compares its streams with what they should
// be: see [stream.Ensure]. Errors are of kind Invalid (the configuration), Refused (another
// number of partitions, or settings that differ), Corrupt (the log is not what it was: a
// partition is missing, holds fewer events than its last sequence says, or lacks one
// that Config.Remembered names) or Unavailable.
func Open(ctx context.Context, conn *nats.Conn, cfg Config) (*Log, error) {
	if err := cfg.Validate(); err != nil {
		return nil, domain.Errorf(domain.Invalid, "log: %w", err)
	}
	cfg.setDefaults()
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "open the log: %w", err)
	}
	l := &Log{cfg: cfg, js: js, vault: cfg.Vault, watch: newWatch()}
	l.send = l.submit
	if err := l.openStreams(ctx); err != nil {
		return nil, err
	}
	if err := l.connectReaders(); err != nil {
		return nil, err
	}
	if err := l.checkIntact(ctx); err != nil {
		return nil, err
	}
	if l.metrics, err = newMetrics(cfg.Registerer, l.Writable); err != nil {
		return nil, err
	}
	return l, l.connectWriters(conn)
}

func (l *Log) connectReaders() error {
	readJS := l.js
	if l.cfg.ReadConn != nil {
		var err error
		if readJS, err = jetstream.New(l.cfg.ReadConn); err != nil {
			return domain.Errorf(domain.Internal, "open the log: %w", err)
		}
	}
	for p := range l.identity.Partitions {
		l.leaders = append(l.leaders, stream.NewReader(l.js, OrdersStream(p), l.cfg.Logger))
		reader := stream.NewReader(readJS, OrdersStream(p), l.cfg.Logger)
		reader.Remember(remembered(l.identity.Partitions))
		l.readers = append(l.readers, reader)
	}
	l.quarantine = stream.NewReader(readJS, StreamQuarantine, l.cfg.Logger)
	return nil
}

// remembered is how many of the messages that it stored a process remembers of each
// partition for those who follow: some 64 MB of all, and of few partitions less.
func remembered(partitions int) int { return min(max(16_384/partitions, 256), 4096) }

func (l *Log) connectWriters(conn *nats.Conn) error {
	var err error
	if l.publisher, err = stream.NewPublisher(conn); err != nil {
		return domain.Errorf(domain.Unavailable, "open the log: %w", err)
	}
	if err := l.stageBatches(); err != nil {
		return err
	}
	for p := range l.identity.Partitions {
		l.committers = append(l.committers, newCommitter(l.publisher, l.readers[p], &l.cfg))
	}
	return nil
}

// stageBatches decides from which queue batches are made, unless that is configured:
// it is the price of staging one.
func (l *Log) stageBatches() error {
	streams := make([]string, l.identity.Partitions)
	for p := range streams {
		streams[p] = OrdersStream(p)
	}
	inMemory, err := l.cfg.StageBatches(streams...)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if _, err := l.cfg.StageBatches(StreamIntake); err != nil { // a checkout may be sending one just now
		l.cfg.Logger.Warn("batches of the intake are staged on disk, which is slower", "error", err)
	}
	if l.cfg.BatchFrom == 0 {
		l.cfg.BatchFrom = batchFrom
		if inMemory {
			l.cfg.BatchFrom = batchFromMemory
		}
	}
	return nil
}

// Close ends the log: appends that wait end as Unavailable. It does not close
// the connection.
func (l *Log) Close() error {
	for _, c := range l.committers {
		c.close()
	}
	if err := l.publisher.Close(); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}

// Partitions is how many partitions the log has.
func (l *Log) Partitions() int { return l.identity.Partitions }

// Identity is the log's random id, made with it and kept for ever.
func (l *Log) Identity() string { return l.identity.ID }

// Epoch is 1, and grows with each restore of the log: a position of one epoch says
// nothing about what another holds beyond the backup.
func (l *Log) Epoch() uint64 { return l.identity.Epoch }

// Honoured is the position up to which an earlier epoch's positions are this
// log's too; false for an epoch that is not among its forebears.
func (l *Log) Honoured(epoch uint64) (domain.Position, bool) {
	head, ok := l.identity.Honoured[epoch]
	return head, ok
}

// Head is the last position: everything that was acknowledged before the call is at or before it.
func (l *Log) Head(ctx context.Context) (domain.Position, error) {
	var head domain.Position
	for p := range l.identity.Partitions {
		info, err := stream.Info(ctx, l.js, OrdersStream(p))
		if err != nil {
			return domain.Position{}, domain.Errorf(domain.Unavailable, "read the head of %s: %w", OrdersStream(p), err)
		}
		if info.State.LastSeq > 0 {
			head = head.With(p, info.State.LastSeq)
		}
	}
	return head, nil
}

// Order is every event of an order by revision, read through the leader; empty
// when there is none.
func (l *Log) Order(ctx context.Context, id domain.OrderID) ([]domain.Recorded, error) {
	if !id.Valid() {
		return nil, domain.Errorf(domain.Invalid, "order id %q: not the form of one", id)
	}
	return l.history(ctx, id, orderPattern("*", id))
}

// history reads the events of an order from its subject.
func (l *Log) history(ctx context.Context, id domain.OrderID, subject string) ([]domain.Recorded, error) {
	partition := partitionOf(id.Slot(), l.identity.Partitions)
	var events []domain.Recorded
	err := l.leaders[partition].Subject(ctx, subject, func(m stream.Message) error {
		r, err := l.decode(partition, &m)
		if err != nil {
			return err
		}
		if r.Event.Revision != uint64(len(events))+1 {
			return domain.Errorf(domain.Corrupt, "order %s: revision %d where %d should be", id, r.Event.Revision, len(events)+1)
		}
		events = append(events, r)
		return nil
	})
	if err != nil {
		return nil, storeError(fmt.Sprintf("read %s", id), err)
	}
	return events, nil
}

// HashAt is the SHA-256 of the stored bytes at a place, for a view that
// remembers it; NotFound when the log does not reach so far.
func (l *Log) HashAt(ctx context.Context, partition int, sequence uint64) ([32]byte, error) {
	if partition < 0 || partition >= len(l.leaders) {
		return [32]byte{}, domain.Errorf(domain.NotFound, "partition %d: the log has %d", partition, len(l.leaders))
	}
	m, err := l.leaders[partition].At(ctx, sequence)
	if err != nil {
		return [32]byte{}, storeError(fmt.Sprintf("read %s at %d", OrdersStream(partition), sequence), err)
	}
	return hashOf(m.Data), nil
}

// storeError gives err a kind, unless it has one.
func storeError(doing string, err error) error {
	var known *domain.Error
	switch {
	case errors.As(err, &known):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, stream.ErrNotFound):
		return domain.Errorf(domain.NotFound, "%s: %w", doing, err)
	default:
		return domain.Errorf(domain.Unavailable, "%s: %w", doing, err)
	}
}
