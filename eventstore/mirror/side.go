package mirror

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

const (
	snapshotSuffix = ".snapshot"
	recordSuffix   = ".json"
	placesName     = "consumers"

	fileMode = 0o600
	dirMode  = 0o700
)

// side is what is beside the log: a record for each stream, which names the file
// with its snapshot, and one for the consumers of the log.
type side struct {
	dir     string
	records map[string]record
}

// record is what is known of one stream's snapshot.
type record struct {
	Stream string        `json:"stream"`
	File   string        `json:"file"`
	Size   int64         `json:"size"`
	SHA256 string        `json:"sha256"`
	Info   snapshot.Info `json:"info"`
	// Seen is the stream's state and its consumers' when the snapshot was begun:
	// as long as it is the same, so is the snapshot.
	Seen string `json:"seen"`
}

// place is where a durable consumer of the log stands.
type place struct {
	Stream string                   `json:"stream"`
	Config jetstream.ConsumerConfig `json:"config"`
	Floor  uint64                   `json:"floor"` // everything up to it was acknowledged
}

// draft is what was taken and is not yet kept.
type draft struct {
	records []record // in the order in which they are kept
	places  []place
}

// openSide reads what is kept, and removes what an earlier process took and did not keep.
func openSide(dir string) (*side, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("open what is beside the log: %w", err)
	}
	s := &side{dir: dir, records: make(map[string]record)}
	paths, err := filepath.Glob(filepath.Join(dir, "*"+recordSuffix))
	if err != nil {
		return nil, fmt.Errorf("open what is beside the log: %w", err)
	}
	for _, path := range paths {
		if filepath.Base(path) == placesName+recordSuffix {
			continue
		}
		var r record
		if err := readJSON(path, &r); err != nil {
			return nil, err
		}
		s.records[r.Stream] = r
	}
	return s, s.tidy()
}

// tidy removes the files that no record names.
func (s *side) tidy() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("open what is beside the log: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		used := strings.HasSuffix(name, recordSuffix)
		for _, r := range s.records {
			used = used || r.File == name
		}
		if used {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("open what is beside the log: %w", err)
		}
	}
	return nil
}

// takeSide takes a snapshot of every stream that has changed, and the places of
// the consumers. Intake is first, so that what it holds no more is in what is read later;
// consumers are before what their users keep, and all of it before the heads.
func (m *Mirror) takeSide(ctx context.Context) (*draft, error) {
	intake, err := m.take(ctx, []string{eventstore.StreamIntake})
	if err != nil {
		return nil, err
	}
	others, err := m.take(ctx, []string{eventstore.StreamQuarantine, eventstore.StreamRelay, eventstore.StreamAudit})
	if err != nil {
		return nil, err
	}
	d := &draft{records: others}
	if d.places, err = m.places(ctx); err != nil {
		return nil, err
	}
	also, err := m.take(ctx, m.cfg.Also)
	if err != nil {
		return nil, err
	}
	d.records = append(append(d.records, also...), intake...)
	return d, nil
}

// take writes snapshots of those of the streams that exist and have changed.
func (m *Mirror) take(ctx context.Context, names []string) ([]record, error) {
	var out []record
	for _, name := range names {
		seen, err := m.seen(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && seen == m.side.records[name].Seen {
			continue
		}
		if err != nil {
			return nil, away("read "+name, err)
		}
		r, err := m.snapshot(ctx, name)
		if err != nil {
			return nil, err
		}
		r.Seen = seen
		out = append(out, r)
	}
	return out, nil
}

// seen is the state of a stream and of its consumers as a text.
func (m *Mirror) seen(ctx context.Context, name string) (string, error) {
	info, err := stream.Info(ctx, m.source, name)
	if err != nil {
		return "", err //nolint:wrapcheck // the caller compares and wraps it
	}
	consumers, err := m.consumers(ctx, name)
	if err != nil {
		return "", err
	}
	parts := []string{fmt.Sprintf("%d from %d to %d", info.State.Msgs, info.State.FirstSeq, info.State.LastSeq)}
	for _, c := range consumers {
		parts = append(parts, fmt.Sprintf("%s %d %d", c.Name, c.Delivered.Consumer, c.AckFloor.Consumer))
	}
	return strings.Join(parts, ", "), nil
}

// consumers are the durable consumers of a stream, by name.
func (m *Mirror) consumers(ctx context.Context, name string) ([]*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	s, err := m.source.Stream(ctx, name)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller wraps it
	}
	var out []*jetstream.ConsumerInfo
	list := s.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable != "" {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *jetstream.ConsumerInfo) int { return cmp.Compare(a.Name, b.Name) })
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, err //nolint:wrapcheck // the caller wraps it
	}
	return out, nil
}

// places are those of every durable consumer of the log.
func (m *Mirror) places(ctx context.Context) ([]place, error) {
	out := []place{}
	for n := range m.partitions {
		name := eventstore.OrdersStream(n)
		consumers, err := m.consumers(ctx, name)
		if err != nil {
			return nil, away("read the consumers of "+name, err)
		}
		for _, c := range consumers {
			out = append(out, place{Stream: name, Config: c.Config, Floor: c.AckFloor.Stream})
		}
	}
	return out, nil
}

// snapshot writes a stream's snapshot into a file of its own.
func (m *Mirror) snapshot(ctx context.Context, name string) (r record, err error) {
	r = record{Stream: name, File: name + "-" + rand.Text()[:10] + snapshotSuffix}
	f, err := os.OpenFile(filepath.Join(m.side.dir, r.File), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return r, fmt.Errorf("keep %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	r.Info, err = snapshot.Take(ctx, m.cfg.Source, name, io.MultiWriter(f, sum), func(n int) { r.Size += int64(n) })
	if err != nil {
		if domain.KindOf(err) == domain.Unavailable {
			err = away("copy", err)
		}
		return r, err
	}
	r.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if err := f.Sync(); err != nil {
		return r, fmt.Errorf("keep %s: %w", name, err)
	}
	return r, nil
}

// keep puts what was taken in the place of what was kept. After each step what is
// kept is consistent: see takeSide.
func (s *side) keep(d *draft) error {
	n := len(d.records)
	intakeLast := n > 0 && d.records[n-1].Stream == eventstore.StreamIntake
	if intakeLast {
		n--
	}
	for _, r := range d.records[:n] {
		if err := s.keepRecord(r); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(s.dir, placesName+recordSuffix), d.places); err != nil {
		return err
	}
	if intakeLast {
		return s.keepRecord(d.records[n])
	}
	return nil
}

func (s *side) keepRecord(r record) error {
	if err := writeJSON(filepath.Join(s.dir, r.Stream+recordSuffix), r); err != nil {
		return err
	}
	old, had := s.records[r.Stream]
	s.records[r.Stream] = r
	if !had {
		return nil
	}
	if err := os.Remove(filepath.Join(s.dir, old.File)); err != nil {
		return fmt.Errorf("remove the older %s: %w", r.Stream, err)
	}
	return nil
}

// open is a kept snapshot, which must be as it was written.
func (s *side) open(r record) (io.ReadSeekCloser, error) {
	f, err := os.Open(filepath.Join(s.dir, r.File))
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "the mirror is damaged: %s: %w", r.Stream, err)
	}
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err == nil && (size != r.Size || hex.EncodeToString(sum.Sum(nil)) != r.SHA256) {
		err = domain.Errorf(domain.Corrupt, "the mirror is damaged: %s was changed: its SHA-256 is another", r.File)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", r.File, err), f.Close())
	}
	return f, nil
}

func readJSON(path string, to any) error {
	text, err := os.ReadFile(path) //nolint:gosec // in the mirror's directory
	if err != nil {
		return fmt.Errorf("read what is beside the log: %w", err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return domain.Errorf(domain.Corrupt, "the mirror is damaged: %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file at path, whole or not at all.
func writeJSON(path string, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode) //nolint:gosec // in the mirror's directory
	if err != nil {
		return fmt.Errorf("write what is beside the log: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write what is beside the log: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return fmt.Errorf("write what is beside the log: %w", err)
	}
	return nil
}
