package eventstore_test

import (
	"sync"
	"testing"

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
		var all sync.WaitGroup
		for n := range orders {
			all.Go(func() { record(t, s, fact(n, 0, domain.KindPending)) })
		}
		all.Wait()
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
