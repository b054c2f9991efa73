package eventstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
)

func TestLogOverItsLimitIsUnavailable(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	record(t, s, fact(1, 0, domain.KindPending))
	c := streamConfig(t, s, "ORDERS-00")
	limit := func(messages int64) {
		t.Helper()
		c.MaxMsgs = messages
		if _, err := newJS(t, s).UpdateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	var all sync.WaitGroup
	for n := range 150 { // singly, and as batches
		all.Go(func() {
			out, err := s.Record(t.Context(), message(), []domain.Fact{fact(n, 1, domain.KindApproved)})
			if domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
				t.Errorf("order %d on a full log: %+v, %v; want unavailable", n, out, err)
			}
		})
	}
	all.Wait()
	limit(-1)
	if out := record(t, s, fact(1, 1, domain.KindApproved))[0]; out.Revision != 2 {
		t.Errorf("with room again: %+v", out)
	}
	wantSound(t, s, 2)
}

// health is what a server says of itself.
type health struct{ err atomic.Pointer[error] }

var errNoSpace = errors.New("no space left on device")

func (h *health) set(err error) { h.err.Store(&err) }

func (h *health) ask() error {
	if err := h.err.Load(); err != nil {
		return *err
	}
	return nil
}

// TestWhatMayNotBeOnDiskIsNotAnswered: on a server that cannot write, what it
// holds may be gone when it starts again, so that neither our own event nor a duplicate
// that is read from there is acknowledged.
func TestWhatMayNotBeOnDiskIsNotAnswered(t *testing.T) {
	first, node, dir := fast(t, eventstore.Config{})
	record(t, first, fact(1, 0, domain.KindPending))
	server := &health{}
	s := open(t, node.Conn(), dir, eventstore.Config{Health: server.ask}, eventstore.RecorderConfig{})
	server.set(errNoSpace)
	out, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 0, domain.KindPending)})
	if domain.KindOf(err) != domain.Unavailable || !errors.Is(err, errNoSpace) || len(out) != 0 {
		t.Errorf("a duplicate: %+v, %v; want unavailable", out, err)
	}
	server.set(nil)
	if out := record(t, s, fact(1, 0, domain.KindPending))[0]; out.Verdict != domain.VerdictDuplicate {
		t.Errorf("from a server that can write: %+v", out)
	}
}

func TestWatchRefusesAndGivesUp(t *testing.T) {
	server := &health{}
	var now atomic.Int64
	dir := t.TempDir()
	s := open(t, natstest.FastNode(t, dir).Conn(), dir, eventstore.Config{
		Health: server.ask, GiveUp: time.Hour, Clock: func() time.Time { return noon.Add(time.Duration(now.Load())) },
	}, eventstore.RecorderConfig{})
	record(t, s, fact(1, 0, domain.KindPending))
	ended := make(chan error, 1)
	go func() { ended <- s.Watch(t.Context()) }()
	server.set(errNoSpace)
	await(t, func() bool { return s.Writable() != nil })
	if _, err := s.Record(t.Context(), message(), []domain.Fact{fact(2, 0, domain.KindPending)}); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("record: %v, want unavailable", err)
	}
	if _, err := s.Quarantine(t.Context(), message(), "unknown_status", "", nil); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("quarantine: %v, want unavailable", err)
	}
	if out := record(t, s, fact(1, 0, domain.KindPending))[0]; out.Verdict != domain.VerdictDuplicate {
		t.Errorf("a duplicate of what was acknowledged: %+v", out)
	}
	server.set(nil) // a moment only
	await(t, func() bool { return s.Writable() == nil })
	record(t, s, fact(2, 0, domain.KindPending))

	server.set(errNoSpace)
	await(t, func() bool { return s.Writable() != nil })
	now.Store(int64(time.Minute))
	if err := <-ended; domain.KindOf(err) != domain.Unavailable || !errors.Is(err, errNoSpace) {
		t.Errorf("watch ended with %v, want unavailable", err)
	}
	wantSound(t, s, 2)
}

// TestCanaryFindsASilentServer: nothing is written, and still it is known.
func TestCanaryFindsASilentServer(t *testing.T) {
	_, remote, proxy := behindProxy(t, impatient)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- remote.Watch(ctx) }()
	proxy.Cut()
	await(t, func() bool { return remote.Writable() != nil })
	proxy.Heal()
	await(t, func() bool { return remote.Writable() == nil })
	record(t, remote, fact(1, 0, domain.KindPending))
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("watch without an end: %v", err)
	}
}

// await waits until it is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never is")
		}
	}
}

// TestNewLogIsMadeOnceAndSpread opens a log from three instances at once on a
// cluster without one.
func TestNewLogIsMadeOnceAndSpread(t *testing.T) {
	addrs := natstest.Cluster(t)
	logs := make([]*eventstore.Log, len(addrs))
	var all sync.WaitGroup
	conns := make([]*store, len(addrs))
	for i, addr := range addrs {
		conns[i] = &store{conn: natstest.Open(t, addr).Conn()}
		all.Go(func() {
			var err error
			if logs[i], err = eventstore.Open(t.Context(), conns[i].conn, eventstore.Config{Partitions: 8, Replicas: 3}); err != nil {
				t.Errorf("instance %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, l := range logs {
		if l.Identity() != logs[0].Identity() || l.Partitions() != 8 {
			t.Errorf("identity %s with %d partitions, want %s with 8", l.Identity(), l.Partitions(), logs[0].Identity())
		}
		defer func() { _ = l.Close() }()
	}
	js := newJS(t, conns[0])
	await(t, func() bool {
		led := map[string]int{}
		for p := range 8 {
			st, err := js.Stream(t.Context(), eventstore.OrdersStream(p))
			if err != nil {
				return false
			}
			led[st.CachedInfo().Cluster.Leader]++
		}
		return len(led) == 3 && led[""] == 0 && led["n0"] >= 2 && led["n1"] >= 2 && led["n2"] >= 2
	})
}
