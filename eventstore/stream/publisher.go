package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// Ack is an acknowledgement: the message is in the stream, as durable as the
// server makes it.
type Ack struct {
	Stream   string
	Sequence uint64
	// Duplicate says that a message with this id was stored before, at Sequence.
	Duplicate bool
}

// Publisher sends messages and matches the acknowledgements, with any number in
// flight, on one subscription. It is safe for concurrent use. Close ends it.
type Publisher struct {
	conn   *nats.Conn
	prefix string // of the reply subjects, with the last dot
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan<- *nats.Msg
}

// NewPublisher is a publisher on conn, which stays the caller's.
func NewPublisher(conn *nats.Conn) (*Publisher, error) {
	p := &Publisher{conn: conn, prefix: conn.NewInbox() + ".", waiting: make(map[uint64]chan<- *nats.Msg)}
	sub, err := conn.Subscribe(p.prefix+"*", p.answer)
	if err != nil {
		return nil, fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	p.sub = sub
	return p, nil
}

// Close stops listening. Publishes in flight end with their context. A second
// call does nothing.
func (p *Publisher) Close() error {
	err := p.sub.Unsubscribe()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		return fmt.Errorf("unsubscribe from acknowledgements: %w", err)
	}
	return nil
}

// Publish sends m and waits for its acknowledgement. ctx should carry a
// deadline: its end is [ErrNoAnswer] joined with ctx's error.
func (p *Publisher) Publish(ctx context.Context, m *nats.Msg) (Ack, error) {
	token, answer := p.expect()
	defer p.forget(token)
	if err := p.send(m.Subject, p.prefix+strconv.FormatUint(token, 36), m.Header, m.Data); err != nil {
		return Ack{}, err
	}
	return await(ctx, answer)
}

// PublishBatch sends ms to one stream as one atomic batch: all are stored, one
// after the other and with one fsync, or none. The batch needs AllowAtomicPublish and at
// most 1,000 messages, one for each subject that carries an expectation.
//
// An [*APIError] says that none was stored, not which message is to blame; after
// any other error all may be stored. The acknowledgement is the last message's.
//
// nats.go 1.55 has no publisher for batches; the protocol is that of nats-server,
// server/stream.go, processJetStreamAtomicBatchMsg.
func (p *Publisher) PublishBatch(ctx context.Context, ms []*nats.Msg) (Ack, error) {
	token, answer := p.expect()
	defer p.forget(token)
	id := []string{nats.NewInbox()[len(nats.InboxPrefix):]}
	header := make(nats.Header) // of one message after the other: what is sent is encoded at once
	for i, m := range ms {
		clear(header)
		maps.Copy(header, m.Header)
		header["Nats-Batch-Id"] = id
		header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		reply := ""
		if i == len(ms)-1 {
			header["Nats-Batch-Commit"] = []string{"1"}
			reply = p.prefix + strconv.FormatUint(token, 36)
		}
		if err := p.send(m.Subject, reply, header, m.Data); err != nil {
			return Ack{}, err
		}
	}
	return await(ctx, answer)
}

func (p *Publisher) send(subject, reply string, header nats.Header, data []byte) error {
	m := nats.Msg{Subject: subject, Reply: reply, Header: header, Data: data}
	if err := p.conn.PublishMsg(&m); err != nil {
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return nil
}

// expect makes a place for one answer.
func (p *Publisher) expect() (uint64, <-chan *nats.Msg) {
	answer := make(chan *nats.Msg, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	p.waiting[p.next] = answer
	return p.next, answer
}

func (p *Publisher) forget(token uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, token)
}

// answer hands a reply to whoever waits for it; one that comes too late is dropped.
func (p *Publisher) answer(m *nats.Msg) {
	token, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, p.prefix), 36, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	waiting := p.waiting[token]
	delete(p.waiting, token)
	p.mu.Unlock()
	if waiting != nil {
		waiting <- m
	}
}

func await(ctx context.Context, answer <-chan *nats.Msg) (Ack, error) {
	select {
	case m := <-answer:
		return parseAck(m)
	case <-ctx.Done():
		return Ack{}, fmt.Errorf("%w: %w", ErrNoAnswer, ctx.Err())
	}
}

const statusNoResponders = "503"

func parseAck(m *nats.Msg) (Ack, error) {
	if m.Header.Get("Status") == statusNoResponders {
		return Ack{}, fmt.Errorf("%w: %w", ErrNoAnswer, nats.ErrNoResponders)
	}
	var body struct {
		Stream    string    `json:"stream"`
		Seq       uint64    `json:"seq"`
		Duplicate bool      `json:"duplicate"`
		Error     *APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &body); err != nil {
		return Ack{}, fmt.Errorf("%w: unreadable acknowledgement: %w", ErrNoAnswer, err)
	}
	if body.Error != nil {
		return Ack{}, body.Error
	}
	if body.Stream == "" || body.Seq == 0 {
		return Ack{}, fmt.Errorf("%w: acknowledgement without a sequence", ErrNoAnswer)
	}
	return Ack{Stream: body.Stream, Sequence: body.Seq, Duplicate: body.Duplicate}, nil
}
