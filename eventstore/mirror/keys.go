package mirror

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/stream"
)

const (
	// headerSource is the sequence that a copied key has in the source: that of the
	// last message says how far the copy is.
	headerSource    = "Comanda-Mirrored-Sequence"
	headerOperation = "KV-Operation" // of a key that was destroyed
)

// keys copies the bucket of wrapped data keys, whose sequences nobody names.
type keys struct {
	mirror *Mirror
	source *stream.Reader
	target *stream.Reader
	opened bool
	held   uint64 // sequence of the source up to which it was copied
	last   uint64 // of the target

	pending []*nats.Msg
	through uint64 // of the source, with pending
}

func newKeys(m *Mirror) *keys {
	quiet := slog.New(slog.DiscardHandler)
	return &keys{
		mirror: m,
		source: stream.NewReader(m.source, privacy.BucketStream, quiet), target: stream.NewReader(m.target, privacy.BucketStream, quiet),
	}
}

// copy copies every key that is in the source now.
func (k *keys) copy(ctx context.Context) error {
	info, err := stream.Info(ctx, k.mirror.source, privacy.BucketStream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && !k.opened:
		return nil // nothing was ever sealed
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return domain.Errorf(domain.Corrupt, "the source went backwards: it has no %s any more", privacy.BucketStream)
	case err != nil:
		return away("read the keys", err)
	}
	if err := k.open(ctx, &info.Config); err != nil {
		return err
	}
	last := info.State.LastSeq
	if last < k.held {
		return domain.Errorf(domain.Corrupt, "the source went backwards: its %s ends at sequence %d, and was copied up to %d", privacy.BucketStream, last, k.held)
	}
	if last == k.held {
		return nil
	}
	k.pending = k.pending[:0]
	err = k.source.Scan(ctx, k.held, last, nil, func(ms []stream.Message) error {
		for i := range ms {
			if err := k.add(ctx, &ms[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = k.flush(ctx)
	}
	if err != nil {
		return err
	}
	k.held = last
	return nil
}

// open finds or makes the bucket, and how far it is.
func (k *keys) open(ctx context.Context, from *jetstream.StreamConfig) error {
	if k.opened {
		return nil
	}
	info, created, err := k.mirror.make(ctx, alone(from))
	if err != nil {
		return err
	}
	if created {
		if err := k.mirror.cfg.AfterCreate(); err != nil {
			return domain.Errorf(domain.Unavailable, "make the mirror: %w", err)
		}
	}
	k.last = info.State.LastSeq
	if k.last > 0 {
		m, err := k.target.At(ctx, k.last)
		if err != nil {
			return domain.Errorf(domain.Corrupt, "the mirror is damaged: %s cannot read sequence %d: %w", privacy.BucketStream, k.last, err)
		}
		if k.held, err = strconv.ParseUint(m.Header.Get(headerSource), 10, 64); err != nil {
			return domain.Errorf(domain.Refused, "somebody else wrote to the mirror: a key does not say where it is from: %w", err)
		}
	}
	k.opened = true
	return nil
}

func (k *keys) add(ctx context.Context, m *stream.Message) error {
	header := nats.Header{headerSource: []string{strconv.FormatUint(m.Sequence, 10)}}
	if operation := m.Header[headerOperation]; operation != nil {
		header[headerOperation] = operation
	}
	if len(k.pending) == 0 {
		header[headerLast] = []string{strconv.FormatUint(k.last, 10)}
	}
	k.pending = append(k.pending, &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data})
	if k.through = m.Sequence; len(k.pending) < batchMessages {
		return nil
	}
	return k.flush(ctx)
}

func (k *keys) flush(ctx context.Context) error {
	if len(k.pending) == 0 {
		return nil
	}
	want := k.last + uint64(len(k.pending))
	if err := k.mirror.store(ctx, k.pending, want); err != nil {
		return err
	}
	clear(k.pending)
	k.last, k.held, k.pending = want, k.through, k.pending[:0]
	return nil
}
