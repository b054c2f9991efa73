package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"comanda.internal/adapters/checkout"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// recorderFunc makes a recorder fail or wait, which a real log cannot be told to.
type recorderFunc func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error)

func (f recorderFunc) Record(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
	return f(ctx, msg, facts)
}

func (f recorderFunc) RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, _ order.Terms) (domain.Outcome, error) {
	outcomes, err := f(ctx, msg, []domain.Fact{fact})
	if err != nil {
		return domain.Outcome{}, err
	}
	return outcomes[0], nil
}

// The merchant publishes with its own credentials, and reads what became of it.
func TestPublishedAndAnswered(t *testing.T) {
	h := newHouse(t)
	r := h.start(t, options{})
	for _, c := range []struct {
		name, source, body string
		headers            []string
		id                 string
		want               outcome
		events             int
	}{
		{
			name: "a CloudEvent, by its own id", source: "loja-checkout", body: event("evt-1", "approved", "A-1", `,"data":{"paid":100,"total":100}`),
			id: "evt-1", want: outcome{Outcome: "applied", Status: "approved", Revision: 1}, events: 1,
		},
		{
			name: "by the message's id", source: "loja-checkout", body: event("evt-2", "details", "A-1", ""),
			headers: []string{"Nats-Msg-Id", "msg-2", "X-Request-Id", "req-2", "traceparent", trace},
			id:      "msg-2", want: outcome{Outcome: "noted", Status: "approved", Revision: 2}, events: 1,
		},
		{
			name: "the same fact under another message id", source: "loja-checkout", body: event("evt-1", "approved", "A-1", `,"data":{"paid":100,"total":100}`),
			headers: []string{"Nats-Msg-Id", "msg-3"},
			id:      "msg-3", want: outcome{Outcome: "duplicate", Status: "approved", Revision: 1},
		},
		{
			name: "a platform's JSON", source: "loja-aprovei", body: fixture(t, "aprovei-pending"), headers: []string{"Content-Type", "application/json"},
			want: outcome{Outcome: "applied", Status: "pending", Revision: 1}, events: 1,
		},
		{
			name: "several facts", source: "loja-aprovei", body: strings.ReplaceAll(fixture(t, "aprovei-chargeback"), "VCP1O8SB9GJ", "OTHER"),
			want: outcome{Outcome: "applied", Status: "chargeback", Revision: 2}, events: 2,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := h.head(t)
			sequence := h.publish(t, c.source, c.body, c.headers...)
			got := h.next(t)
			if got.subject != "outcome."+c.source || got.header.Get(nats.MsgIdHdr) != c.id {
				t.Errorf("outcome on %s with id %q, want outcome.%s with %q", got.subject, got.header.Get(nats.MsgIdHdr), c.source, c.id)
			}
			c.want.MessageID, c.want.Sequence = c.id, sequence
			same := cmp.FilterPath(func(p cmp.Path) bool {
				name := p.Last().String()
				return name == ".OrderID" || name == ".Results" || name == ".subject" || name == ".header"
			}, cmp.Ignore())
			if diff := cmp.Diff(c.want, got, same, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if after := h.head(t); after != before+uint64(c.events) {
				t.Errorf("%d events more in the log, want %d", after-before, c.events)
			}
			for i := 4; i+1 < len(c.headers); i += 2 {
				if v := got.header.Get(c.headers[i]); v != c.headers[i+1] {
					t.Errorf("header %s is %q, want %q", c.headers[i], v, c.headers[i+1])
				}
			}
		})
	}
	must(t, r.stop()) // what is done is removed before Run ends
	h.wantStored(t, 0)
}

// The event carries when its message came into INTAKE, and the cause.
func TestReceivedAtAndCause(t *testing.T) {
	h := newHouse(t)
	sequence := h.publish(t, "loja-checkout", event("evt-1", "started", "A-1", ""), "X-Request-Id", "req-1", "Traceparent", trace)
	s, err := h.js.Stream(t.Context(), checkout.Stream)
	must(t, err)
	stored, err := s.GetMsg(t.Context(), sequence)
	must(t, err)
	h.start(t, options{})
	events, err := h.log.Order(t.Context(), h.next(t).OrderID)
	must(t, err)
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	e := events[0].Event
	if !e.ReceivedAt.Equal(stored.Time) || e.Cause.RequestID != "req-1" || e.Cause.Traceparent != trace {
		t.Errorf("received %s, cause %+v; the message came at %s", e.ReceivedAt, e.Cause, stored.Time)
	}
}

// What is no fact is kept, answered and done with, and changes nothing in the log.
func TestBadInput(t *testing.T) {
	h := newHouse(t)
	r := h.start(t, options{cfg: checkout.Config{MaxBody: 1000}})
	for _, c := range []struct {
		name, source, body, reason, outcome, subject string
		kept                                         bool
	}{
		{"not JSON", "loja-checkout", "{", "malformed", "quarantined", "outcome.loja-checkout", true},
		{"nothing", "loja-checkout", "", "malformed", "quarantined", "outcome.loja-checkout", true},
		{"a field missing", "loja-checkout", `{"id":"evt-9"}`, "invalid_fields", "quarantined", "outcome.loja-checkout", true},
		{"an unknown kind", "loja-checkout", event("evt-8", "levitated", "A-1", ""), "unknown_status", "quarantined", "outcome.loja-checkout", true},
		{"an unknown source", "Loja_Nova", "{}", "unknown_source", "quarantined", "outcome.loja-nova", true},
		{"too large", "loja-checkout", event("evt-7", "started", strings.Repeat("x", 1000), ""), "too_large", "refused", "outcome.loja-checkout", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(h.quarantined(t))
			h.publish(t, c.source, c.body)
			got := h.next(t)
			if got.Outcome != c.outcome || got.Reason != c.reason || got.subject != c.subject || (got.QuarantineID != "") != c.kept {
				t.Errorf("%+v, want %s for %s on %s", got, c.outcome, c.reason, c.subject)
			}
			all := h.quarantined(t)
			if kept := len(all) > before; kept != c.kept {
				t.Fatalf("%d in quarantine, %d before", len(all), before)
			}
			if !c.kept {
				return
			}
			_, body, err := h.log.OpenQuarantined(t.Context(), all[len(all)-1])
			must(t, err)
			if string(body) != c.body {
				t.Errorf("kept %q, want the bytes as they came", body)
			}
		})
	}
	if n := h.head(t); n != 0 {
		t.Errorf("%d events in the log", n)
	}
	h.wantStored(t, 0) // or they come again for ever
	must(t, r.stop())
}

// An id that may not stand in a header is in the outcome's body all the same.
func TestForeignIDs(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{})
	h.publish(t, "loja-checkout", event(`a\r\nNats-Expected-Stream: x`, "started", "A-1", ""))
	got := h.next(t)
	if got.MessageID != "a\r\nNats-Expected-Stream: x" || got.header.Get(nats.MsgIdHdr) != "" || got.header.Get("Nats-Expected-Stream") != "" {
		t.Errorf("id %q, header %v", got.MessageID, got.header)
	}
}

// The log is away for a while: the message is tried until it is in, once.
func TestTriedUntilItIsIn(t *testing.T) {
	h := newHouse(t)
	var tries atomic.Int64
	flaky := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		if tries.Add(1) <= 3 {
			return nil, domain.Errorf(domain.Unavailable, "away")
		}
		return h.recorder.Record(ctx, msg, facts)
	})
	h.start(t, options{recorder: flaky})
	h.publish(t, "loja-checkout", event("evt-1", "started", "A-1", ""))
	if got := h.next(t); got.Outcome != "applied" || tries.Load() != 4 {
		t.Errorf("%+v after %d tries", got, tries.Load())
	}
	if n := h.head(t); n != 1 {
		t.Errorf("%d events in the log", n)
	}
}

// The event was stored and nobody learnt of it, as when a process dies between
// the append and the acknowledgement: the message comes again and finds it.
func TestOneEffectWhenTheAnswerIsLost(t *testing.T) {
	h := newHouse(t)
	var tries atomic.Int64
	lossy := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		outcomes, err := h.recorder.Record(ctx, msg, facts)
		if tries.Add(1) == 1 {
			return nil, errors.Join(domain.Errorf(domain.Unavailable, "lost"), err)
		}
		return outcomes, err
	})
	h.start(t, options{recorder: lossy})
	h.publish(t, "loja-checkout", event("evt-1", "started", "A-1", ""))
	if got := h.next(t); got.Outcome != "duplicate" || got.Status != "started" || got.Revision != 1 {
		t.Errorf("%+v, want the first delivery's place", got)
	}
	if n := h.head(t); n != 1 {
		t.Errorf("%d events in the log, want one", n)
	}
}

// Facts of one order are recorded in the order in which they came, beside those
// of other orders, by however many instances there are of one.
func TestOrderWithinAnOrder(t *testing.T) {
	h := newHouse(t)
	const orders = 12
	kinds := []string{"started", "pending", "approved", "refund_requested", "refunded"}
	for k, kind := range kinds {
		for o := range orders {
			h.publish(t, "loja-checkout", event(fmt.Sprintf("%d-%s", o, kind), kind, "A-"+strconv.Itoa(o), fmt.Sprintf(`,"time":"2026-05-09T17:00:%02dZ"`, k)))
		}
	}
	h.start(t, options{cfg: checkout.Config{Workers: 4}})
	verdicts := map[string]int{}
	ids := map[domain.OrderID]bool{}
	for range orders * len(kinds) {
		got := h.next(t)
		verdicts[got.Outcome]++
		ids[got.OrderID] = true
	}
	// refund_requested moves nothing; no other may be anything but applied.
	if diff := cmp.Diff(map[string]int{"applied": 4 * orders, "noted": orders}, verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
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
}

// Two instances share the work, and every message has one effect.
func TestTwoInstances(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{})
	h.start(t, options{})
	const messages = 60
	for i := range messages {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
	}
	for range messages {
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	if n := h.head(t); n != messages {
		t.Errorf("%d events in the log, want %d", n, messages)
	}
}

// A stop finishes what was begun and gives the rest back at once, for the next.
func TestStop(t *testing.T) {
	h := newHouse(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		entered <- struct{}{}
		<-leave
		return h.recorder.Record(ctx, msg, facts)
	})
	first := h.start(t, options{recorder: slow, cfg: checkout.Config{Workers: 1, AckWait: time.Minute}})
	const messages = 10
	for i := range messages {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
	}
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- first.stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("Run ended with a message in hand: %v", err)
	case <-h.deserted(t): // the subscription is gone
	}
	close(leave)
	must(t, <-stopped)
	if got := h.next(t); got.Outcome != "applied" {
		t.Errorf("the one in hand: %+v", got)
	}
	h.wantUndone(t, messages-1)
	// Given back, they come at once: AckWait is a minute, and next waits 20 s.
	h.start(t, options{cfg: checkout.Config{AckWait: time.Minute}})
	for range messages - 1 {
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	if n := h.head(t); n != messages {
		t.Errorf("%d events in the log, want %d", n, messages)
	}
}

// deserted is closed when the consumer has nobody who waits for messages.
func (h *house) deserted(t *testing.T) <-chan struct{} {
	t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			c, err := h.js.Consumer(context.Background(), checkout.Stream, checkout.Durable)
			if err != nil || c.CachedInfo().NumWaiting == 0 {
				return
			}
		}
	}()
	return gone
}

// Somebody deletes the consumer: it is made again, and nothing is lost.
func TestConsumerDeleted(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{})
	h.publish(t, "loja-checkout", event("e-1", "started", "A-1", ""))
	h.next(t)
	must(t, h.js.DeleteConsumer(t.Context(), checkout.Stream, checkout.Durable))
	h.publish(t, "loja-checkout", event("e-2", "pending", "A-1", ""))
	got := h.next(t)
	for got.MessageID == "e-1" && got.Outcome == "duplicate" { // its acknowledgement may have been lost with the consumer
		got = h.next(t)
	}
	if got.MessageID != "e-2" || got.Outcome != "applied" || got.Revision != 2 {
		t.Errorf("%+v", got)
	}
	if n := h.head(t); n != 2 {
		t.Errorf("%d events in the log, want 2", n)
	}
}

func TestNoStream(t *testing.T) {
	h := newHouse(t)
	must(t, h.js.DeleteStream(t.Context(), checkout.Stream))
	err := h.make(t, options{}).Run(t.Context())
	if domain.KindOf(err) != domain.Unavailable || !strings.Contains(err.Error(), checkout.Stream) {
		t.Errorf("Run ends with %v", err)
	}
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct {
		cfg  checkout.Config
		want string
	}{
		{checkout.Config{}, ""},
		{checkout.Config{Workers: -1, MaxBody: 1 << 20}, "workers: -1, want 1 to 1024\nmax_body: 1048576, want 1 to 262144"},
		{checkout.Config{RetryDelay: -time.Second}, "retry_delay: -1s, want a positive duration"},
		{checkout.Config{AckWait: time.Second}, "ack_wait: 1s, want more than record_timeout (10s)"},
	} {
		got := ""
		if err := c.cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.cfg, got, c.want)
		}
	}
}
