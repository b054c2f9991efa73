package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

// Promoted is a log that was a mirror.
type Promoted struct {
	Lineage eventstore.Lineage
	Head    domain.Position
	Events  uint64
}

// Promote makes the mirror on conn, with what is beside its log in dir, a live log
// in a new epoch that honours the mirror's head. durable is called before that begins, when
// everything else was written; the caller removes dir. A target that is no mirror, was promoted, or was never level with its
// source is Refused; after any other error Promote may be called again.
func Promote(ctx context.Context, conn *nats.Conn, dir string, durable func() error) (*Promoted, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "promote: %w", err)
	}
	lineage, err := eventstore.ReadLineage(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("promote: %w", err)
	}
	if !lineage.Mirror {
		return nil, domain.Errorf(domain.Refused, "%s, epoch %d, is no mirror: it is live already", lineage.ID, lineage.Epoch)
	}
	var places []place
	if err := readJSON(filepath.Join(dir, placesName+recordSuffix), &places); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, domain.Errorf(domain.Refused, "the mirror of %s was never level with its source: it lacks events, and where endpoints stand", lineage.ID)
		}
		return nil, err
	}
	done := &Promoted{}
	configs, err := done.measure(ctx, js, lineage.Partitions)
	if err != nil {
		return nil, err
	}
	if err := putSide(ctx, conn, js, dir); err != nil {
		return nil, err
	}
	for _, at := range places {
		if err := putPlace(ctx, js, at); err != nil {
			return nil, err
		}
	}
	if err := durable(); err != nil {
		return nil, fmt.Errorf("promote: %w", err)
	}
	done.Lineage = lineage.Restored(done.Head)
	for p := lineage.Partitions - 1; p >= 0; p-- {
		configs[p].Metadata = done.Lineage.Metadata(p)
		if err := update(ctx, js, configs[p]); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// measure reads the head, and the configuration of every partition.
func (d *Promoted) measure(ctx context.Context, js jetstream.JetStream, partitions int) ([]jetstream.StreamConfig, error) {
	configs := make([]jetstream.StreamConfig, partitions)
	for p := range configs {
		name := eventstore.OrdersStream(p)
		info, err := stream.Info(ctx, js, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, domain.Errorf(domain.Corrupt, "the mirror is damaged: it has no %s", name)
		}
		if err != nil {
			return nil, domain.Errorf(domain.Unavailable, "promote: %w", err)
		}
		if err := whole(name, &info.State); err != nil {
			return nil, err
		}
		configs[p] = info.Config
		d.Events += info.State.LastSeq
		d.Head = d.Head.With(p, info.State.LastSeq)
	}
	return configs, nil
}

// putSide makes the streams beside the log, in the place of what a check of the
// mirror, or an earlier try, has made of them.
func putSide(ctx context.Context, conn *nats.Conn, js jetstream.JetStream, dir string) error {
	s, err := openSide(dir)
	if err != nil {
		return err
	}
	for name, r := range s.records {
		if err := put(ctx, conn, js, s, r); err != nil {
			return fmt.Errorf("promote: %s: %w", name, err)
		}
	}
	return nil
}

func put(ctx context.Context, conn *nats.Conn, js jetstream.JetStream, s *side, r record) error {
	f, err := s.open(r)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info := r.Info
	if info.Config, err = backup.Reconfigured(r.Stream, info.Config, nil, 1); err != nil {
		return err //nolint:wrapcheck // it names the stream
	}
	bounded, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	if err := js.DeleteStream(bounded, r.Stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return domain.Errorf(domain.Unavailable, "make room: %w", err)
	}
	return snapshot.Put(ctx, conn, r.Stream, info, f, func(int) {}) //nolint:wrapcheck // it says what it did
}

// putPlace makes a consumer of the log that was told what it was told when the
// mirror looked: not what it said since, which is said again.
func putPlace(ctx context.Context, js jetstream.JetStream, at place) error {
	ctx, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	at.Config.Replicas = 0 // as its stream
	if _, err := js.CreateOrUpdateConsumer(ctx, at.Stream, at.Config); err != nil {
		return domain.Errorf(domain.Unavailable, "promote: consumer %s of %s: %w", at.Config.Durable, at.Stream, err)
	}
	if at.Floor == 0 {
		return nil
	}
	next := max(at.Floor+1, at.Config.OptStartSeq)
	if _, err := js.ResetConsumerToSequence(ctx, at.Stream, at.Config.Durable, next); err != nil {
		return domain.Errorf(domain.Unavailable, "promote: consumer %s of %s: %w", at.Config.Durable, at.Stream, err)
	}
	return nil
}

func update(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	if _, err := js.UpdateStream(ctx, cfg); err != nil {
		return domain.Errorf(domain.Unavailable, "promote %s: %w", cfg.Name, err)
	}
	return nil
}
