package backup_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/natsnode/natstest"
)

// repartitioned is the log of s with n partitions, on a server of its own.
func repartitioned(t *testing.T, s *store, keys string, n int) *store {
	t.Helper()
	b, _ := create(t, s)
	moved, err := b.Repartition(t.Context(), filepath.Join(t.TempDir(), "moved"), n)
	must(t, err)
	again := restored(t, moved, keys)
	if again.log.Partitions() != n || again.log.Identity() == s.log.Identity() || again.log.Epoch() != 1 {
		t.Errorf("log %s, epoch %d, with %d partitions, of %s", again.log.Identity(), again.log.Epoch(), again.log.Partitions(), s.log.Identity())
	}
	if _, ok := again.log.Honoured(1); ok {
		t.Error("positions of another partitioning are honoured")
	}
	return again
}

func TestRepartitionThereAndBack(t *testing.T) {
	const orders = 40
	keys := filepath.Join(t.TempDir(), "kek")
	one := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	one.fillAll(orders)
	want := one.histories(orders)
	eight := repartitioned(t, one, keys, 8)
	eight.verify(3 * orders)
	if diff := cmp.Diff(want, eight.histories(orders)); diff != "" {
		t.Errorf("histories in eight (-one +eight):\n%s", diff)
	}
	two := repartitioned(t, eight, keys, 2)
	two.verify(3 * orders)
	if diff := cmp.Diff(want, two.histories(orders)); diff != "" {
		t.Errorf("histories in two (-one +two):\n%s", diff)
	}
	for _, name := range []string{"QUARANTINE", "RELAY", "INTAKE", "AUDIT"} {
		if diff := cmp.Diff(one.stored(name), two.stored(name)); diff != "" {
			t.Errorf("%s (-one +two):\n%s", name, diff)
		}
	}
	back := repartitioned(t, two, keys, 1)
	// Merged by time, it is what it was, message by message.
	if diff := cmp.Diff(one.stored("ORDERS-00"), back.stored("ORDERS-00")); diff != "" {
		t.Errorf("there and back (-before +after):\n%s", diff)
	}
	back.fill(orders, orders+3)
	back.verify(3 * (orders + 3))

	// A backup of a repartitioned log is restored like any other.
	b, _ := create(t, back)
	if epoch := restored(t, b, keys).log.Epoch(); epoch <= 1 {
		t.Errorf("restored in epoch %d", epoch)
	}
}

func TestRepartitionKeepsWhatConsumersWereTold(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 2})
	s.fill(0, 10)
	for _, name := range []string{"ORDERS-00", "ORDERS-01"} {
		st, err := s.js().Stream(t.Context(), name)
		must(t, err)
		_, err = st.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
			Durable: "notify-erp", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "orders.*.loja.*",
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: st.CachedInfo().State.LastSeq + 1,
		})
		must(t, err)
		// Of another tenant, which has no events: nothing waits for it.
		_, err = st.CreateConsumer(t.Context(), jetstream.ConsumerConfig{
			Durable: "notify-else", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "orders.*.outra.*",
		})
		must(t, err)
	}
	s.fill(10, 20)
	b, _ := create(t, s)
	_, err := b.Repartition(t.Context(), filepath.Join(t.TempDir(), "moved"), 8)
	if domain.KindOf(err) != domain.Refused || !strings.Contains(err.Error(), "notify-erp") {
		t.Errorf("with events that wait for a consumer: %v, want refused and its name", err)
	}
	s.drain("ORDERS-00")
	s.drain("ORDERS-01")
	moved := repartitioned(t, s, keys, 8)
	moved.verify(60)
	for p := range 8 {
		name := eventstore.OrdersStream(p)
		c, err := moved.js().Consumer(t.Context(), name, "notify-erp")
		must(t, err)
		info := c.CachedInfo()
		if info.NumPending != 0 || info.NumAckPending != 0 {
			t.Errorf("%s: %d events would be told again", name, info.NumPending)
		}
	}
	// It began after the first ten orders, which lie first in every partition too.
	c, err := moved.js().Consumer(t.Context(), moved.partitionOf(15), "notify-erp")
	must(t, err)
	first, err := moved.log.Order(t.Context(), orderID(15))
	must(t, err)
	begin := c.CachedInfo().Config.OptStartSeq
	if begin < 1 || begin > first[0].Sequence {
		t.Errorf("the consumer begins at %d, the order at %d", begin, first[0].Sequence)
	}
	for n := range 10 {
		events, err := moved.log.Order(t.Context(), orderID(n))
		must(t, err)
		if last := events[2]; eventstore.OrdersStream(last.Partition) == moved.partitionOf(15) && last.Sequence >= begin {
			t.Errorf("order %d at %d lies after the beginning, %d", n, last.Sequence, begin)
		}
	}
	// What is new is told.
	moved.fill(20, 21)
	c, err = moved.js().Consumer(t.Context(), moved.partitionOf(20), "notify-erp")
	must(t, err)
	batch, err := c.Fetch(3)
	must(t, err)
	for m := range batch.Messages() {
		if !strings.HasSuffix(m.Subject(), string(orderID(20))) {
			t.Errorf("told %s", m.Subject())
		}
		must(t, m.DoubleAck(t.Context()))
	}
}

func (s *store) partitionOf(n int) string {
	s.t.Helper()
	events, err := s.log.Order(s.t.Context(), orderID(n))
	must(s.t, err)
	return eventstore.OrdersStream(events[0].Partition)
}

// drain has the consumer told everything.
func (s *store) drain(name string) {
	s.t.Helper()
	c, err := s.js().Consumer(s.t.Context(), name, "notify-erp")
	must(s.t, err)
	batch, err := c.Fetch(int(c.CachedInfo().NumPending))
	must(s.t, err)
	for m := range batch.Messages() {
		must(s.t, m.DoubleAck(s.t.Context()))
	}
}

func TestRepartitionRefusesANumber(t *testing.T) {
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), filepath.Join(t.TempDir(), "kek"), eventstore.Config{})
	b, _ := create(t, s)
	for _, n := range []int{-1, 0, 3, 512} {
		if _, err := b.Repartition(t.Context(), filepath.Join(t.TempDir(), "moved"), n); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%d partitions: %v, want invalid", n, err)
		}
	}
	empty, err := b.Repartition(t.Context(), filepath.Join(t.TempDir(), "moved"), 4)
	must(t, err)
	must(t, empty.Restore(t.Context(), natstest.FastNode(t, t.TempDir()).Conn(), backup.RestoreOptions{}))
}
