package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore/stream"
)

// RawConfig says where raw messages go. Conn, Partitions and MessageBytes are required.
type RawConfig struct {
	Conn       *nats.Conn
	Partitions int // streams of its own
	Replicas   int // 0 is 1
	// MessageBytes is the stored size of one message of Comanda's: subject, headers and data.
	MessageBytes int
}

// Raw publishes single messages with the same headers and the same durability, its
// server's, as Comanda's log, and nothing else.
type Raw struct {
	js         jetstream.JetStream
	partitions int
	payload    []byte
	run        int // tells the subjects of one round from another's
}

// NewRaw makes the streams.
func NewRaw(ctx context.Context, cfg RawConfig) (*Raw, error) {
	js, err := jetstream.New(cfg.Conn)
	if err != nil {
		return nil, err
	}
	// What Comanda stores beside the data: a subject of some 50 bytes, an id, an
	// expectation and a type; this publisher's own are some 130 bytes.
	r := &Raw{js: js, partitions: cfg.Partitions, payload: make([]byte, max(cfg.MessageBytes-130, 1))}
	for p := range cfg.Partitions {
		name := fmt.Sprintf("RAW-%d-%02d", cfg.Partitions, p)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{r.subject(p) + ">"}, Storage: jetstream.FileStorage, Replicas: max(cfg.Replicas, 1),
			DenyDelete: true, DenyPurge: true, Discard: jetstream.DiscardNew, AllowDirect: true,
		})
		if err != nil {
			return nil, fmt.Errorf("make a stream: %w", err)
		}
		if cfg.Replicas > 1 { // as the log spreads its own
			if err := stream.Lead(ctx, js, name, p); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// subject is how the subjects of a partition begin.
func (r *Raw) subject(partition int) string {
	return fmt.Sprintf("raw.%d.%d.", r.partitions, partition)
}

// Round measures clients for d. As Comanda's orders do in a measurement, each
// subject gets two messages, the second after the first's sequence.
func (r *Raw) Round(ctx context.Context, now func() time.Time, clients int, d time.Duration) Result {
	r.run++
	run := r.run
	last := make([]uint64, clients)
	return Drive(ctx, now, Load{Clients: clients, Duration: d}, func(ctx context.Context, client, n int) string {
		order, second := n/2, n%2 == 1
		msg := nats.NewMsg(fmt.Sprintf("%s%d.%d.%d", r.subject((client+order)%r.partitions), run, client, order))
		msg.Data = r.payload
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%d-%d-%d-0123456789abcdef", run, client, n))
		expected := uint64(0)
		if second {
			expected = last[client]
		}
		ack, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(expected))
		if err != nil {
			return word(err)
		}
		last[client] = ack.Sequence
		return ""
	})
}

// word is what an append's error counts as: the server's code, or "timeout".
func word(err error) string {
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused):
		return strconv.Itoa(int(refused.ErrorCode))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "timeout"
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return "no responders"
	default:
		return "connection"
	}
}
