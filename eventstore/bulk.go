package eventstore

import (
	"cmp"
	"context"
	"errors"
	"io"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/blocks"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

const (
	// snapshotFrom is how many events are worth a snapshot, and filesFrom to look for them
	// in files.
	snapshotFrom = 10_000
	filesFrom    = 1000
	// bulkBatch is how many messages are handed over at a time, unless the log says otherwise.
	bulkBatch = 1024
)

// read hands what partition p holds after since and up to head to handle, in
// order, and returns when there is no more of it. Many events come from the files of an embedded
// server; from another, when they are most of a partition, as a snapshot, which costs it half of
// what a consumer does. What ends early, as by an event that cannot be read or because handle took
// longer than the server waits, is gone on with by a consumer, which passes over what is damaged.
// What is handed over is the callee's, the slice is not; unless it is lent: header and data are
// then used again once [scansAhead] more calls have returned. damaged is the first message that the
// files hold otherwise than it was written, as it seemed; 0: none.
func (l *Log) read(
	ctx context.Context, p int, since, head uint64, lent bool, handle func([]stream.Message) error,
) (damaged uint64, err error) {
	if head-since >= l.cfg.BulkFrom {
		b := &bulk{since: since, head: head, last: since, size: cmp.Or(l.bulkBatch, bulkBatch), lent: lent, handle: handle}
		err := b.read(ctx, l, p)
		if b.refused != nil {
			return 0, b.refused
		}
		if b.damaged {
			damaged = b.last + 1
		}
		if err != nil && ctx.Err() == nil {
			l.cfg.Logger.InfoContext(ctx, "a consumer reads what else there is", "stream", OrdersStream(p), "after", b.last, "reason", err)
		}
		since = b.last
	}
	if since >= head {
		return damaged, nil
	}
	return damaged, l.readers[p].Scan(ctx, since, head, nil, handle) //nolint:wrapcheck // as it is
}

// bulk is many events that are read without a consumer.
type bulk struct {
	since, head uint64
	size        int // of a batch
	lent        bool
	handle      func([]stream.Message) error

	batch   []stream.Message
	bodies  [scansAhead + 1]arena // of batch, and of those before, while they are lent
	last    uint64                // handed over
	refused error                 // by handle
	damaged bool                  // the message after last, in the files
}

// read goes as far as it can, and says why not to the head.
func (b *bulk) read(ctx context.Context, l *Log, p int) error {
	var err error
	switch {
	case l.cfg.Files != nil:
		err = b.files(ctx, l, p)
	case b.since <= b.head/4:
		err = b.snapshot(ctx, l, p)
	}
	return errors.Join(b.flush(), err)
}

// files reads the files of an embedded server.
func (b *bulk) files(ctx context.Context, l *Log, p int) error {
	info, err := stream.Info(ctx, l.js, OrdersStream(p))
	switch {
	case err != nil:
		return err //nolint:wrapcheck // only logged
	case !intact(&info.State): // and what was removed may lie there still
		return domain.Errorf(domain.Corrupt, "events were removed")
	}
	r, err := blocks.Open(l.cfg.Files(OrdersStream(p)), OrdersStream(p), b.since)
	if err != nil {
		return err //nolint:wrapcheck // only logged
	}
	defer func() { _ = r.Close() }()
	for n := b.since; n < b.head; n++ {
		m, err := r.Next(b.take)
		if err != nil {
			b.damaged = domain.KindOf(err) == domain.Corrupt
			return err //nolint:wrapcheck // only logged
		}
		if err := b.add(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// snapshot reads a snapshot that the server makes.
func (b *bulk) snapshot(parent context.Context, l *Log, p int) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	pr, pw := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := snapshot.TakeMessages(ctx, l.js.Conn(), OrdersStream(p), pw)
		_ = pw.CloseWithError(err)
	}()
	err := b.messages(ctx, pr)
	if err != nil {
		cancel()
	}
	_ = pr.CloseWithError(errBulkOver)
	<-ended
	return err
}

// errBulkOver ends a snapshot that is read no further.
var errBulkOver = errors.New("read no further")

func (b *bulk) messages(ctx context.Context, r io.Reader) error {
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
			return nil
		case err != nil:
			return err //nolint:wrapcheck // only logged
		case m.Sequence <= b.since || m.Sequence > b.head: // what came meanwhile is read to its end and left out
			b.bodies[0].giveBack(len(m.Body))
		default:
			err := b.add(ctx, stream.Message{
				Subject: m.Subject, RawHeader: m.Body[:m.Header:m.Header], Data: m.Body[m.Header:], Sequence: m.Sequence,
			})
			if err != nil {
				return err
			}
		}
	}
}

func (b *bulk) add(ctx context.Context, m stream.Message) error {
	b.batch = append(b.batch, m)
	if len(b.batch) < b.size {
		return nil
	}
	return cmp.Or(ctx.Err(), b.flush())
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
	oldest := b.bodies[scansAhead]
	copy(b.bodies[1:], b.bodies[:scansAhead])
	b.bodies[0] = arena{all: oldest.all, free: oldest.all}
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
