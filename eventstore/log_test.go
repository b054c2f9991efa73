package eventstore_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func newJS(t *testing.T, s *store) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func streamConfig(t *testing.T, s *store, name string) jetstream.StreamConfig {
	t.Helper()
	st, err := newJS(t, s).Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return st.CachedInfo().Config
}

func TestStreamsAreAsDesigned(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 4})
	type settings struct {
		First, Last string
		Subjects    int
		DenyDelete  bool
		DenyPurge   bool
		Atomic      bool
		Direct      bool
		Retention   jetstream.RetentionPolicy
		Discard     jetstream.DiscardPolicy
		Storage     jetstream.StorageType
		MaxAge      time.Duration
		MaxMsgs     int64
	}
	day := 24 * time.Hour
	log := func(first, last string) settings {
		return settings{first, last, 64, true, true, true, true, jetstream.LimitsPolicy, jetstream.DiscardNew, jetstream.FileStorage, 0, -1}
	}
	side := func(subject string, retention jetstream.RetentionPolicy, age time.Duration) settings {
		return settings{subject, subject, 1, false, false, false, true, retention, jetstream.DiscardNew, jetstream.FileStorage, age, -1}
	}
	forever := side("audit.*", jetstream.LimitsPolicy, 0)
	forever.DenyDelete, forever.DenyPurge = true, true
	intake := side("intake.*", jetstream.LimitsPolicy, 7*day)
	intake.Atomic = true
	want := map[string]settings{
		"ORDERS-00":  log("orders.00.*.*", "orders.3f.*.*"),
		"ORDERS-01":  log("orders.40.*.*", "orders.7f.*.*"),
		"ORDERS-02":  log("orders.80.*.*", "orders.bf.*.*"),
		"ORDERS-03":  log("orders.c0.*.*", "orders.ff.*.*"),
		"INTAKE":     intake,
		"QUARANTINE": side("quarantine.*.*", jetstream.LimitsPolicy, 180*day),
		"RELAY":      side("relay.>", jetstream.LimitsPolicy, 7*day),
		"AUDIT":      forever,
	}
	got := make(map[string]settings)
	for name := range want {
		c := streamConfig(t, s, name)
		got[name] = settings{
			c.Subjects[0], c.Subjects[len(c.Subjects)-1], len(c.Subjects), c.DenyDelete, c.DenyPurge, c.AllowAtomicPublish,
			c.AllowDirect, c.Retention, c.Discard, c.Storage, c.MaxAge, c.MaxMsgs,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
}

func TestRestartFindsTheSameLog(t *testing.T) {
	dir := t.TempDir()
	synced := 0
	run := func(work func(*store)) {
		node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: natsnode.None})
		if err != nil {
			t.Fatal(err)
		}
		t.Run("instance", func(t *testing.T) {
			sync := func() error { synced++; return node.SyncDirs() }
			work(open(t, node.Conn(), dir, eventstore.Config{AfterCreate: sync}, eventstore.RecorderConfig{}))
		})
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var identity string
	var events []domain.Recorded
	run(func(s *store) {
		identity = s.Identity()
		record(t, s, fact(1, 0, domain.KindPending), fact(1, 1, domain.KindApproved))
		events = history(t, s, 1)
	})
	run(func(s *store) {
		if s.Identity() != identity || s.Epoch() != 1 || s.Partitions() != 1 {
			t.Errorf("identity %s epoch %d partitions %d, want %s, 1, 1", s.Identity(), s.Epoch(), s.Partitions(), identity)
		}
		if diff := cmp.Diff(events, history(t, s, 1)); diff != "" {
			t.Errorf("history after the restart (-before +after):\n%s", diff)
		}
		if out := record(t, s, fact(1, 2, domain.KindRefunded))[0]; out.Revision != 3 || out.Status != domain.StatusRefunded {
			t.Errorf("after the restart: %+v", out)
		}
		if events := history(t, s, 1); events[2].Event.KeyID != events[0].Event.KeyID {
			t.Error("the order changed its key with the restart")
		}
		wantSound(t, s, 3)
	})
	if synced != 1 {
		t.Errorf("directories were synced %d times, want once: when the streams were made", synced)
	}
}

func TestOpenRefuses(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 2})
	record(t, s, fact(1, 0, domain.KindPending))
	level := eventstore.Mark{By: "the views have read", Sequence: 1, Partition: int(orderID(1).Slot()) / 128, Hash: history(t, s, 1)[0].Hash}
	with := func(change func(*eventstore.Mark)) eventstore.Config {
		m := level
		change(&m)
		return eventstore.Config{Remembered: []eventstore.Mark{level, m}}
	}
	for name, c := range map[string]struct {
		cfg  eventstore.Config
		want domain.ErrorKind
		text string
	}{
		"another number of partitions": {eventstore.Config{Partitions: 4}, domain.Refused, "2 partitions, not 4"},
		"partitions that are no power": {eventstore.Config{Partitions: 3}, domain.Invalid, "power of two"},
		"too many partitions":          {eventstore.Config{Partitions: 512, Replicas: 9}, domain.Invalid, "replicas is 1 to 5"},
		"a view that is ahead": {
			with(func(m *eventstore.Mark) { m.Sequence = 99 }), domain.Corrupt,
			"went backwards: partition " + strconv.Itoa(level.Partition) + ": the views have read sequence 99, and the log ends at 1",
		},
		"a view that remembers another event": {
			with(func(m *eventstore.Mark) { m.Hash[0] ^= 1 }), domain.Corrupt, "the views have read another event at sequence 1: its hash was",
		},
	} {
		_, err := eventstore.Open(t.Context(), s.conn, c.cfg)
		if domain.KindOf(err) != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.want, c.text)
		}
	}
	for name, change := range map[string]func(*eventstore.Mark){
		"level":            func(*eventstore.Mark) {},
		"at the beginning": func(m *eventstore.Mark) { m.Sequence = 0 },
		"of another log":   func(m *eventstore.Mark) { m.Log, m.Sequence = "log_other", 99 },
		"of another epoch": func(m *eventstore.Mark) { m.Epoch, m.Sequence = 2, 99 },
	} {
		cfg := with(change)
		cfg.Existing = true
		same, err := eventstore.Open(t.Context(), s.conn, cfg)
		if err != nil {
			t.Fatalf("a view that is %s: %v", name, err)
		}
		if err := same.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefusesALogThatLostItsStreams(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 2})
	for n := range 20 { // both partitions hold something
		record(t, s, fact(n, 0, domain.KindPending))
	}
	js := newJS(t, s)
	if err := js.DeleteStream(t.Context(), "ORDERS-01"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first must not make what the second would then find
		_, err := eventstore.Open(t.Context(), s.conn, eventstore.Config{})
		if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "ORDERS-01") {
			t.Errorf("a partition is gone: %v", err)
		}
	}
	if err := js.DeleteStream(t.Context(), "ORDERS-00"); err != nil {
		t.Fatal(err)
	}
	_, err := eventstore.Open(t.Context(), s.conn, eventstore.Config{Remembered: []eventstore.Mark{{By: "the views have read", Sequence: 3}}})
	if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "gone") {
		t.Errorf("the log is gone: %v", err)
	}
	_, err = eventstore.Open(t.Context(), s.conn, eventstore.Config{Existing: true})
	if domain.KindOf(err) != domain.NotFound {
		t.Errorf("no log where one must be: %v", err)
	}
}

func TestOpenRefusesDrift(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	c := streamConfig(t, s, "ORDERS-00")
	c.MaxAge = time.Hour
	if _, err := newJS(t, s).UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	_, err := eventstore.Open(t.Context(), s.conn, eventstore.Config{})
	if domain.KindOf(err) != domain.Refused || !strings.Contains(err.Error(), "max_age") {
		t.Errorf("a log that forgets: %v", err)
	}
}

func TestOpenRefusesAForeignStream(t *testing.T) {
	node := natstest.FastNode(t, t.TempDir())
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS-00", Subjects: []string{"mine.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err = eventstore.Open(t.Context(), node.Conn(), eventstore.Config{})
	if domain.KindOf(err) != domain.Refused || !strings.Contains(err.Error(), "not Comanda's") {
		t.Errorf("somebody else's stream: %v", err)
	}
}

func TestHashAtIsWhatAViewRemembers(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	record(t, s, fact(1, 0, domain.KindPending))
	e := history(t, s, 1)[0]
	if got, err := s.HashAt(t.Context(), e.Partition, e.Sequence); err != nil || got != e.Hash {
		t.Errorf("hash: %x, %v", got, err)
	}
	for _, place := range []struct {
		partition int
		sequence  uint64
	}{{0, 2}, {1, 1}, {-1, 1}} {
		if _, err := s.HashAt(t.Context(), place.partition, place.sequence); domain.KindOf(err) != domain.NotFound {
			t.Errorf("%+v: %v, want not found", place, err)
		}
	}
}

func TestOrderThatIsNotThere(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	if events := history(t, s, 1); len(events) != 0 {
		t.Errorf("%d events of an order that nobody recorded", len(events))
	}
	if _, err := s.Order(t.Context(), "ord_*.>"); domain.KindOf(err) != domain.Invalid {
		t.Errorf("not an id: %v", err)
	}
}

// follow collects a partition's events until ctx ends.
func follow(t *testing.T, s *store, partition int, after uint64) <-chan domain.Recorded {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan domain.Recorded, 1000), make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, partition, after, func(rs []domain.Recorded) error {
			for _, r := range rs {
				out <- r
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	return out
}

func wantNext(t *testing.T, got <-chan domain.Recorded, want domain.Recorded) {
	t.Helper()
	select {
	case r := <-got:
		if diff := cmp.Diff(want, r); diff != "" {
			t.Fatalf("event (-want +got):\n%s", diff)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
}

func TestFollowSeesWhatWasAndWhatComes(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	record(t, s, fact(1, 0, domain.KindPending), fact(1, 1, domain.KindApproved))
	got := follow(t, s, 0, 1)
	wantNext(t, got, history(t, s, 1)[1])
	record(t, s, fact(2, 0, domain.KindPending))
	wantNext(t, got, history(t, s, 2)[0])
	if err := s.Follow(t.Context(), 1, 0, nil); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a partition that is not there: %v", err)
	}
	stop := errors.New("stop")
	if err := s.Follow(t.Context(), 0, 0, func([]domain.Recorded) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the handler's error: %v", err)
	}
}

func TestFollowGoesOnAfterAnOutage(t *testing.T) {
	direct, remote, proxy := behindProxy(t, eventstore.Config{})
	got := follow(t, remote, 0, 0)
	record(t, direct, fact(1, 0, domain.KindPending))
	wantNext(t, got, history(t, direct, 1)[0])
	proxy.Cut()
	record(t, direct, fact(2, 0, domain.KindPending))
	proxy.Heal()
	wantNext(t, got, history(t, direct, 2)[0])
}

func TestDecodeMsgReadsAConsumersMessage(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 2})
	record(t, s, fact(1, 0, domain.KindPending))
	want := history(t, s, 1)[0]
	js := newJS(t, s)
	next := func(stream string) jetstream.Msg {
		t.Helper()
		c, err := js.CreateConsumer(t.Context(), stream, jetstream.ConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	got, err := s.DecodeMsg(next(eventstore.OrdersStream(want.Partition)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	if _, err := js.Publish(t.Context(), "intake.loja", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DecodeMsg(next("INTAKE")); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a message of another stream: %v", err)
	}
}

func TestQuarantineKeepsOnceAndSealed(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	msg := message()
	fields := map[string][]string{"total_price": {"not a number"}}
	id, err := s.Quarantine(t.Context(), msg, "invalid_fields", "one field", fields)
	if err != nil || !strings.HasPrefix(id, "qtn_") {
		t.Fatalf("quarantine: %q, %v", id, err)
	}
	if again, err := s.Quarantine(t.Context(), msg, "invalid_fields", "one field", fields); err != nil || again != id {
		t.Errorf("the same message again: %q, %v; want %q", again, err, id)
	}
	msg.Body = []byte("other")
	if other, err := s.Quarantine(t.Context(), msg, "malformed", "", nil); err != nil || other == id {
		t.Errorf("another message: %q, %v", other, err)
	}
	var kept []*comandav1.Quarantined
	err = s.Quarantined(t.Context(), func(q *comandav1.Quarantined) error {
		kept = append(kept, q)
		return nil
	})
	if err != nil || len(kept) != 2 {
		t.Fatalf("%d kept, %v; want 2", len(kept), err)
	}
	first := kept[0]
	if first.GetQuarantineId() != id || first.GetReason() != "invalid_fields" || first.GetSource() != string(source) ||
		first.GetFields()["total_price"].GetMessages()[0] != "not a number" || !first.GetReceivedAt().AsTime().Equal(msg.ReceivedAt) {
		t.Errorf("kept %v", first)
	}
	if strings.Contains(string(first.GetSealedRaw()), "Maria") {
		t.Error("the body lies in the clear")
	}
	if contentType, body, err := s.OpenQuarantined(t.Context(), first); err != nil || contentType != "application/json" || string(body) != string(message().Body) {
		t.Errorf("opened %q %q, %v", contentType, body, err)
	}
	if _, err := s.Quarantine(t.Context(), msg, "not.a.word", "", nil); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a reason that is no word: %v", err)
	}
}

func TestQuarantineIsUnavailableWithoutAServer(t *testing.T) {
	_, remote, proxy := behindProxy(t, impatient)
	proxy.Cut()
	if id, err := remote.Quarantine(t.Context(), message(), "malformed", "", nil); domain.KindOf(err) != domain.Unavailable || id != "" {
		t.Errorf("quarantine: %q, %v", id, err)
	}
	if err := remote.Relay(t.Context(), message(), "product.changed", "k", nil); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("relay: %v", err)
	}
}

func TestRelayKeepsOnce(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	for range 2 {
		if err := s.Relay(t.Context(), message(), "product.changed", "key", []byte(`{"sku":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	st, err := newJS(t, s).Stream(t.Context(), "RELAY")
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(t.Context(), 1)
	if err != nil || m.Subject != "relay.loja.product.changed" || st.CachedInfo().State.Msgs != 1 {
		t.Errorf("relayed %v to %s, %d messages", err, m.Subject, st.CachedInfo().State.Msgs)
	}
	if err := s.Relay(t.Context(), message(), "product.>", "key", nil); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a type that is a wildcard: %v", err)
	}
}
