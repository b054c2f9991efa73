package eventstore

import (
	"context"

	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/stream"
)

// Send sends a message to a partition once.
type Send = func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error)

// Between puts a test between the log and its server, until restore: what it
// answers is taken for the server's answer. Nothing is appended meanwhile.
func Between(l *Log, wrap func(Send) Send) (restore func()) {
	send := l.send
	l.send = wrap(send)
	return func() { l.send = send }
}

// Strangers is what decides whether an order is looked up.
type Strangers struct{ s strangers }

// LookUp reports whether the next one is looked up.
func (s *Strangers) LookUp() bool { return s.s.lookUp() }

// Found tells of one that was looked up.
func (s *Strangers) Found(old bool) { s.s.found(old) }

// Surprise tells of one that was taken for new and was not.
func (s *Strangers) Surprise() { s.s.surprise() }

// Batches has a log hand over so many messages of a snapshot at a time.
func Batches(l *Log, of int) { l.bulkBatch = of }

// Tell has those who follow a partition take messages for stored.
func Tell(l *Log, partition int, messages ...stream.Message) {
	l.readers[partition].Stored(messages...)
}

// ArenaSize is the least room for the bodies of a batch.
const ArenaSize = arenaSize

// SkippedRoom is the room for a batch after so many bodies of a size were passed over.
func SkippedRoom(bodies, size int) int {
	var a arena
	for range bodies {
		a.take(size)
		a.giveBack(size)
	}
	return len(a.all)
}
