package checkout_test

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/checkout"
	"comanda.internal/domain"
)

// A message that is tried again and again keeps those after it in the stream, not from
// being done; and nothing comes twice, or stays when it is done as well.
func TestStuckMessageHoldsUpNobody(t *testing.T) {
	h := newHouse(t)
	mended := make(chan struct{})
	stuck := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		if facts[0].Kind == domain.KindStarted {
			select {
			case <-mended:
			default:
				return nil, domain.Errorf(domain.Unavailable, "away")
			}
		}
		return h.recorder.Record(ctx, msg, facts)
	})
	h.start(t, options{recorder: stuck})
	h.publish(t, "loja-checkout", event("evt-1", "started", "A-1", ""))
	const others = 30
	for i := range others {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "pending", "B-"+strconv.Itoa(i), ""))
	}
	for range others {
		if got := h.next(t); got.Outcome != "applied" || got.MessageID == "evt-1" {
			t.Errorf("%+v", got)
		}
	}
	h.wantUndone(t, 1)
	h.wantStored(t, 1+others)
	close(mended)
	if got := h.next(t); got.Outcome != "applied" || got.MessageID != "evt-1" {
		t.Errorf("%+v", got)
	}
	h.wantStored(t, 0)
	if n := h.head(t); n != 1+others {
		t.Errorf("%d events in the log, want %d", n, 1+others)
	}
}

// A checkout may send what waits as one atomic batch, with its own credentials: the server
// stores all of it or nothing, and each message is answered.
func TestBatchOfACheckout(t *testing.T) {
	h := newHouse(t)
	h.start(t, options{})
	const messages = 40
	inbox, err := h.merchant.SubscribeSync(h.merchant.NewInbox())
	must(t, err)
	for i := range messages {
		m := nats.NewMsg("intake.loja-checkout")
		m.Data = []byte(event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
		m.Header.Set("Nats-Batch-Id", "one")
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i == messages-1 {
			m.Header.Set("Nats-Batch-Commit", "1")
			m.Reply = inbox.Subject
		}
		must(t, h.merchant.PublishMsg(m))
	}
	reply, err := inbox.NextMsg(answerWait)
	must(t, err)
	var ack struct {
		Stream string
		Count  int
	}
	must(t, json.Unmarshal(reply.Data, &ack))
	if ack.Stream != checkout.Stream || ack.Count != messages {
		t.Fatalf("the batch is answered %s", reply.Data)
	}
	seen := map[string]bool{}
	for range messages {
		got := h.next(t)
		if got.Outcome != "applied" || seen[got.MessageID] {
			t.Errorf("%+v", got)
		}
		seen[got.MessageID] = true
	}
	h.wantStored(t, 0)
}

// A log made before has a work queue, which is read as well.
func TestIntakeThatIsAWorkQueue(t *testing.T) {
	h := newHouse(t)
	s, err := h.js.Stream(t.Context(), checkout.Stream)
	must(t, err)
	cfg := s.CachedInfo().Config
	cfg.Retention = jetstream.WorkQueuePolicy
	must(t, h.js.DeleteStream(t.Context(), checkout.Stream))
	_, err = h.js.CreateStream(t.Context(), cfg)
	must(t, err)
	h.start(t, options{})
	for i := range 5 {
		h.publish(t, "loja-checkout", event("e-"+strconv.Itoa(i), "started", "A-"+strconv.Itoa(i), ""))
		if got := h.next(t); got.Outcome != "applied" {
			t.Errorf("%+v", got)
		}
	}
	h.wantStored(t, 0)
}

// What cannot be purged would fill up with what was recorded.
func TestIntakeThatCannotBePurged(t *testing.T) {
	h := newHouse(t)
	s, err := h.js.Stream(t.Context(), checkout.Stream)
	must(t, err)
	cfg := s.CachedInfo().Config
	cfg.DenyPurge = true
	_, err = h.js.UpdateStream(t.Context(), cfg)
	must(t, err)
	if err := h.make(t, options{}).Run(t.Context()); domain.KindOf(err) != domain.Refused {
		t.Errorf("Run ends with %v", err)
	}
}
