package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

// RestoreOptions says how streams are made.
type RestoreOptions struct {
	// Replicas of every stream; 0 is as many as in the backup.
	Replicas int
	// Progress hears of every chunk: the stream, and the bytes of it so far; nil: nothing.
	Progress func(stream string, bytes int64)
}

// Restore makes the backup's streams on conn's server, which must have none of
// them, nor any other partition of a log (Exists). The log is in a new epoch.
//
// ORDERS-00, without which there is no log, comes last. An error says which
// streams were made.
func (b *Backup) Restore(ctx context.Context, conn *nats.Conn, opts RestoreOptions) error {
	if opts.Progress == nil {
		opts.Progress = func(string, int64) {}
	}
	if err := b.absent(ctx, conn); err != nil {
		return err
	}
	lineage := b.lineage
	if !b.fresh {
		lineage = lineage.Restored(b.Head)
	}
	for i := range b.Streams {
		if err := b.put(ctx, conn, &b.Streams[i], lineage, &opts); err != nil {
			return fmt.Errorf("%w (%s)", err, leftover(b.Streams[:i]))
		}
	}
	return nil
}

// leftover says what an unfinished restore has made.
func leftover(streams []Stream) string {
	names := make([]string, len(streams))
	for i := range streams {
		names[i] = streams[i].Name
	}
	if len(names) == 0 {
		return "no stream was made"
	}
	return "delete the streams that were made before you try again: " + strings.Join(names, " ")
}

// absent refuses a server that holds any stream of a log.
func (b *Backup) absent(ctx context.Context, conn *nats.Conn) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return domain.Errorf(domain.Internal, "restore: %w", err)
	}
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if b.stream(name) != nil || isPartition(name) {
			return domain.Errorf(domain.Exists, "the server has a stream %s: a restore overwrites nothing", name)
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return domain.Errorf(domain.Unavailable, "list the server's streams: %w", err)
	}
	return nil
}

func isPartition(name string) bool {
	_, ok := eventstore.PartitionOf(name)
	return ok
}

func (b *Backup) put(ctx context.Context, conn *nats.Conn, s *Stream, lineage eventstore.Lineage, opts *RestoreOptions) error {
	info := s.Info
	var err error
	if info.Config, err = reconfigured(s, lineage, opts.Replicas); err != nil {
		return err
	}
	f, err := b.open(s)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var sent int64
	err = snapshot.Put(ctx, conn, s.Name, info, f, func(n int) {
		sent += int64(n)
		opts.Progress(s.Name, sent)
	})
	if err != nil {
		return err //nolint:wrapcheck // it names the stream
	}
	return settled(ctx, conn, s)
}

// settled waits until every replica of a stream has what was restored to its
// leader: a consumer may be placed beside any of them.
func settled(ctx context.Context, conn *nats.Conn, s *Stream) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return domain.Errorf(domain.Internal, "restore: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(settleTick)
	defer tick.Stop()
	for {
		made, err := stream.Info(ctx, js, s.Name)
		if err == nil && made.State.LastSeq != s.Info.State.Last && s.Info.State.Last > 0 {
			return domain.Errorf(domain.Corrupt, "restore %s: it ends at %d, should end at %d", s.Name, made.State.LastSeq, s.Info.State.Last)
		}
		if err == nil && current(made) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.Errorf(domain.Unavailable, "restore %s: its replicas do not catch up: %w", s.Name, errors.Join(err, ctx.Err()))
		}
	}
}

const (
	settleTimeout = 5 * time.Minute
	settleTick    = 50 * time.Millisecond
)

// current reports whether every replica has what the leader has.
func current(info *jetstream.StreamInfo) bool {
	if info.Cluster == nil {
		return true
	}
	if info.Cluster.Leader == "" || len(info.Cluster.Replicas)+1 < info.Config.Replicas {
		return false
	}
	return !slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Lag > 0 })
}

// reconfigured is the stream's configuration as it is restored.
func reconfigured(s *Stream, lineage eventstore.Lineage, replicas int) (json.RawMessage, error) {
	var metadata map[string]string
	if p, ok := eventstore.PartitionOf(s.Name); ok {
		metadata = lineage.Metadata(p)
	}
	return Reconfigured(s.Name, s.Info.Config, metadata, replicas)
}

// Reconfigured is the configuration of the named stream with this metadata, nil:
// its own, and these replicas, 0: as many. What is the server's own goes.
func Reconfigured(name string, from json.RawMessage, metadata map[string]string, replicas int) (json.RawMessage, error) {
	var config map[string]json.RawMessage
	err := json.Unmarshal(from, &config)
	if err == nil && metadata == nil && config["metadata"] != nil {
		err = json.Unmarshal(config["metadata"], &metadata)
		maps.DeleteFunc(metadata, func(key, _ string) bool { return strings.HasPrefix(key, "_nats.") })
	}
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "configuration of %s: %w", name, err)
	}
	set := func(key string, value any) {
		if err == nil {
			config[key], err = json.Marshal(value)
		}
	}
	set("metadata", metadata)
	if replicas > 0 {
		set("num_replicas", replicas)
	}
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "configuration of %s: %w", name, err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "configuration of %s: %w", name, err)
	}
	return text, nil
}
