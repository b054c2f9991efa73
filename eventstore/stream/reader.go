package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is a stored message.
type Message struct {
	Subject  string
	Header   nats.Header
	Data     []byte
	Sequence uint64
	// RawHeader stands for Header where that is nil: the bytes as they are stored.
	RawHeader []byte
	// Made has room for what one who follows makes of the message, and others use; nil
	// when the message came from the server, to one alone.
	Made *atomic.Value
}

// Value is the first value of a header, spelled as key is; "" for none.
func (m *Message) Value(key string) string {
	if m.Header != nil {
		return m.Header.Get(key)
	}
	return string(m.raw(key))
}

// Is reports whether [Message.Value] of key is value.
func (m *Message) Is(key, value string) bool {
	if m.Header != nil {
		return m.Header.Get(key) == value
	}
	return string(m.raw(key)) == value
}

// raw is the first value of a header in the bytes as they are stored.
func (m *Message) raw(key string) []byte {
	rest := m.RawHeader // NATS/1.0, and "key: value" in lines that end in CR LF
	for len(rest) > 0 {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		if len(line) > len(key) && string(line[:len(key)]) == key && line[len(key)] == ':' {
			return bytes.TrimSpace(line[len(key)+1:])
		}
	}
	return nil
}

// Reader reads one stream. It is safe for concurrent use.
type Reader struct {
	js     jetstream.JetStream
	conn   *nats.Conn
	stream string
	log    *slog.Logger
	tail   tail
}

// NewReader is a reader of the named stream. It logs when following starts over.
func NewReader(js jetstream.JetStream, name string, log *slog.Logger) *Reader {
	return &Reader{js: js, conn: js.Conn(), stream: name, log: log}
}

// request is the server's JSApiMsgGetRequest, as far as it is used.
type request struct {
	Seq     uint64 `json:"seq,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
	Batch   int    `json:"batch,omitempty"`
}

// At is the message with this sequence, from the stream's leader.
func (r *Reader) At(ctx context.Context, sequence uint64) (Message, error) {
	return r.get(ctx, request{Seq: sequence})
}

// Last is the last message of subject, from the stream's leader.
func (r *Reader) Last(ctx context.Context, subject string) (Message, error) {
	return r.get(ctx, request{LastFor: subject})
}

// Subject reads every message of subject, oldest first, handing each to handle.
//
// The bulk comes by direct get, which any replica may answer and so may lack the
// newest messages; the end is asked of the leader, one by one, until it has no more.
func (r *Reader) Subject(ctx context.Context, subject string, handle func(Message) error) error {
	var last uint64
	see := func(m Message) error {
		last = m.Sequence
		return handle(m)
	}
	for n := directBatch; n == directBatch; {
		var err error
		if n, err = r.direct(ctx, request{Seq: last + 1, NextFor: subject, Batch: directBatch}, see); err != nil {
			return err
		}
	}
	for {
		m, err := r.get(ctx, request{Seq: last + 1, NextFor: subject})
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := see(m); err != nil {
			return err
		}
	}
}

// get asks the leader. In a cluster no other server answers this request
// (nats-server, server/jetstream_api.go, jsMsgGetRequest).
func (r *Reader) get(ctx context.Context, req request) (Message, error) {
	ctx, cancel := context.WithTimeout(ctx, APITimeout)
	defer cancel()
	body, err := json.Marshal(req)
	if err != nil {
		return Message{}, fmt.Errorf("read stream %s: %w", r.stream, err)
	}
	answer, err := r.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+r.stream, body)
	if err != nil {
		return Message{}, fmt.Errorf("read stream %s: %w: %w", r.stream, ErrNoAnswer, err)
	}
	var got struct {
		Error   *APIError `json:"error"`
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return Message{}, fmt.Errorf("read stream %s: %w", r.stream, err)
	}
	switch {
	case got.Error != nil && got.Error.Code == CodeNoMessage:
		return Message{}, ErrNotFound
	case got.Error != nil:
		return Message{}, fmt.Errorf("read stream %s: %w", r.stream, got.Error)
	}
	m := Message{Subject: got.Message.Subject, Data: got.Message.Data, Sequence: got.Message.Seq}
	if len(got.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			return Message{}, fmt.Errorf("read stream %s: %w", r.stream, err)
		}
	}
	return m, nil
}

const (
	directBatch   = 1100 // more than an order may have events: one is enough for it
	directTimeout = 2 * time.Second
)

// direct asks for a batch of messages, which end with a status message, and
// returns how many came. A batch that is cut short is no error: the leader is asked for
// the rest.
func (r *Reader) direct(ctx context.Context, req request, handle func(Message) error) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	body, err := json.Marshal(req)
	if err != nil {
		return n, fmt.Errorf("read stream %s: %w", r.stream, err)
	}
	inbox := r.conn.NewInbox()
	// With room for all that may come: SubscribeSync would clear half a megabyte for each
	// order that is read (nats.go, nats.go, DefaultMaxChanLen). When the connection
	// is closed nats.go does not close this channel: directTimeout ends the wait.
	answers := make(chan *nats.Msg, req.Batch+1)
	sub, err := r.conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return n, fmt.Errorf("read stream %s: %w: %w", r.stream, ErrNoAnswer, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := r.conn.PublishRequest("$JS.API.DIRECT.GET."+r.stream, inbox, body); err != nil {
		return n, fmt.Errorf("read stream %s: %w: %w", r.stream, ErrNoAnswer, err)
	}
	for ; ; n++ {
		var m *nats.Msg
		select {
		case m = <-answers:
		case <-ctx.Done():
			return n, nil // the leader is asked for what is missing, and says what is wrong
		}
		if m.Header.Get("Status") != "" {
			return n, nil
		}
		sequence, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
		if err != nil {
			return n, fmt.Errorf("read stream %s: direct get without a sequence: %w", r.stream, err)
		}
		if err := handle(Message{Subject: m.Header.Get("Nats-Subject"), Header: m.Header, Data: m.Data, Sequence: sequence}); err != nil {
			return n, err
		}
	}
}
