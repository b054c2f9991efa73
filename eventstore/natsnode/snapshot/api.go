package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

const (
	chunkSize  = 64 << 10
	windowSize = 8 << 20
	// stall is how long a transfer may stand still. The server itself gives up
	// after 5 s; the start and the end of one may take longer.
	stall = time.Minute
)

// Info is what a snapshot is of.
type Info struct {
	// Config is the stream's, as the server says it: all of it, also what the
	// client library does not know.
	Config json.RawMessage `json:"config"`
	State  State           `json:"state"`
}

// State is how far a stream is.
type State struct {
	Messages  uint64    `json:"messages"`
	Bytes     uint64    `json:"bytes"`
	First     uint64    `json:"first_seq"`
	FirstTime time.Time `json:"first_ts"`
	Last      uint64    `json:"last_seq"`
	LastTime  time.Time `json:"last_ts"`
	Consumers int       `json:"consumer_count"`
}

// Take writes a snapshot of the named stream, its consumers included, to w while
// the stream goes on; progress hears of every chunk's bytes. The stream's last sequence
// at its beginning is the snapshot's last. An [*stream.APIError] with
// [stream.CodeStreamNotFound] says that there is no such stream.
func Take(ctx context.Context, conn *nats.Conn, name string, w io.Writer, progress func(bytes int)) (Info, error) {
	return take(ctx, conn, name, false, w, progress)
}

// TakeMessages is Take without the consumers.
func TakeMessages(ctx context.Context, conn *nats.Conn, name string, w io.Writer) (Info, error) {
	return take(ctx, conn, name, true, w, func(int) {})
}

func take(
	ctx context.Context, conn *nats.Conn, name string, messagesOnly bool, w io.Writer, progress func(bytes int),
) (Info, error) {
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return Info{}, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, 2*windowSize); err != nil {
		return Info{}, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	request := map[string]any{"deliver_subject": inbox, "chunk_size": chunkSize, "window_size": windowSize, "no_consumers": messagesOnly}
	var answer struct {
		Info

		Error *stream.APIError `json:"error"`
	}
	if err := call(ctx, conn, "$JS.API.STREAM.SNAPSHOT."+name, request, &answer); err != nil {
		return Info{}, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	if answer.Error != nil {
		return Info{}, fmt.Errorf("snapshot of %s: %w", name, answer.Error)
	}
	if err := receive(ctx, sub, w, progress); err != nil {
		return Info{}, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	return answer.Info, nil
}

// receive writes chunks until the empty one, whose status says how it ended.
func receive(ctx context.Context, sub *nats.Subscription, w io.Writer, progress func(bytes int)) error {
	for {
		m, err := next(ctx, sub)
		if err != nil {
			return err
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get("Status"); status != "" && status != "204" {
				return domain.Errorf(kindOf(status), "the server ended it: %s %s", status, m.Header.Get("Description"))
			}
			return nil
		}
		if _, err := w.Write(m.Data); err != nil {
			return err //nolint:wrapcheck // the caller names the stream
		}
		progress(len(m.Data))
		if m.Reply == "" {
			continue // the last chunk
		}
		if err := m.Respond(nil); err != nil {
			return domain.Errorf(domain.Unavailable, "%w: %w", stream.ErrNoAnswer, err)
		}
	}
}

// kindOf is the kind of a status: 500 says that the server cannot read the stream.
func kindOf(status string) domain.ErrorKind {
	if status == "500" {
		return domain.Corrupt
	}
	return domain.Unavailable
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "%w: %w", stream.ErrNoAnswer, err)
	}
	return m, nil
}

// Put makes the stream of info from the snapshot in r. The server refuses one that is there.
func Put(ctx context.Context, conn *nats.Conn, name string, info Info, r io.Reader, progress func(bytes int)) error {
	var begun struct {
		DeliverSubject string           `json:"deliver_subject"`
		Error          *stream.APIError `json:"error"`
	}
	if err := call(ctx, conn, "$JS.API.STREAM.RESTORE."+name, info, &begun); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	if begun.Error != nil {
		return fmt.Errorf("restore %s: %w", name, begun.Error)
	}
	chunk := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, chunk)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("restore %s: %w", name, err)
		}
		if serr := send(ctx, conn, begun.DeliverSubject, chunk[:n]); serr != nil {
			return fmt.Errorf("restore %s: %w", name, serr)
		}
		if n == 0 { // and an empty chunk is the end
			return nil
		}
		progress(n)
	}
}

// send waits for the answer to one chunk, which is empty unless something went
// wrong or it was the last.
func send(ctx context.Context, conn *nats.Conn, subject string, chunk []byte) error {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	m, err := ask(ctx, conn, subject, chunk)
	if err != nil {
		return err
	}
	if len(m.Data) == 0 {
		return nil
	}
	var answer struct {
		Error *stream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return fmt.Errorf("unreadable answer: %w", err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

func call(ctx context.Context, conn *nats.Conn, subject string, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	m, err := ask(ctx, conn, subject, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return fmt.Errorf("unreadable answer: %w", err)
	}
	return nil
}

// askAgain is the pause after a request that nobody heard.
const askAgain = 50 * time.Millisecond

// ask sends a request, again and again while nobody hears it: in a cluster it
// takes a moment until every server knows who listens, and what nobody heard
// cannot have been done.
func ask(ctx context.Context, conn *nats.Conn, subject string, data []byte) (*nats.Msg, error) {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		m, err := conn.RequestWithContext(ctx, subject, data)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, nats.ErrNoResponders) {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		return nil, domain.Errorf(domain.Unavailable, "%w: %w", stream.ErrNoAnswer, err)
	}
}
