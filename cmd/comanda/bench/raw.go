package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore/natsnode"
)

// Raw publishes single messages to streams of a server of its own, with the
// same durability and the same headers as Comanda's log, and nothing else.
type Raw struct {
	node       *natsnode.Node
	js         jetstream.JetStream
	partitions int
	payload    []byte
	run        int // tells the subjects of one round from another's
}

// NewRaw starts a server below dir with the given number of streams. messageBytes
// is the stored size of one message of Comanda's: subject, headers and data.
func NewRaw(ctx context.Context, dir string, partitions, messageBytes int, unsafeNoFsync bool) (*Raw, error) {
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None, UnsafeNoFsync: unsafeNoFsync})
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(node.Conn())
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	// What Comanda stores beside the data: a subject of some 50 bytes, an id, an
	// expectation and a type; this publisher's own are some 130 bytes.
	r := &Raw{node: node, js: js, partitions: partitions, payload: make([]byte, max(messageBytes-130, 1))}
	for p := range partitions {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: fmt.Sprintf("RAW-%02d", p), Subjects: []string{fmt.Sprintf("raw.%d.>", p)}, Storage: jetstream.FileStorage,
			DenyDelete: true, DenyPurge: true, Discard: jetstream.DiscardNew, AllowDirect: true,
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make a stream: %w", err), node.Close())
		}
	}
	return r, nil
}

// Round measures clients for d. As Comanda's orders do in a measurement, each
// subject gets two messages, the second after the first's sequence.
func (r *Raw) Round(ctx context.Context, now func() time.Time, clients int, d time.Duration) Result {
	r.run++
	run := r.run
	last := make([]uint64, clients)
	return Drive(ctx, now, clients, d, func(ctx context.Context, client, n int) string {
		order, second := n/2, n%2 == 1
		msg := nats.NewMsg(fmt.Sprintf("raw.%d.%d.%d.%d", (client+order)%r.partitions, run, client, order))
		msg.Data = r.payload
		msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%d-%d-%d-0123456789abcdef", run, client, n))
		expected := uint64(0)
		if second {
			expected = last[client]
		}
		ack, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(expected))
		if err != nil {
			return "publish"
		}
		last[client] = ack.Sequence
		return ""
	})
}

// Close stops the server.
func (r *Raw) Close() error { return r.node.Close() }
