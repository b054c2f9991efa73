package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
)

// Repartition writes b into dir, which is made, or empty, as the backup of a new
// log with this many partitions. The other streams are as they were.
//
// A consumer of the log keeps its configuration and must have been told
// everything (Refused): its place among events that are now in another order would be
// lost. It begins where its first event is now, and has been told everything.
func (b *Backup) Repartition(ctx context.Context, dir string, partitions int) (*Backup, error) {
	if !eventstore.ValidPartitions(partitions) {
		return nil, domain.Errorf(domain.Invalid, "partitions is a power of two up to 256, not %d", partitions)
	}
	if err := makeEmpty(dir); err != nil {
		return nil, err
	}
	out := &Backup{
		dir: dir, lineage: b.lineage.Repartitioned(partitions), fresh: true,
		Manifest: Manifest{Format: format, Created: b.Created},
	}
	out.Log, out.Epoch = out.lineage.ID, out.lineage.Epoch
	plan := newPlan(partitions)
	if err := b.merge(ctx, partitions, plan.open, plan.note); err != nil {
		return nil, err
	}
	if err := plan.toldEverything(); err != nil {
		return nil, err
	}
	if err := out.writePartitions(ctx, b, plan); err != nil {
		return nil, err
	}
	for i := range b.Streams {
		if err := out.copy(b, &b.Streams[i]); err != nil {
			return nil, err
		}
	}
	out.inOrder()
	out.seal(partitions)
	return out, out.write(dir)
}

// merge reads every partition of b in the order in which messages were stored,
// ties by partition, and says of each where it was and where it goes.
func (b *Backup) merge(ctx context.Context, partitions int,
	open func(from int, consumers []snapshot.Consumer), each func(from int, m snapshot.Message, to int, sequence uint64) error,
) error {
	sources := make([]source, b.Partitions)
	for p := range sources {
		s, err := b.source(p)
		if err != nil {
			return err
		}
		defer func() { _ = s.file.Close() }()
		open(p, s.Consumers)
		sources[p] = s
	}
	ends := make([]uint64, partitions)
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		from := earliest(sources)
		if from < 0 {
			return nil
		}
		s := &sources[from]
		to, ok := eventstore.PartitionOfSubject(s.next.Subject, partitions)
		if !ok {
			return domain.Errorf(domain.Corrupt, "%s at %d: subject %s is no order's", eventstore.OrdersStream(from), s.next.Sequence, s.next.Subject)
		}
		ends[to]++
		if err := each(from, s.next, to, ends[to]); err != nil {
			return err
		}
		if err := s.advance(); err != nil {
			return fmt.Errorf("%s: %w", eventstore.OrdersStream(from), err)
		}
	}
}

// source is a partition that is read.
type source struct {
	*snapshot.Reader

	file *os.File
	next snapshot.Message
	done bool
}

func (b *Backup) source(p int) (source, error) {
	name := eventstore.OrdersStream(p)
	s := b.stream(name)
	if s == nil {
		return source{}, domain.Errorf(domain.Corrupt, "backup %s: there is no %s", b.dir, name)
	}
	f, err := b.open(s)
	if err != nil {
		return source{}, err
	}
	out := source{file: f}
	if out.Reader, err = snapshot.NewReader(f); err == nil {
		err = out.advance()
	}
	if err != nil {
		return source{}, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return out, nil
}

func (s *source) advance() (err error) {
	s.next, err = s.Next()
	if errors.Is(err, io.EOF) {
		s.done, err = true, nil
	}
	return err
}

// earliest is the source with the earliest message; -1 when all are done.
func earliest(sources []source) int {
	first := -1
	for p := range sources {
		if !sources[p].done && (first < 0 || sources[p].next.Time < sources[first].next.Time) {
			first = p
		}
	}
	return first
}

// writePartitions writes the new partitions' files.
func (b *Backup) writePartitions(ctx context.Context, from *Backup, plan *plan) (err error) {
	n := b.lineage.Partitions
	streams := make([]Stream, n)
	files := make([]*file, n)
	writers := make([]*snapshot.Writer, n)
	defer func() {
		for _, f := range files {
			if f != nil {
				err = errors.Join(err, f.close())
			}
		}
	}()
	for p := range n {
		s := &streams[p]
		s.Name, s.Messages = eventstore.OrdersStream(p), plan.states[p].Messages
		consumers := plan.consumersOf(p)
		s.Info.State = plan.states[p]
		s.Info.State.Consumers = len(consumers)
		if s.Info.Config, err = partitionConfig(from, b.lineage, p); err != nil {
			return err
		}
		if files[p], err = create(filepath.Join(b.dir, s.file())); err != nil {
			return err
		}
		if writers[p], err = snapshot.NewWriter(files[p], s.Info.State, consumers); err != nil {
			return err //nolint:wrapcheck // it says what it did
		}
	}
	err = from.merge(ctx, n, func(int, []snapshot.Consumer) {}, func(_ int, m snapshot.Message, to int, sequence uint64) error {
		m.Sequence = sequence
		return writers[to].Write(m)
	})
	for p := 0; p < n && err == nil; p++ {
		err = writers[p].Close()
		streams[p].Size, streams[p].SHA256 = files[p].size, files[p].sum()
	}
	b.Streams = append(b.Streams, streams...)
	return err
}

// partitionConfig is the first partition's configuration, for partition p.
func partitionConfig(from *Backup, lineage eventstore.Lineage, p int) (json.RawMessage, error) {
	var config map[string]json.RawMessage
	err := json.Unmarshal(from.stream(eventstore.OrdersStream(0)).Info.Config, &config)
	for key, value := range map[string]any{
		"name": eventstore.OrdersStream(p), "subjects": eventstore.PartitionSubjects(p, lineage.Partitions),
		"description": eventstore.PartitionDescription(p, lineage.Partitions), "metadata": lineage.Metadata(p),
	} {
		if err == nil {
			config[key], err = json.Marshal(value)
		}
	}
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "configuration of %s: %w", eventstore.OrdersStream(0), err)
	}
	return json.Marshal(config) //nolint:wrapcheck // of texts that were read above
}

// copy takes a stream that is no partition over as it is.
func (b *Backup) copy(from *Backup, s *Stream) error {
	if isPartition(s.Name) {
		return nil
	}
	in, err := from.open(s)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := create(filepath.Join(b.dir, s.file()))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.close()); err != nil {
		return fmt.Errorf("copy %s: %w", s.Name, err)
	}
	b.Streams = append(b.Streams, *s)
	return nil
}
