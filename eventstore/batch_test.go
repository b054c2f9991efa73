package eventstore_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
)

// TestBatchFrom records many orders at once: how many events went in batches is what
// the configuration says.
func TestBatchFrom(t *testing.T) {
	for from, want := range map[int]bool{eventstore.BatchNever: false, 2: true} {
		s := open(t, natstest.Node(t, t.TempDir()).Conn(), t.TempDir(), eventstore.Config{BatchFrom: from}, eventstore.RecorderConfig{})
		const orders = 200
		recordAll(t, s, 0, orders)
		batched := false
		for sequence := range orders {
			batched = batched || stored(t, s, uint64(sequence)+1).Header.Get("Nats-Batch-Id") != ""
		}
		if batched != want {
			t.Errorf("batches from %d: there were batches: %v", from, batched)
		}
		wantSound(t, s, orders)
	}
	for _, from := range []int{1, -2} {
		if err := (&eventstore.Config{BatchFrom: from}).Validate(); err == nil {
			t.Errorf("batches from %d: no mistake", from)
		}
	}
}

// Where no batch can be staged few are tried, and nothing is lost by it; where it
// can be again they are.
func TestBatchesThatCannotBeStagedAreTriedSeldom(t *testing.T) {
	dir := t.TempDir()
	s := open(t, natstest.Node(t, dir).Conn(), t.TempDir(), eventstore.Config{BatchFrom: 2}, eventstore.RecorderConfig{})
	tried, err := s.conn.SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tried.Unsubscribe() }()
	staging := filepath.Join(dir, "nats", "jetstream", "core", "streams", eventstore.OrdersStream(0), "batches")
	if err := os.WriteFile(staging, nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	const orders = 400
	recordAll(t, s, 0, orders)
	if n := heard(t, tried, isCommit); n == 0 || n > 4 {
		t.Errorf("%d batches were tried, want one before 64 events, 128 and 256", n)
	}
	if err := os.Remove(staging); err != nil {
		t.Fatal(err)
	}
	recordAll(t, s, orders, 2*orders)
	batched := false
	for sequence := range uint64(2 * orders) {
		batched = batched || stored(t, s, sequence+1).Header.Get("Nats-Batch-Id") != ""
	}
	if !batched {
		t.Error("there are no batches again")
	}
	wantSound(t, s, 2*orders)
}

// recordAll records the orders from first to before end, all at once.
func recordAll(t *testing.T, s *store, first, end int) {
	t.Helper()
	var all sync.WaitGroup
	for n := first; n < end; n++ {
		all.Go(func() { record(t, s, fact(n, 0, domain.KindPending)) })
	}
	all.Wait()
}

// isCommit reports whether m ends a batch.
func isCommit(m *nats.Msg) bool { return m.Header.Get("Nats-Batch-Commit") != "" }

// heard is how many of the messages that came are such.
func heard(t *testing.T, sub *nats.Subscription, such func(*nats.Msg) bool) (n int) {
	t.Helper()
	pending, _, err := sub.Pending()
	if err != nil {
		t.Fatal(err)
	}
	for range pending {
		m, err := sub.NextMsgWithContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if such(m) {
			n++
		}
	}
	return n
}

// TestAppendDrafts stores drafts in two partitions, and nothing of those that do not
// follow what is stored, or are too many.
func TestAppendDrafts(t *testing.T) {
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), t.TempDir(), eventstore.Config{Partitions: 2}, eventstore.RecorderConfig{})
	draft := func(n int) eventstore.Draft {
		msg := message()
		d, err := order.Default().Decide(nil, fact(n, 0, domain.KindPending), order.Meta{
			Tenant: msg.Tenant, Source: msg.Source, ReceivedAt: msg.ReceivedAt, Now: msg.ReceivedAt,
		})
		if err != nil {
			t.Fatal(err)
		}
		return eventstore.Draft{Event: &d.Event}
	}
	const orders = 20
	drafts := make([]eventstore.Draft, orders)
	for n := range drafts {
		drafts[n] = draft(n)
	}
	places, err := s.AppendDrafts(t.Context(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	for n, place := range places {
		h := history(t, s, n)
		if len(h) != 1 || h[0].Sequence != place.Sequence || h[0].Hash != place.Hash {
			t.Errorf("order %d is at %d, and the log has %v", n, place.Sequence, h)
		}
	}
	wantSound(t, s, orders)

	if _, err := s.AppendDrafts(t.Context(), []eventstore.Draft{draft(orders), drafts[0]}); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("an order that has an event already: %v", err)
	}
	many := make([]eventstore.Draft, 2100)
	for i := range many {
		many[i] = draft(1000 + i)
	}
	if _, err := s.AppendDrafts(t.Context(), many); domain.KindOf(err) != domain.Invalid {
		t.Errorf("too many at once: %v", err)
	}
	wantSound(t, s, orders)
}
