package eventstore

import (
	"cmp"
	"context"
	"errors"
	"io"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

const (
	// snapshotFrom is how many events are worth a snapshot.
	snapshotFrom = 10_000
	// bulkBatch is how many messages are handed over at a time, unless the log says otherwise.
	bulkBatch = 1024
)

// read hands what partition p holds after since and up to head to handle, in
// order, and returns when there is no more of it. Most of a long partition comes
// as a snapshot, which costs the server half of what a consumer does; a snapshot
// that fails, as by an event that the server cannot read or because handle took longer than
// the server waits, is gone on with by a consumer, which passes over what is damaged.
// What is handed over is the callee's, the slice is not; unless it is lent: header and data are
// then used again once the next call has returned.
func (l *Log) read(ctx context.Context, p int, since, head uint64, lent bool, handle func([]stream.Message) error) error {
	if head-since >= l.cfg.SnapshotFrom && since <= head/4 {
		b := &bulk{since: since, head: head, last: since, size: cmp.Or(l.bulkBatch, bulkBatch), lent: lent, handle: handle}
		b.read(ctx, l, p)
		if b.refused != nil {
			return b.refused
		}
		since = b.last
	}
	if since == head {
		return nil
	}
	return l.readers[p].Scan(ctx, since, head, nil, handle) //nolint:wrapcheck // as it is
}

// bulk is one snapshot that is read.
type bulk struct {
	since, head uint64
	size        int // of a batch
	lent        bool
	handle      func([]stream.Message) error

	batch   []stream.Message
	bodies  [2]arena // of batch, and of the one before, while they are lent
	last    uint64   // handed over
	refused error    // by handle
}

// read goes as far as the snapshot does.
func (b *bulk) read(parent context.Context, l *Log, p int) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	pr, pw := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := snapshot.TakeMessages(ctx, l.js.Conn(), OrdersStream(p), pw)
		_ = pw.CloseWithError(err)
	}()
	err := b.messages(pr)
	if err != nil {
		cancel()
	}
	_ = pr.CloseWithError(errBulkOver)
	<-ended
	if err != nil && b.refused == nil && parent.Err() == nil {
		l.cfg.Logger.InfoContext(ctx, "snapshot ended early, a consumer goes on", "stream", OrdersStream(p), "after", b.last, "reason", err)
	}
}

// errBulkOver ends a snapshot that is read no further.
var errBulkOver = errors.New("read no further")

func (b *bulk) messages(r io.Reader) error {
	s, err := snapshot.NewReader(r)
	if err != nil {
		return err //nolint:wrapcheck // only logged
	}
	if s.State.Last/2 > b.head {
		return domain.Errorf(domain.Invalid, "%d of %d events are wanted: not worth it", b.head, s.State.Last)
	}
	for {
		m, err := s.Into(b.take)
		switch {
		case errors.Is(err, io.EOF):
			return b.flush()
		case err != nil:
			return errors.Join(b.flush(), err)
		case m.Sequence <= b.since || m.Sequence > b.head: // what came meanwhile is read to its end and left out
			b.bodies[0].giveBack(len(m.Body))
		default:
			if err := b.add(m); err != nil {
				return err
			}
		}
	}
}

func (b *bulk) add(m snapshot.Message) error {
	b.batch = append(b.batch, stream.Message{
		Subject: m.Subject, RawHeader: m.Body[:m.Header:m.Header], Data: m.Body[m.Header:], Sequence: m.Sequence,
	})
	if len(b.batch) < b.size {
		return nil
	}
	return b.flush()
}

func (b *bulk) flush() error {
	if len(b.batch) == 0 || b.refused != nil {
		return b.refused
	}
	if b.refused = b.handle(b.batch); b.refused != nil {
		return b.refused
	}
	b.last = b.batch[len(b.batch)-1].Sequence
	b.batch = b.batch[:0]
	b.bodies[0], b.bodies[1] = b.bodies[1], b.bodies[0]
	b.bodies[0].free = b.bodies[0].all
	return nil
}

// take is room for a body.
func (b *bulk) take(size int) []byte {
	if b.lent {
		return b.bodies[0].take(size)
	}
	return make([]byte, size)
}

// arena is memory for the bodies of a batch.
type arena struct{ all, free []byte }

// arenaSize is enough for most batches.
const arenaSize = 3 << 20

// take is room of this size. When there is none left, what was taken stays where it is.
func (a *arena) take(size int) []byte {
	if len(a.free) < size {
		a.all = make([]byte, max(arenaSize, 2*len(a.all), size))
		a.free = a.all
	}
	taken := a.free[:size:size]
	a.free = a.free[size:]
	return taken
}

// giveBack takes back what was taken last, if any was: size bytes.
func (a *arena) giveBack(size int) {
	if used := len(a.all) - len(a.free); used >= size {
		a.free = a.all[used-size:]
	}
}
