package eventstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/stream"
)

const (
	// singlesInFlight is how many events are on their way singly before others queue.
	singlesInFlight = 4
	// batchFrom is the queue from which one fsync for all beats one for each, the
	// staging of a batch on disk included, batchFromMemory the same in memory;
	// batchMost is the server's limit. See the table in doc.go.
	batchFrom       = 16
	batchFromMemory = 4
	batchMost       = 1000
	// A batch of batchGoesOn events or more is followed by another one, however
	// short the queue: those who just got their answers are on their way back, and
	// singles meanwhile would keep the queue short for ever.
	batchGoesOn = 8
	// restFirst is how many events go singly after a batch that could not be staged,
	// as where the memory for it is full; restMost bounds what that doubles to.
	restFirst = 64
	restMost  = 16_384
)

// committer sends the events of one partition: singly while few wait, as one
// atomic batch when many do. A batch that is refused stored nothing and names no
// culprit: its halves are sent as batches, and what is left around the culprit
// singly. After any other failure each event is sent again singly, as the
// same message. One that could not be staged is not halved, and is followed by more
// singles each time: the next could hardly be staged either, and each that is tried
// leaves something behind in the server until it is started again.
//
// No event waits for company: a batch is what queued while earlier ones were on
// their way. One order has at most one event here: the recorder holds the order.
type committer struct {
	publisher *stream.Publisher
	reader    *stream.Reader // is told what was stored
	timeout   time.Duration  // of a batch
	batchFrom int
	most      int // singles on their way

	mu       sync.Mutex
	singles  int // on their way
	batching bool
	from     int // the queue from which the next dispatch batches
	rest     int // events to go singly before that
	rested   int // what rest was the last time; 0: the last batch was staged
	queue    []*queued
	halves   [][]*queued // of refused batches, before the queue
	again    []*queued   // of failed batches, before the halves
	closed   bool
	batches  sync.WaitGroup
}

// queued is an event that waits for its turn.
type queued struct {
	msg    *nats.Msg
	turn   chan turn // one
	gone   bool      // its submitter gave up
	called bool      // its turn was sent
}

// turn is what a queued event waits for: its result, or leave to send it alone.
type turn struct {
	alone bool
	ack   stream.Ack
	err   error
}

func newCommitter(p *stream.Publisher, r *stream.Reader, cfg *Config) *committer {
	c := &committer{publisher: p, reader: r, timeout: cfg.AppendTimeout, batchFrom: cfg.BatchFrom, from: cfg.BatchFrom, most: singlesInFlight}
	if cfg.BatchFrom == BatchNever { // nothing is to be gained by queueing
		c.batchFrom, c.from, c.most = math.MaxInt, math.MaxInt, math.MaxInt
	}
	return c
}

// close refuses what comes after, and waits for the batch on its way.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.batches.Wait()
}

// submit sends m, alone or in company, and waits for its acknowledgement or ctx.
func (c *committer) submit(ctx context.Context, m *nats.Msg) (stream.Ack, error) {
	q, ok := c.enqueue(ctx, m)
	if !ok {
		return stream.Ack{}, fmt.Errorf("%w: the log is closed", stream.ErrNoAnswer)
	}
	select {
	case t := <-q.turn:
		if !t.alone {
			return t.ack, t.err
		}
		defer c.singleDone(ctx)
		ack, err := c.publisher.Publish(ctx, m)
		if err == nil && !ack.Duplicate {
			c.reader.Stored(asStored(m, ack.Sequence))
		}
		return ack, err //nolint:wrapcheck // classified by the caller
	case <-ctx.Done():
		c.abandon(ctx, q)
		return stream.Ack{}, fmt.Errorf("%w: %w", stream.ErrNoAnswer, ctx.Err())
	}
}

func (c *committer) enqueue(ctx context.Context, m *nats.Msg) (*queued, bool) {
	q := &queued{msg: m, turn: make(chan turn, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false
	}
	c.queue = append(c.queue, q)
	c.dispatch(ctx)
	return q, true
}

// abandon takes q out, unless its turn came meanwhile.
func (c *committer) abandon(ctx context.Context, q *queued) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q.gone = true
	if !q.called {
		return
	}
	select {
	case t := <-q.turn:
		if t.alone {
			c.singles--
			c.dispatch(ctx)
		}
	default: // in a batch, whose answer nobody reads
	}
}

func (c *committer) singleDone(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.singles--
	c.dispatch(ctx)
}

// dispatch gives out turns. The lock is held.
func (c *committer) dispatch(ctx context.Context) {
	if c.batching {
		return
	}
	c.release(&c.again)
	for len(c.again) == 0 {
		batch := c.nextBatch()
		switch len(batch) {
		case 0:
			c.release(&c.queue)
			return
		case 1:
			c.again = batch
			c.release(&c.again)
		default:
			c.batching = true
			c.batches.Go(func() { c.commit(ctx, batch) })
			return
		}
	}
}

// nextBatch takes what should go together, if anything.
func (c *committer) nextBatch() []*queued {
	for len(c.halves) > 0 {
		half := take(&c.halves[0], batchMost)
		c.halves = c.halves[1:]
		if len(half) > 0 {
			return half
		}
	}
	if c.rest > 0 || len(c.queue) < c.from {
		return nil
	}
	return take(&c.queue, batchMost)
}

// release lets events of list go singly, as many as may.
func (c *committer) release(list *[]*queued) {
	for c.singles < c.most {
		one := take(list, 1)
		if len(one) == 0 {
			return
		}
		c.singles++
		c.rest = max(0, c.rest-1)
		one[0].turn <- turn{alone: true}
	}
}

// take takes up to n events whose submitters still wait from the head of list.
func take(list *[]*queued, n int) []*queued {
	var out []*queued
	rest := *list
	for len(rest) > 0 && len(out) < n {
		if q := rest[0]; !q.gone {
			q.called = true
			out = append(out, q)
		}
		rest = rest[1:]
	}
	if len(rest) == 0 {
		rest = nil // let go of the array
	}
	*list = rest
	return out
}

// commit sends a batch and hands out what became of it. ctx is that of whoever
// gave the turn; its end does not end the batch, which is other callers' too.
func (c *committer) commit(ctx context.Context, batch []*queued) {
	msgs := make([]*nats.Msg, len(batch))
	for i, q := range batch {
		msgs[i] = q.msg
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	ack, err := c.publisher.PublishBatch(bounded, msgs)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.batching = false
	c.from = c.batchFrom
	if len(batch) >= batchGoesOn {
		c.from = 2
	}
	if err != nil {
		c.sendAgain(batch, err)
		c.dispatch(ctx)
		return
	}
	c.rested = 0
	first := ack.Sequence - uint64(len(batch)) + 1
	stored := make([]stream.Message, len(batch))
	for i, m := range msgs {
		stored[i] = asStored(m, first+uint64(i))
	}
	c.reader.Stored(stored...)
	for i, q := range batch {
		q.turn <- turn{ack: stream.Ack{Stream: ack.Stream, Sequence: first + uint64(i)}}
	}
	c.dispatch(ctx)
}

func asStored(m *nats.Msg, sequence uint64) stream.Message {
	return stream.Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Sequence: sequence}
}

// sendAgain puts the events of a batch that failed before all others.
func (c *committer) sendAgain(batch []*queued, err error) {
	for _, q := range batch {
		q.called = false
	}
	if code := stream.CodeOf(err); code == stream.CodeBatchIncomplete || code == stream.CodeBatchesInFlight {
		c.rested = min(max(2*c.rested, restFirst), restMost)
		c.rest = c.rested
		c.again = append(c.again, batch...)
		return
	}
	var refused *stream.APIError
	if half := len(batch) / 2; errors.As(err, &refused) && half >= batchGoesOn {
		c.halves = append(c.halves, batch[:half:half], batch[half:])
		return
	}
	c.again = append(c.again, batch...)
}
