package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullBatch     = 2048             // messages on their way at most
	maxHandled    = 1024             // messages in one call of handle
	pullExpires   = 30 * time.Second // of one request
	pullHeartbeat = 3 * time.Second
	scanHeartbeat = time.Second            // of a scan, which asks the leader then
	pullSilence   = 8 * time.Second        // without message or heartbeat: start over
	consumerIdle  = time.Minute            // after which the server drops a reader's consumer
	tailPause     = 250 * time.Millisecond // without anything new, from the tail alone: ask the server
	tailHole      = 25 * time.Millisecond  // so, when the tail has what comes later
	retryFirst    = 50 * time.Millisecond
	retryMost     = 2 * time.Second
)

// errRestart says that the session is over and another goes on where it ended;
// errOvertaken so, but that nothing is wrong; errDone that a scan has seen all; errIdle
// that it looks so, and that the leader is to be asked.
var (
	errRestart   = errors.New("session ended")
	errOvertaken = errors.New("the tail was faster than the server, and has no more")
	errDone      = errors.New("scan is done")
	errIdle      = errors.New("the server has no more to send")
)

// Follow hands every message after the sequence after, and of subjects when
// there are any, to handle: in order, in batches of what is there, and then live.
// It starts over by itself after a lost connection, a moved leader or a deleted
// consumer. It returns nil when ctx ends, otherwise the error of handle.
// Messages passed to handle are the callee's, the slice is not.
func (r *Reader) Follow(ctx context.Context, after uint64, subjects []string, handle func([]Message) error) error {
	f := &follower{reader: r, subjects: subjects, last: after, tailed: len(subjects) == 0, handle: handle}
	return f.run(ctx)
}

// Scan hands what the stream holds after the sequence after and up to upTo, and
// of subjects when there are any, to handle, as Follow does, and returns when the leader has no more
// of it. A message that the server cannot read is passed over. An end of ctx is an error.
func (r *Reader) Scan(ctx context.Context, after, upTo uint64, subjects []string, handle func([]Message) error) error {
	f := &follower{reader: r, subjects: subjects, last: after, bounded: true, upTo: upTo, handle: handle}
	if err := f.run(ctx); !errors.Is(err, errDone) {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

func (f *follower) run(ctx context.Context) error {
	r := f.reader
	wait := retryFirst
	for ctx.Err() == nil {
		before := f.last
		err := f.session(ctx)
		if f.overtaken = errors.Is(err, errOvertaken); f.overtaken {
			continue
		}
		if !errors.Is(err, errRestart) {
			return err
		}
		if f.last > before {
			wait = retryFirst
		}
		r.log.InfoContext(ctx, "stream reader starts over", "stream", r.stream, "after", f.last, "reason", err)
		if !sleep(ctx, wait) {
			break
		}
		wait = min(2*wait, retryMost)
	}
	return nil
}

// sleep waits, and reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// isMore is closed.
var isMore = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// follower is the state of one Follow. A session is one consumer: it pulls, and
// counts the consumer's own sequence so that a lost message ends it.
type follower struct {
	reader   *Reader
	subjects []string
	last     uint64 // stream sequence handed over
	handle   func([]Message) error
	tailed   bool   // what this process stores is taken from the tail
	bounded  bool   // a scan, which ends at upTo or when nothing is left
	upTo     uint64 // of a scan

	inbox       string
	consumer    string
	delivered   uint64 // consumer sequence seen
	outstanding int    // messages asked for and not yet seen
	stale       int    // messages that the tail had before, since any were asked for or new
	overtaken   bool   // how the session before ended
	reconnects  uint64 // of the connection, when that began
	hole        uint64 // what the tail lacked when it was last seen to lack anything
	batch       []Message
}

// session reads with one consumer until something is wrong with it (errRestart),
// ctx ends (nil) or handle refuses.
func (f *follower) session(ctx context.Context) error {
	conn := f.reader.conn
	status := conn.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer conn.RemoveStatusListener(status)
	reconnects := conn.Stats().Reconnects
	consumer, pending, err := f.createConsumer(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errRestart, err)
	}
	f.consumer, f.delivered, f.outstanding = consumer, 0, 0
	defer f.deleteConsumer()
	if same := f.overtaken && f.reconnects == reconnects; f.tailed && !same {
		f.reader.tail.forget()
	}
	f.reconnects = reconnects
	if f.bounded && pending == 0 {
		if err := f.exhausted(ctx); err != nil {
			return err
		}
	}

	f.inbox = conn.NewInbox()
	messages := make(chan *nats.Msg, 2*pullBatch)
	sub, err := conn.ChanSubscribe(f.inbox, messages)
	if err != nil {
		return fmt.Errorf("%w: %w", errRestart, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.pull(); err != nil {
		return err
	}
	return f.loop(ctx, messages, status)
}

func (f *follower) loop(ctx context.Context, messages <-chan *nats.Msg, status <-chan nats.Status) error {
	silence := time.NewTimer(pullSilence)
	defer silence.Stop()
	for {
		stored, err := f.takeTail(silence)
		if err != nil {
			return err
		}
		select {
		case <-stored:
		case <-ctx.Done():
			return nil
		case <-status: // the connection was lost meanwhile, and with it our request
			return errRestart
		case <-silence.C:
			if f.asksNot() {
				return errOvertaken
			}
			return errRestart
		case m := <-messages:
			if err := f.take(ctx, m, messages); err != nil {
				return err
			}
			silence.Reset(f.patience())
		}
	}
}

// patience is how long nothing may come before the session ends.
func (f *follower) patience() time.Duration {
	if f.asksNot() {
		return tailPause
	}
	return pullSilence
}

// takeTail hands over what this process stored after what was handed over before, and
// says when there is more. A scan does without, and so does who wants some subjects only.
func (f *follower) takeTail(silence *time.Timer) (more <-chan struct{}, err error) {
	if !f.tailed {
		return nil, nil //nolint:nilnil // nil is never closed
	}
	more = f.reader.tail.changed() // before the look, so that nothing is missed
	batch, hole := f.reader.tail.after(f.last, f.batch[:0], maxHandled)
	if len(batch) == maxHandled {
		more = isMore
	}
	f.batch = batch
	if err := f.handOver(); err != nil {
		return nil, err
	}
	if f.asksNot() {
		f.awaitTail(silence, len(batch) > 0, hole)
	}
	return more, nil
}

// awaitTail gives the tail, which alone is waited for, its time: little when it lacks what
// comes next and has what comes later, for then another process stored that, unless an
// acknowledgement was overtaken by a later one's.
func (f *follower) awaitTail(silence *time.Timer, moved, hole bool) {
	switch next := f.last + 1; {
	case hole && f.hole != next:
		f.hole = next
		silence.Reset(tailHole)
	case moved && !hole:
		silence.Reset(tailPause)
	}
}

// handOver hands over the batch, and holds nothing of it.
func (f *follower) handOver() error {
	if len(f.batch) == 0 {
		return nil
	}
	if err := f.handle(f.batch); err != nil {
		return err
	}
	f.last = f.batch[len(f.batch)-1].Sequence
	clear(f.batch)
	return nil
}

// take reads m and whatever else is already here, hands it over, and asks for more.
func (f *follower) take(ctx context.Context, m *nats.Msg, rest <-chan *nats.Msg) error {
	f.batch = f.batch[:0]
	err := f.read(m)
	for err == nil && len(f.batch) < maxHandled {
		select {
		case m = <-rest:
			err = f.read(m)
			continue
		default:
		}
		break
	}
	if herr := f.handOver(); herr != nil {
		return herr
	}
	if errors.Is(err, errIdle) {
		err = f.exhausted(ctx)
	}
	if err != nil {
		return err
	}
	return f.more()
}

// read adds m to the batch, or acts on it when it is a status.
func (f *follower) read(m *nats.Msg) error {
	if code := m.Header.Get("Status"); len(m.Data) == 0 && code != "" {
		return f.status(code, m.Header)
	}
	d, ok := parseReply(m.Reply)
	if !ok || d.consumerSeq != f.delivered+1 {
		return errRestart // one was lost on the way: read it again
	}
	f.delivered, f.outstanding = d.consumerSeq, f.outstanding-1
	if d.streamSeq <= f.last { // the tail was faster
		f.stale++
		return nil
	}
	f.stale = 0
	if f.bounded && d.streamSeq > f.upTo {
		return errDone
	}
	f.batch = append(f.batch, Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Sequence: d.streamSeq})
	switch {
	case f.bounded && d.streamSeq == f.upTo:
		return errDone
	case f.bounded && d.pending == 0:
		return errIdle
	default:
		return nil
	}
}

// exhausted asks the stream's leader whether a scan has seen all: errDone when it
// has. The consumer's own word is not enough. A replica may lag behind, and says that nothing is
// pending; a message that the server counts but cannot read stays pending for
// ever, since the consumer passes over it (nats-server, server/filestore.go, firstMatching).
func (f *follower) exhausted(ctx context.Context) error {
	subjects := f.subjects
	if len(subjects) == 0 {
		subjects = []string{">"}
	}
	for _, subject := range subjects {
		m, err := f.reader.get(ctx, request{Seq: f.last + 1, NextFor: subject})
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return fmt.Errorf("%w: %w", errRestart, err)
		case m.Sequence <= f.upTo:
			return nil // it will come
		}
	}
	return errDone
}

// status acts on what the server says of a pull request: 100 is a heartbeat,
// 404 and 408 its end; anything else ends the session.
func (f *follower) status(code string, header nats.Header) error {
	switch code {
	case "100":
		// A heartbeat is sent when the consumer found nothing to send.
		if f.bounded && header.Get("Nats-Last-Consumer") == strconv.FormatUint(f.delivered, 10) {
			return errIdle
		}
		return nil
	case "404", "408":
		pending, err := strconv.Atoi(header.Get("Nats-Pending-Messages"))
		if err != nil {
			return errRestart
		}
		f.outstanding -= pending
		return nil
	default:
		return errRestart
	}
}

// more asks for messages when half of those asked for have come, unless the tail had
// each of these before: to be sent what this process stored itself costs as much as to
// store it. Who asks no more goes on at the tail; when nothing comes from there either, or it
// left something out that another process stored, another session begins where it ended.
func (f *follower) more() error {
	if f.outstanding > pullBatch/2 || f.stale >= pullBatch/2 {
		return nil
	}
	return f.pull()
}

// asksNot reports that the server will send nothing, for it was not asked to.
func (f *follower) asksNot() bool { return f.outstanding == 0 && f.stale >= pullBatch/2 }

// pull asks for as many messages as may be on their way.
func (f *follower) pull() error {
	n, heartbeat := pullBatch-f.outstanding, pullHeartbeat
	if f.bounded {
		heartbeat = scanHeartbeat
	}
	body, err := json.Marshal(map[string]int64{
		"batch": int64(n), "expires": int64(pullExpires), "idle_heartbeat": int64(heartbeat),
	})
	if err != nil {
		return fmt.Errorf("follow stream %s: %w", f.reader.stream, err)
	}
	subject := "$JS.API.CONSUMER.MSG.NEXT." + f.reader.stream + "." + f.consumer
	if err := f.reader.conn.PublishRequest(subject, f.inbox, body); err != nil {
		return fmt.Errorf("%w: %w", errRestart, err)
	}
	f.outstanding, f.stale = f.outstanding+n, 0
	return nil
}

// createConsumer makes a consumer that lives in memory and acknowledges nothing.
func (f *follower) createConsumer(ctx context.Context) (name string, pending uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, APITimeout)
	defer cancel()
	c, err := f.reader.js.CreateConsumer(ctx, f.reader.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.last + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    f.subjects,
		InactiveThreshold: consumerIdle,
		MaxWaiting:        16,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return "", 0, fmt.Errorf("follow stream %s: %w", f.reader.stream, err)
	}
	return c.CachedInfo().Name, c.CachedInfo().NumPending, nil
}

// deleteConsumer is a courtesy, whose answer nobody waits for: the server drops an idle
// one by itself.
func (f *follower) deleteConsumer() {
	conn := f.reader.conn
	_ = conn.PublishRequest("$JS.API.CONSUMER.DELETE."+f.reader.stream+"."+f.consumer, conn.NewInbox(), nil)
}

// delivery is what a delivery's reply subject says.
type delivery struct {
	streamSeq, consumerSeq, pending uint64
}

// parseReply reads $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>,
// or the same with domain and account after ACK, and perhaps a random token at the end.
func parseReply(reply string) (delivery, bool) {
	at := 5
	switch dots := strings.Count(reply, "."); {
	case dots == 8:
	case dots >= 10:
		at += 2
	default:
		return delivery{}, false
	}
	for range at {
		_, reply, _ = strings.Cut(reply, ".")
	}
	var numbers [4]uint64 // stream and consumer sequence, time, pending
	for i := range numbers {
		var text string
		text, reply, _ = strings.Cut(reply, ".")
		var err error
		if numbers[i], err = strconv.ParseUint(text, 10, 64); err != nil {
			return delivery{}, false
		}
	}
	return delivery{streamSeq: numbers[0], consumerSeq: numbers[1], pending: numbers[3]}, true
}
