package checkout_test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/adapters/checkout"
	"comanda.internal/domain"
)

// What a process has in hand, waiting or worked on, is not given out again
// however long it takes: AckWait is for one that died.
func TestInHandLongerThanAckWait(t *testing.T) {
	h := newHouse(t)
	kept, err := h.node.Conn().SubscribeSync("$JS.ACK." + checkout.Stream + ".>")
	must(t, err)
	leave := make(chan struct{})
	slow := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		<-leave
		return h.recorder.Record(context.WithoutCancel(ctx), msg, facts)
	})
	cfg := checkout.Config{Workers: 1, AckWait: 3 * time.Second, RecordTimeout: 500 * time.Millisecond}
	h.start(t, options{recorder: slow, cfg: cfg})
	for i := range 2 {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
	}
	for held := 0; held < 2*10; { // three AckWaits of two messages, and one to be sure
		m, err := kept.NextMsg(answerWait)
		must(t, err)
		if string(m.Data) != "+WPI" {
			t.Fatalf("%s on %s, want only word of progress", m.Data, m.Subject)
		}
		held++
	}
	close(leave)
	for range 2 {
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	c, err := h.js.Consumer(t.Context(), checkout.Stream, checkout.Durable)
	must(t, err)
	if n := c.CachedInfo().Delivered.Consumer; n != 2 {
		t.Errorf("%d deliveries of two messages", n)
	}
}

// A message's id is its source's own affair: two sources that number their
// messages alike do not hide each other's, and a repeat is answered.
func TestIDsOfTwoSources(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{})
	send := func(source, body string) {
		t.Helper()
		for deadline := time.Now().Add(answerWait); ; {
			m := nats.NewMsg("intake." + source)
			m.Data = []byte(body)
			m.Header.Set(nats.MsgIdHdr, "1")
			reply, err := h.node.Conn().RequestMsg(m, answerWait) // in the stream, which has the window
			must(t, err)
			if !strings.Contains(string(reply.Data), `"duplicate"`) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("INTAKE takes the message of %s for one that it has: %s", source, reply.Data)
			}
		}
	}
	send("loja-checkout", event("evt-1", "started", "A-1", ""))
	if got := h.next(t); got.Outcome != "applied" || got.MessageID != "1" {
		t.Errorf("%+v", got)
	}
	send("loja-aprovei", fixture(t, "aprovei-pending"))
	if got := h.next(t); got.Outcome != "applied" || got.Status != "pending" {
		t.Errorf("the other source: %+v", got)
	}
	send("loja-checkout", event("evt-1", "started", "A-1", ""))
	if got := h.next(t); got.Outcome != "duplicate" || got.Revision != 1 {
		t.Errorf("the repeat: %+v", got)
	}
}

// Flow control: whatever is published, no more than MaxAckPending is taken out of
// the stream, where the rest is safe.
func TestNoMoreIsTakenThanCanBeWorkedOn(t *testing.T) {
	h := newHouse(t)
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	slow := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		entered <- struct{}{}
		<-leave
		return h.recorder.Record(ctx, msg, facts)
	})
	const messages, taken = 50, 4
	for i := range messages {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
	}
	h.start(t, options{recorder: slow, cfg: checkout.Config{MaxAckPending: taken, Workers: 64, AckWait: time.Minute}})
	<-entered
	c, err := h.js.Consumer(t.Context(), checkout.Stream, checkout.Durable)
	must(t, err)
	for info := c.CachedInfo(); info.NumAckPending < taken; { // more of them are on their way
		info, err = c.Info(t.Context())
		must(t, err)
	}
	info, err := c.Info(t.Context())
	must(t, err)
	if info.NumAckPending != taken || info.NumPending != messages-taken {
		t.Errorf("%d are taken, %d are not", info.NumAckPending, info.NumPending)
	}
	close(leave)
	for range messages {
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	if n := h.head(t); n != messages {
		t.Errorf("%d events in the log", n)
	}
}

// A message that fails for a fault of ours is tried, and then kept where it holds up
// nobody; the next one of the same order goes on.
func TestPoisonGoesToQuarantine(t *testing.T) {
	h := newHouse(t)
	var tries atomic.Int64
	broken := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		if facts[0].Kind == domain.KindStarted {
			tries.Add(1)
			return nil, domain.Errorf(domain.Internal, "a bug")
		}
		return h.recorder.Record(ctx, msg, facts)
	})
	r := h.start(t, options{recorder: broken, cfg: checkout.Config{MaxTries: 3}})
	h.publish(t, "loja-checkout", event("evt-1", "started", "A-1", ""), "traceparent", trace)
	got := h.next(t)
	if got.Outcome != "quarantined" || got.Reason != "not_recorded" || got.MessageID != "evt-1" || got.header.Get("traceparent") != trace || tries.Load() != 3 {
		t.Errorf("%+v after %d tries", got, tries.Load())
	}
	h.publish(t, "loja-checkout", event("evt-2", "pending", "A-1", ""))
	if got := h.next(t); got.Outcome != "applied" {
		t.Errorf("the next one: %+v", got)
	}
	all := h.quarantined(t)
	if len(all) != 1 || all[0].GetReason() != "not_recorded" {
		t.Fatalf("in quarantine: %v", all)
	}
	if _, body, err := h.log.OpenQuarantined(t.Context(), all[0]); err != nil || string(body) != event("evt-1", "started", "A-1", "") {
		t.Errorf("kept %q, %v", body, err)
	}
	h.wantStored(t, 0)
	must(t, r.stop())
}
