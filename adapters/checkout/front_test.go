package checkout_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/checkout"
	"comanda.internal/domain"
)

// patient gives a busy machine the time to record before a message is passed on.
var patient = checkout.Config{RecordTimeout: 4 * time.Minute, AckWait: 5 * time.Minute}

// firstOwn is below every number that a front gives, and above all sequences of INTAKE.
const firstOwn = 1e15

// send publishes as the merchant does and wants an acknowledgement.
func (h *house) send(t *testing.T, m *nats.Msg) ack {
	t.Helper()
	got := h.request(t, h.merchant, m)
	if got.Error != nil || got.Stream != checkout.Stream || got.Seq == 0 {
		t.Fatalf("%s is answered %+v", m.Subject, got)
	}
	return got
}

// wantUntouched checks that INTAKE never had a message.
func (h *house) wantUntouched(t *testing.T) {
	t.Helper()
	s, err := h.js.Stream(t.Context(), checkout.Stream)
	must(t, err)
	if got := s.CachedInfo().State.LastSeq; got != 0 {
		t.Errorf("%s had %d messages", checkout.Stream, got)
	}
}

// counted is the value of a counter with the label value, or without any.
func counted(t *testing.T, registry *prometheus.Registry, name, result string) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && (result == "" || metric.GetLabel()[0].GetValue() == result) {
				return metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, result)
	return 0
}

// What a checkout publishes is recorded, told and acknowledged as if it had been in INTAKE, which
// never sees it; and again, as a duplicate, by the fact's own id and not the message's.
func TestTakenBeforeTheIntake(t *testing.T) {
	h := newHouse(t)
	r := h.start(t, options{cfg: patient})
	body := event("evt-1", "started", "A-1", "")
	first := h.send(t, message("loja-checkout", body, "Traceparent", trace, "X-Request-Id", "req-1", nats.MsgIdHdr, "m-1"))
	got := h.next(t)
	if first.Duplicate || first.Seq < firstOwn || got.Sequence != first.Seq {
		t.Errorf("acknowledged %+v, the outcome has %d", first, got.Sequence)
	}
	if got.Outcome != "applied" || got.MessageID != "m-1" || got.subject != "outcome.loja-checkout" || got.header.Get("traceparent") != trace {
		t.Errorf("%+v", got)
	}
	events, err := h.log.Order(t.Context(), got.OrderID)
	must(t, err)
	if len(events) != 1 || events[0].Event.Cause.RequestID != "req-1" || events[0].Event.Cause.Traceparent != trace {
		t.Errorf("stored %+v", events)
	}
	second := h.send(t, message("loja-checkout", body, nats.MsgIdHdr, "m-2"))
	if got := h.next(t); !second.Duplicate || second.Seq <= first.Seq || got.Outcome != "duplicate" || got.Revision != 1 || got.Sequence != second.Seq {
		t.Errorf("the repeat: %+v, %+v", second, got)
	}
	other := h.send(t, message("loja-checkout", event("evt-2", "started", "A-2", ""), nats.MsgIdHdr, "m-2"))
	if got := h.next(t); other.Duplicate || got.Outcome != "applied" {
		t.Errorf("another fact with the id of a message: %+v, %+v", other, got)
	}
	must(t, r.stop())
	h.wantUntouched(t)
	if n := counted(t, r.registry, "comanda_checkout_taken_total", "recorded"); n != 3 {
		t.Errorf("%g counted", n)
	}
}

// Clients of JetStream take the acknowledgement for one, also those that publish
// and hear of it later, and who wants none gets his outcome.
func TestJetStreamClientsAreAcknowledged(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{cfg: patient})
	js, err := jetstream.New(h.merchant, jetstream.WithPublishAsyncTimeout(3*answerWait))
	must(t, err)
	const messages = 50
	var futures []jetstream.PubAckFuture
	for i := range messages {
		future, err := js.PublishAsync("intake.loja-checkout", []byte(event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), "")))
		must(t, err)
		futures = append(futures, future)
	}
	for _, future := range futures {
		select {
		case got := <-future.Ok():
			if got.Stream != checkout.Stream || got.Sequence < firstOwn {
				t.Errorf("%+v", got)
			}
		case err := <-future.Err():
			t.Error(err)
		}
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	must(t, h.merchant.Publish("intake.loja-checkout", []byte(event("e", "started", "A", ""))))
	if got := h.next(t); got.Outcome != "applied" {
		t.Errorf("without an acknowledgement: %+v", got)
	}
	h.wantUntouched(t)
}

// An expectation is the stream's to check, and its answer comes back whole.
func TestWhatOnlyAStreamCanDoIsPassedOn(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{cfg: patient})
	body := event("evt-1", "started", "A-1", "")
	if got := h.request(t, h.merchant, message("loja-checkout", body, nats.ExpectedLastSeqHdr, "7")); got.Error == nil || !strings.Contains(got.Error.Description, "wrong last sequence") {
		t.Errorf("a wrong expectation is answered %+v", got)
	}
	h.wantUntouched(t)
	if got := h.send(t, message("loja-checkout", body, nats.ExpectedLastSeqHdr, "0")); got.Seq != 1 {
		t.Errorf("a right expectation is answered %+v", got)
	}
	if got := h.next(t); got.Outcome != "applied" || got.Sequence != 1 {
		t.Errorf("%+v", got)
	}
}

// What is no fact, or from nobody, is kept, and acknowledged when it is.
func TestBadInputIsTaken(t *testing.T) {
	h := newHouse(t)
	cfg := patient
	cfg.MaxBody = 1000
	h.start(t, options{cfg: cfg})
	for _, c := range []struct {
		name, source, body, outcome, reason string
		stored                              bool
	}{
		{"not JSON", "loja-checkout", "{", "quarantined", "malformed", false},
		{"nothing", "loja-checkout", "", "quarantined", "malformed", false},
		{"an unknown source", "Loja_Nova", "{}", "quarantined", "unknown_source", false},
		{"too large", "loja-checkout", event("evt-7", "started", strings.Repeat("x", 1000), ""), "refused", "too_large", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(h.quarantined(t))
			acked := h.send(t, message(c.source, c.body))
			got := h.next(t)
			if got.Outcome != c.outcome || got.Reason != c.reason || got.Sequence != acked.Seq || (acked.Seq < firstOwn) != c.stored || acked.Duplicate {
				t.Errorf("%+v, %+v", acked, got)
			}
			if kept := len(h.quarantined(t)) > before; kept == c.stored {
				t.Errorf("in quarantine: %v", kept)
			}
		})
	}
}

// While nothing can be recorded INTAKE has what comes, with the time at which it came: what
// is taken after that is later, however soon INTAKE has it.
func TestWhatCannotBeRecordedWaitsInTheIntake(t *testing.T) {
	h := newHouse(t)
	var away atomic.Bool
	away.Store(true)
	flaky := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		if away.Load() {
			return nil, domain.Errorf(domain.Unavailable, "away")
		}
		return h.recorder.Record(ctx, msg, facts)
	})
	start := time.Now().UTC().Truncate(time.Microsecond)
	var ticks atomic.Int64 // a front's clock that is far behind the server's
	r := h.start(t, options{recorder: flaky, cfg: patient, clock: func() time.Time {
		return start.Add(-time.Hour).Add(time.Duration(ticks.Add(1)) * time.Second)
	}})
	forged := []string{"Comanda-Taken-At", "2020-01-01T00:00:00Z"}
	if first := h.send(t, message("loja-checkout", event("evt-1", "started", "A-1", ""), forged...)); first.Seq != 1 {
		t.Errorf("the first is answered %+v", first)
	}
	if second := h.send(t, message("loja-checkout", event("evt-2", "started", "A-2", ""), forged...)); second.Seq != 2 {
		t.Errorf("the second is answered %+v", second)
	}
	away.Store(false)
	for range 2 {
		got := h.next(t)
		events, err := h.log.Order(t.Context(), got.OrderID)
		must(t, err)
		if want := start.Add(-time.Hour + time.Duration(got.Sequence)*time.Second); len(events) != 1 || !events[0].Event.ReceivedAt.Equal(want) {
			t.Errorf("%+v was received %+v, want %s", got, events, want)
		}
	}
	if third := h.send(t, message("loja-checkout", event("evt-3", "started", "A-3", ""))); third.Seq == 3 {
		t.Errorf("the third is answered %+v, although the log is back", third)
	}
	if got := h.next(t); got.Outcome != "applied" {
		t.Errorf("%+v", got)
	}
	must(t, r.stop())
	if n := counted(t, r.registry, "comanda_checkout_taken_total", "passed_on"); n != 2 {
		t.Errorf("%g were passed on", n)
	}
}

// While nothing can be recorded one message a second is tried, and so the log found to be back
// although nobody reads INTAKE.
func TestOneMessageASecondIsTried(t *testing.T) {
	h := newHouse(t)
	var away atomic.Bool
	away.Store(true)
	var tries, now atomic.Int64
	r := h.make(t, options{
		cfg: patient, clock: func() time.Time { return time.UnixMilli(now.Load()) },
		recorder: recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
			tries.Add(1)
			if away.Load() {
				return nil, domain.Errorf(domain.Unavailable, "away")
			}
			return h.recorder.Record(ctx, msg, facts)
		}),
	})
	h.run(t, "front", r.front.Ready(), r.front.Run)
	start := time.Now().UnixMilli()
	for i, c := range []struct {
		ms    int64
		back  bool
		tries int64
		own   bool
	}{
		{0, false, 1, false},
		{999, false, 1, false},
		{1000, false, 2, false},
		{1999, false, 2, false},
		{2000, false, 3, false},
		{500, false, 4, false}, // the clock went back
		{1499, true, 4, false},
		{1500, true, 5, true},
		{1500, true, 6, true},
	} {
		now.Store(start + c.ms)
		away.Store(!c.back)
		got := h.send(t, message("loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), "")))
		if n := tries.Load(); n != c.tries || got.Seq >= firstOwn != c.own {
			t.Errorf("message %d: %d tries, answered %+v", i, n, got)
		}
	}
}

// A fault of ours is INTAKE's to try again, and keeps nothing else out.
func TestAFaultOfOursIsPassedOn(t *testing.T) {
	h := newHouse(t)
	var tries atomic.Int64
	faulty := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		outcomes, err := h.recorder.Record(ctx, msg, facts)
		if tries.Add(1) == 1 {
			return nil, errors.Join(errors.New("a fault"), err)
		}
		return outcomes, err
	})
	h.start(t, options{recorder: faulty, cfg: patient})
	if first := h.send(t, message("loja-checkout", event("evt-1", "started", "A-1", ""))); first.Seq != 1 {
		t.Errorf("it is answered %+v", first)
	}
	if got := h.next(t); got.Outcome != "duplicate" || got.Revision != 1 {
		t.Errorf("%+v, want the place that it had without knowing", got)
	}
	if second := h.send(t, message("loja-checkout", event("evt-2", "started", "A-1", ""))); second.Seq < firstOwn {
		t.Errorf("the next is answered %+v", second)
	}
}

// gated is a recorder that waits to be let on; entered has that it does.
func (h *house) gated() (recorder recorderFunc, entered <-chan struct{}, leave func()) {
	in, out := make(chan struct{}, 1), make(chan struct{})
	recorder = func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		select {
		case in <- struct{}{}:
		default: // another one did
		}
		<-out
		return h.recorder.Record(ctx, msg, facts)
	}
	return recorder, in, sync.OnceFunc(func() { close(out) })
}

// refusedByStream is a message that is passed on, and answered although nothing is recorded.
func refusedByStream() *nats.Msg {
	return message("loja-checkout", "{}", nats.ExpectedLastSeqHdr, "1000000")
}

// More than may be in hand goes to INTAKE, which answers at once.
func TestMoreThanCanBeInHandIsPassedOn(t *testing.T) {
	h := newHouse(t)
	recorder, entered, leave := h.gated()
	defer leave()
	cfg := patient
	cfg.MaxRequests = 2
	h.start(t, options{recorder: recorder, cfg: cfg})
	inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
	must(t, err)
	publish := func(i int) {
		m := message("loja-checkout", event("e-"+strconv.Itoa(i), "started", "A", "")) // two of one order are in hand as well
		m.Reply = inbox.Subject
		must(t, h.merchant.PublishMsg(m))
	}
	publish(0)
	<-entered
	for i := 1; i < 4; i++ {
		publish(i)
	}
	for want := range 2 {
		m, err := inbox.NextMsg(3 * answerWait)
		must(t, err)
		if got := string(m.Data); !strings.Contains(got, fmt.Sprintf(`"seq":%d`, want+1)) {
			t.Errorf("passed on as %s", got)
		}
	}
	leave()
	for range 4 {
		if got := h.next(t); got.Status != "started" { // the verdicts depend on who overtakes whom
			t.Errorf("%+v", got)
		}
	}
	if n := h.head(t); n != 4 {
		t.Errorf("%d events", n)
	}
}

// More bytes than may be in hand go to INTAKE, and what is done makes room.
func TestMoreBytesThanCanBeInHandArePassedOn(t *testing.T) {
	h := newHouse(t)
	recorder, entered, leave := h.gated()
	defer leave()
	h.start(t, options{recorder: recorder, cfg: patient})
	inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
	must(t, err)
	publish := func(i, padding int) {
		body := event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), "")
		m := message("loja-checkout", body+strings.Repeat(" ", 200<<10), "X-Padding", strings.Repeat("x", padding)) // headers are memory too
		m.Reply = inbox.Subject
		must(t, h.merchant.PublishMsg(m))
	}
	answered := func() (got ack) {
		m, err := inbox.NextMsg(3 * answerWait)
		must(t, err)
		must(t, json.Unmarshal(m.Data, &got))
		return got
	}
	const fit = 65 // of 1008 KiB and some bytes, in 64 MiB, with less than one more
	for i := range fit {
		publish(i, 808<<10)
	}
	<-entered
	for i := range 2 {
		publish(fit+i, 1)
		if got := answered(); got.Error != nil || got.Seq != uint64(i+1) {
			t.Errorf("message %d is answered %+v", fit+i, got)
		}
	}
	leave()
	for range fit {
		if got := answered(); got.Error != nil || got.Seq < firstOwn {
			t.Errorf("one in hand is answered %+v", got)
		}
	}
	for range fit + 2 { // all, so that nothing is in hand
		h.next(t)
	}
	publish(fit+2, 1)
	if got := answered(); got.Seq < firstOwn {
		t.Errorf("a later one is answered %+v", got)
	}
}

// Messages of one order that are not waited for are recorded in their order.
func TestTakenInTheirOrder(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{cfg: patient})
	const orders = 12
	kinds := []string{"started", "pending", "approved", "refund_requested", "refunded"}
	for k, kind := range kinds {
		for o := range orders {
			must(t, h.merchant.PublishMsg(message("loja-checkout",
				event(fmt.Sprintf("%d-%s", o, kind), kind, "A-"+strconv.Itoa(o), fmt.Sprintf(`,"time":"2026-05-09T17:00:%02dZ"`, k)))))
		}
	}
	ids := map[domain.OrderID]bool{}
	for range orders * len(kinds) {
		ids[h.next(t).OrderID] = true
	}
	for id := range ids {
		events, err := h.log.Order(t.Context(), id)
		must(t, err)
		var got []string
		for i := range events {
			got = append(got, events[i].Event.Fact.Kind.String())
		}
		if diff := cmp.Diff(kinds, got); diff != "" {
			t.Errorf("%s (-published +recorded):\n%s", id, diff)
		}
	}
	h.wantUntouched(t)
}

// A stop finishes what was begun, passes on what waits behind it, and then nobody responds.
func TestStopOfAFront(t *testing.T) {
	h := newHouse(t)
	recorder, entered, leave := h.gated()
	defer leave()
	r := h.start(t, options{recorder: recorder, cfg: patient})
	inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
	must(t, err)
	const messages = 5
	for i := range messages {
		m := message("loja-checkout", event("e-"+strconv.Itoa(i), "started", "A", ""))
		m.Reply = inbox.Subject
		must(t, h.merchant.PublishMsg(m))
	}
	must(t, h.merchant.Flush()) // or the last come when nobody responds any more
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- r.stopFront() }()
	for { // until the subscription is gone
		_, err := h.merchant.RequestMsg(refusedByStream(), 3*answerWait)
		if errors.Is(err, nats.ErrNoResponders) {
			break
		}
		must(t, err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("it ended with a message in hand: %v", err)
	default:
	}
	leave()
	must(t, <-stopped)
	own := 0
	for range messages {
		m, err := inbox.NextMsg(3 * answerWait)
		must(t, err)
		var got ack
		if must(t, json.Unmarshal(m.Data, &got)); got.Stream != checkout.Stream || got.Error != nil {
			t.Errorf("answered %s", m.Data)
		}
		if got.Seq > firstOwn {
			own++
		}
	}
	if own != 1 {
		t.Errorf("%d were recorded by the front, want the one that it had begun", own)
	}
	await(t, messages, "events", func() uint64 { return h.head(t) })
}

// What comes while the front can take nothing, and is more than its connection holds, is
// counted and never acknowledged.
func TestDroppedIsNotAcknowledged(t *testing.T) {
	h := newHouse(t)
	free := make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	cfg := patient
	cfg.MaxRequests = 2
	r := h.start(t, options{cfg: cfg, clock: func() time.Time {
		<-free
		return time.Now()
	}})
	defer release()
	inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
	must(t, err)
	const messages, held = 100, 16 * 2
	for range messages {
		m := refusedByStream()
		m.Reply = inbox.Subject
		must(t, h.merchant.PublishMsg(m))
	}
	await(t, messages-held, "messages dropped", func() uint64 {
		return uint64(counted(t, r.registry, "comanda_checkout_dropped_total", ""))
	})
	release()
	for range held {
		_, err := inbox.NextMsg(3 * answerWait)
		must(t, err)
	}
	// The answer to this comes behind any other.
	if got := h.request(t, h.merchant, refusedByStream()); got.Error == nil {
		t.Errorf("%+v", got)
	}
	if n, _, err := inbox.Pending(); err != nil || n != 0 {
		t.Errorf("%d more are answered than were taken (%v)", n, err)
	}
}

// A checkout's headers are passed on with our rights: the server acts on none of them for it, also
// when they are in lines that only nats.go reads, and what is acknowledged is not passed over.
func TestHeadersThatArePassedOnGiveNoRights(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{cfg: patient})
	traces, err := h.node.Conn().SubscribeSync("orders.00.loja.ord_x")
	must(t, err)
	must(t, h.node.Conn().Flush())
	for _, c := range []struct{ name, header string }{
		{"a trace", "NATS/1.0\r\nX: a\nNats-Trace-Dest: orders.00.loja.ord_x\r\n\r\n"},
		{"only a trace", "NATS/1.0\r\nX: a\nNats-Trace-Dest: orders.00.loja.ord_x\nNats-Trace-Only: true\r\n\r\n"},
		{"a status", "NATS/1.0\r\nStatus: 404\r\nNats-Expected-Stream: INTAKE\r\n\r\n"},
		{"a status in the first line", "NATS/1.0 404\r\nNats-Expected-Stream: INTAKE\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
			must(t, err)
			must(t, h.merchant.Flush())
			h.publishRaw(t, "intake.loja-checkout", inbox.Subject, c.header)
			if _, err := inbox.NextMsg(answerWait); err != nil {
				t.Errorf("not acknowledged: %v", err)
			}
			if got := h.next(t); got.Outcome != "quarantined" || got.Sequence >= firstOwn {
				t.Errorf("%+v", got)
			}
		})
	}
	if n, _, err := traces.Pending(); err != nil || n != 0 || h.head(t) != 0 {
		t.Errorf("%d traces (%v), %d events", n, err, h.head(t))
	}
}

// publishRaw publishes no body, with a header as it stands here.
func (h *house) publishRaw(t *testing.T, subject, reply, header string) {
	t.Helper()
	conn, err := net.Dial("tcp", h.merchant.ConnectedAddr())
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(answerWait)))
	_, err = fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"no_responders\":true,\"user\":%q,\"pass\":%q}\r\nHPUB %s %s %d %d\r\n%s\r\nPING\r\n",
		h.merchant.Opts.User, h.merchant.Opts.Password, subject, reply, len(header), len(header), header)
	must(t, err)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if line := lines.Text(); line == "PONG" {
			return
		} else if strings.HasPrefix(line, "-ERR") {
			t.Fatal(line)
		}
	}
	t.Fatal("the server has not read it")
}

// Sources may number their messages alike, also when INTAKE has them.
func TestPassedOnUnderTheSameNumber(t *testing.T) {
	h := newHouse(t)
	var away atomic.Bool
	away.Store(true)
	h.start(t, options{cfg: patient, recorder: recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		if away.Load() {
			return nil, domain.Errorf(domain.Unavailable, "away")
		}
		return h.recorder.Record(ctx, msg, facts)
	})})
	for i := range 3 {
		m := message("loja-checkout", event("evt-1", "started", "A-"+strconv.Itoa(i), ""), nats.MsgIdHdr, "1", "Comanda-Message-Id", "forged")
		if got := h.send(t, m); got.Duplicate || got.Seq != uint64(i+1) {
			t.Errorf("message %d: %+v", i, got)
		}
	}
	away.Store(false)
	for range 3 {
		if got := h.next(t); got.Outcome != "applied" || got.MessageID != "1" || got.header.Get(nats.MsgIdHdr) != "1" {
			t.Errorf("%+v", got)
		}
	}
}
