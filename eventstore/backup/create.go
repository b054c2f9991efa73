package backup

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/stream"
)

// Options says how a backup is made. Clock is required.
type Options struct {
	// Also names streams that belong to the log's users, copied when they exist.
	Also []string
	// Progress hears of every chunk: the stream, and the bytes of it so far; nil: nothing.
	Progress func(stream string, bytes int64)
	Clock    func() time.Time
}

func (o *Options) setDefaults() {
	if o.Progress == nil {
		o.Progress = func(string, int64) {}
	}
}

// Create writes a backup of the log on conn into dir, which is made, or empty. The
// log may go on meanwhile. What an unfinished backup leaves in dir is not removed.
func Create(ctx context.Context, conn *nats.Conn, dir string, opts Options) (*Backup, error) {
	opts.setDefaults()
	if err := makeEmpty(dir); err != nil {
		return nil, err
	}
	b := &Backup{dir: dir, Manifest: Manifest{Format: format, Created: opts.Clock().UTC()}}
	first := []string{eventstore.StreamIntake, eventstore.StreamQuarantine, eventstore.StreamRelay, eventstore.StreamAudit}
	last := append(slices.Clone(opts.Also), privacy.BucketStream)
	for _, name := range first {
		if err := b.take(ctx, conn, name, &opts, true); err != nil {
			return nil, err
		}
	}
	if err := b.takePartitions(ctx, conn, &opts); err != nil {
		return nil, err
	}
	for _, name := range last {
		if err := b.take(ctx, conn, name, &opts, true); err != nil {
			return nil, err
		}
	}
	b.inOrder()
	return b, b.write(dir)
}

// inOrder has the keys restored first, and the first partition, which says that
// there is a log, last.
func (m *Manifest) inOrder() {
	slices.SortStableFunc(m.Streams, func(s, t Stream) int { return cmp.Compare(rank(s.Name), rank(t.Name)) })
}

func rank(name string) int {
	p, ok := eventstore.PartitionOf(name)
	switch {
	case name == privacy.BucketStream:
		return 0
	case !ok:
		return 1
	case p > 0:
		return 2
	default:
		return 3
	}
}

// takePartitions copies the log itself.
func (b *Backup) takePartitions(ctx context.Context, conn *nats.Conn, opts *Options) error {
	zero := eventstore.OrdersStream(0)
	if err := b.take(ctx, conn, zero, opts, false); err != nil {
		return err
	}
	var err error
	if b.lineage, err = b.readLineage(); err != nil {
		return err
	}
	if err := b.lineage.Live(); err != nil {
		return err //nolint:wrapcheck // a mirror lacks what is beside the partitions until it is promoted
	}
	for p := 1; p < b.lineage.Partitions; p++ {
		if err := b.take(ctx, conn, eventstore.OrdersStream(p), opts, false); err != nil {
			return err
		}
	}
	b.Log, b.Epoch = b.lineage.ID, b.lineage.Epoch
	b.seal(b.lineage.Partitions)
	return nil
}

// seal notes the head and the number of events.
func (m *Manifest) seal(partitions int) {
	m.Partitions, m.Events, m.Head = partitions, 0, domain.Position{}
	for p := range partitions {
		s := m.stream(eventstore.OrdersStream(p))
		m.Events += s.Messages
		if s.Info.State.Last > 0 {
			m.Head = m.Head.With(p, s.Info.State.Last)
		}
	}
}

// take copies one stream; without it, when it need not exist, nothing.
func (b *Backup) take(ctx context.Context, conn *nats.Conn, name string, opts *Options, optional bool) error {
	// A clustered server has no answer at all to a snapshot of what does not exist
	// (nats-server, server/jetstream_api.go, jsStreamSnapshotRequest).
	switch err := exists(ctx, conn, name); {
	case errors.Is(err, jetstream.ErrStreamNotFound) && optional:
		return nil
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return domain.Errorf(domain.NotFound, "back up the log: there is no %s", name)
	case err != nil:
		return domain.Errorf(domain.Unavailable, "back up %s: %w", name, err)
	}
	s := Stream{Name: name}
	f, err := create(filepath.Join(b.dir, s.file()))
	if err != nil {
		return fmt.Errorf("back up %s: %w", name, err)
	}
	s.Info, err = snapshot.Take(ctx, conn, name, f, func(int) { opts.Progress(name, f.size) })
	switch err = errors.Join(err, f.close()); {
	case err != nil:
		return fmt.Errorf("back up: %w", err)
	}
	s.Size, s.SHA256 = f.size, f.sum()
	if s.Messages, err = b.count(&s); err != nil {
		return domain.Errorf(domain.Corrupt, "back up %s: %w", name, err)
	}
	if !optional && (s.Messages != s.Info.State.Last || s.Messages != s.Info.State.Messages) {
		return domain.Errorf(domain.Corrupt, "back up %s: it has %d events up to %d: events are missing", name, s.Messages, s.Info.State.Last)
	}
	b.Streams = append(b.Streams, s)
	return nil
}

// exists is [jetstream.ErrStreamNotFound] when there is no such stream.
func exists(ctx context.Context, conn *nats.Conn, name string) error {
	js, err := jetstream.New(conn)
	if err == nil {
		_, err = stream.Await(ctx, js, name)
	}
	return err //nolint:wrapcheck // the caller compares and wraps it
}

// count reads a file to its end, which proves it whole.
func (b *Backup) count(s *Stream) (messages uint64, err error) {
	f, err := b.open(s)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	r, err := snapshot.NewReader(f)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller names the stream
	}
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return 0, err //nolint:wrapcheck // the caller names the stream
		}
		messages++
	}
}

// makeEmpty makes dir, or finds it empty.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	if len(entries) > 0 {
		return domain.Errorf(domain.Exists, "%s is not empty: a backup overwrites nothing", dir)
	}
	return nil
}

// file is a new file that knows its size and hash.
type file struct {
	*os.File

	size int64
	hash hash.Hash
}

func create(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	return &file{File: f, hash: sha256.New()}, nil
}

// Write implements [io.Writer].
func (f *file) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.hash.Write(p[:n])
	f.size += int64(n)
	return n, err //nolint:wrapcheck // names the file
}

func (f *file) sum() string { return hex.EncodeToString(f.hash.Sum(nil)) }

// close makes the file durable.
func (f *file) close() error { return errors.Join(f.Sync(), f.Close()) }
