package checkout

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
)

const (
	// frontPrefix is where a server whose accounts say so brings what checkouts publish
	// to intake.<source> (natsnode.Taken).
	frontPrefix = "comanda." + intakePrefix
	// frontQueue: were there two fronts, one of them takes a message.
	frontQueue = "comanda"
	// takenHeader says, in INTAKE, when a message was taken that was passed on.
	takenHeader = "Comanda-Taken-At"
	// idHeader is the sender's Nats-Msg-Id there: the stream would drop another source's
	// message with the same one, and answer as if it had it.
	idHeader = "Comanda-Message-Id"
)

// Front takes what checkouts publish before it is in INTAKE, records it, and then answers
// as the stream would. What it cannot record now it passes on to INTAKE, which
// answers itself. Run may be called once.
type Front struct {
	checkout *Checkout
	conn     *nats.Conn
	now      func() time.Time
	lanes    *lanes
	metrics  *frontMetrics
	ready    chan struct{}

	sub      atomic.Pointer[nats.Subscription]
	stopping atomic.Bool
	last     uint64    // the number that was given last; only take has it
	tried    time.Time // when a message was taken last that was not passed on at once; only take has it

	// A server lets no client name as its reply subject the one that an answer to another
	// account has (nats-server 2.15, server/client.go, isReservedReply): the intake answers
	// below inbox, and each answer is sent on to the subject that follows it there.
	inbox   string
	owed    atomic.Int64  // answers of the intake that are not yet sent on
	settled chan struct{} // one was
}

// Front is one that works as c does. conn is one of its own, to the account that owns INTAKE, with no
// more rights there than natsnode.Node.ConnectFront has: it sends on headers of others.
// It comes before Run, which is then to believe what a Front says of a message passed on.
func (c *Checkout) Front(conn *nats.Conn, now func() time.Time, registerer prometheus.Registerer) (*Front, error) {
	c.fronted.Store(true)
	f := &Front{checkout: c, conn: conn, now: now, ready: make(chan struct{}), inbox: conn.NewInbox() + ".", settled: make(chan struct{}, 1)}
	f.lanes = newLanes(c.cfg.MaxRequests, mostInHand, f.work)
	var err error
	f.metrics, err = newFrontMetrics(registerer, f.dropped)
	return f, err
}

// Ready is closed when messages are being taken.
func (f *Front) Ready() <-chan struct{} { return f.ready }

// Run takes messages until ctx ends, and is back when each is answered or passed on. The
// server tells who publishes before and after that there is no responder.
func (f *Front) Run(ctx context.Context) error {
	answers, err := f.conn.Subscribe(f.inbox+">", f.sendOn)
	if err != nil {
		return domain.Errorf(domain.Unavailable, "hear the intake: %w", err)
	}
	sub, err := f.conn.QueueSubscribe(frontPrefix+"*", frontQueue, f.take)
	if err != nil {
		return domain.Errorf(domain.Unavailable, "take messages: %w", err)
	}
	drained := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(drained) })
	if err := sub.SetPendingLimits(untaken*f.checkout.cfg.MaxRequests, nats.DefaultSubPendingBytesLimit); err != nil {
		return domain.Errorf(domain.Unavailable, "take messages: %w", err)
	}
	f.sub.Store(sub)
	if err := f.conn.FlushTimeout(apiWait); err != nil {
		return domain.Errorf(domain.Unavailable, "take messages: %w", err)
	}
	close(f.ready)
	<-ctx.Done()
	f.stopping.Store(true)
	if err := sub.Drain(); err == nil { // or the connection has ended, and the subscription with it
		<-drained
	}
	f.lanes.close()
	f.settle()
	if err := errors.Join(answers.Unsubscribe(), f.conn.FlushTimeout(apiWait)); err != nil {
		return domain.Errorf(domain.Unavailable, "stop taking messages: %w", err)
	}
	return nil
}

// mostInHand is how many bytes of messages are in hand at most, with their headers: what was decoded
// of them is as much again.
const mostInHand = 64 << 20

// untaken is how many times MaxRequests messages, or 64 MiB, wait at most to be taken, which takes some
// microseconds each: what comes then is dropped by the connection.
const untaken = 16

// settle waits until the intake has answered what was passed on; not for ever, since it
// does not answer when it cannot store.
func (f *Front) settle() {
	timer := time.NewTimer(apiWait)
	defer timer.Stop()
	for f.owed.Load() > 0 {
		select {
		case <-f.settled:
		case <-timer.C:
			return
		}
	}
}

// sendOn gives an answer of the intake to who waits for it. One with a status is the
// server's own, that there is no intake: nobody has answered.
func (f *Front) sendOn(m *nats.Msg) {
	if m.Header.Get("Status") == "" {
		if err := f.conn.Publish(strings.TrimPrefix(m.Subject, f.inbox), m.Data); err != nil {
			f.checkout.logger.Warn("answer of the intake not sent on", "error", err)
		}
	}
	f.owed.Add(-1)
	select {
	case f.settled <- struct{}{}:
	default: // as was another
	}
}

// take has m recorded beside others, or passes it on. It is called for one message
// after the other, in the order in which the server has them.
func (f *Front) take(m *nats.Msg) {
	j := f.job(m)
	if f.stopping.Load() || streamOnly(m.Header) || f.checkout.away.Load() && !f.mayTry(j.received) {
		f.passOn(j)
		return
	}
	f.tried = j.received
	f.checkout.understand(context.Background(), j)
	if j.tooLarge || !f.lanes.hand(j) {
		f.passOn(j)
	}
}

// tryEvery is how often one message is tried while nothing could be recorded: nobody else may try for as
// long as MaxRetryDelay, or at all.
const tryEvery = time.Second

// mayTry reports whether a message of now may find out that the log is back. A clock that went
// back holds up nothing.
func (f *Front) mayTry(now time.Time) bool {
	since := now.Sub(f.tried)
	return since >= tryEvery || since < 0
}

// job is m with the time and, made of it, the number of its own: microseconds since 1970, and
// one more than the last where that is not later. So it is no sequence that INTAKE
// will ever reach, and one that JavaScript can hold.
func (f *Front) job(m *nats.Msg) *job {
	now := f.now().UTC()
	f.last = max(f.last+1, uint64(max(now.UnixMicro(), 0)))
	return &job{
		token: strings.TrimPrefix(m.Subject, frontPrefix), header: m.Header, body: m.Data, size: m.Size(), reply: m.Reply,
		received: now, sequence: f.last,
	}
}

// requestInfo is what the server adds to a message that comes from another account, and takes
// away from one that it stores.
const requestInfo = "Nats-Request-Info"

// streamOnly reports whether header asks what only a stream can do: a batch, an
// expectation, a schedule, whatever else servers know of one day.
func streamOnly(header nats.Header) bool {
	for name := range header {
		if len(name) > len("Nats-") && strings.EqualFold(name[:len("Nats-")], "Nats-") && name != nats.MsgIdHdr && name != requestInfo {
			return true
		}
	}
	return false
}

// work records one message and answers its sender, or passes it on.
func (f *Front) work(j *job) {
	if f.stopping.Load() {
		f.passOn(j)
		return
	}
	c := f.checkout
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.RecordTimeout)
	defer cancel()
	receipt, err := c.commit(ctx, j)
	c.away.Store(domain.KindOf(err) == domain.Unavailable)
	if err == nil {
		err = f.answer(j, &receipt)
	}
	if err != nil {
		c.logger.WarnContext(ctx, "message not recorded at once, passed on to the intake", "source", string(j.source), "error", err)
		f.passOn(j)
		return
	}
	f.metrics.recorded.Inc()
}

// answer publishes the outcome, and then what a stream answers that stored a message.
// Duplicate: every fact of it was recorded before.
func (f *Front) answer(j *job, receipt *intake.Receipt) error {
	if err := f.checkout.publish(f.conn, j, receipt.AppendMembers); err != nil || j.reply == "" {
		return err
	}
	b := append(make([]byte, 0, ackSize), `{"stream":"`+Stream+`","seq":`...)
	b = strconv.AppendUint(b, j.sequence, 10)
	if receipt.Duplicate() {
		b = append(b, `,"duplicate":true`...)
	}
	if err := f.conn.Publish(j.reply, append(b, '}')); err != nil {
		return domain.Errorf(domain.Unavailable, "acknowledge: %w", err)
	}
	return nil
}

// ackSize holds an acknowledgement.
const ackSize = 64

// passOn publishes j to INTAKE, which answers its sender. Should that fail nobody
// answers, and the sender has to try again.
func (f *Front) passOn(j *job) {
	m := nats.NewMsg(intakePrefix + j.token)
	m.Data = j.body
	if j.reply != "" {
		m.Reply = f.inbox + j.reply
		f.owed.Add(1)
	}
	for name, values := range j.header {
		switch {
		case name == nats.MsgIdHdr:
			m.Header[idHeader] = values
		case name != requestInfo && name != takenHeader && name != idHeader && !forServer(name):
			m.Header[name] = values
		}
	}
	if len(j.body) <= f.checkout.cfg.MaxBody { // no larger than it came, where it may already be too large
		m.Header.Set(takenHeader, j.received.Format(time.RFC3339Nano))
	}
	f.metrics.passedOn.Inc()
	if err := f.conn.PublishMsg(m); err != nil {
		if m.Reply != "" {
			f.owed.Add(-1)
		}
		f.checkout.logger.Warn("message not passed on to the intake, nor answered", "source", string(intake.SanitizeSource(j.token)), "error", err)
	}
}

// forServer reports whether a header tells the server, or a client of it, what a sender may not
// tell them for us: to send a trace to a subject (nats-server 2.15, server/msgtrace.go), and no
// consumer hands over what has a status. The server takes these from what a checkout sends, but
// not where a line ends without a carriage return, as only nats.go reads it.
func forServer(name string) bool {
	return len(name) >= len(tracePrefix) && strings.EqualFold(name[:len(tracePrefix)], tracePrefix) || name == "Status" || name == "Description"
}

const tracePrefix = "Nats-Trace-"

// takenAt is when a message of INTAKE was taken that a Front passed on: its receipt, so
// that no later one of the same order that was not passed on goes before it. stored
// is when it came into INTAKE.
func takenAt(header nats.Header, stored time.Time) time.Time {
	taken, err := time.Parse(time.RFC3339Nano, header.Get(takenHeader))
	if err != nil || taken.After(stored) {
		return stored
	}
	return taken.UTC()
}

// dropped is how many messages the connection could not hold, which nobody answered.
func (f *Front) dropped() float64 {
	sub := f.sub.Load()
	if sub == nil {
		return 0
	}
	n, err := sub.Dropped()
	if err != nil { // it was closed
		return 0
	}
	return float64(n)
}
