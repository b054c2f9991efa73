package grpcapi_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// watched is a log that counts who follows it and what is scanned of it, and that may
// stall or fail a scan.
type watched struct {
	grpcapi.Log

	follows, scans, scanned atomic.Int64
	stall                   chan struct{} // a scan waits until it is closed; nil: none does
	broken                  error
}

func (w *watched) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	w.follows.Add(1)
	return w.Log.Follow(ctx, partition, after, handle)
}

func (w *watched) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	w.scans.Add(1)
	if w.broken != nil {
		return w.broken
	}
	if w.stall != nil {
		select {
		case <-w.stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return w.Log.Scan(ctx, partition, after, upTo, func(r *domain.Recorded) error {
		w.scanned.Add(1)
		return handle(r)
	})
}

// many records four facts of each of n orders, fast.
func (s *store) many(first, n int) map[string]bool {
	s.t.Helper()
	var mu sync.Mutex
	var orders errgroup.Group
	orders.SetLimit(16) // each order takes a key of a small pool
	ids := map[string]bool{}
	for order := range n {
		orders.Go(func() error {
			for _, kind := range someKinds {
				out := s.record(first+order, kind)
				mu.Lock()
				ids[string(out.EventID)] = true
				mu.Unlock()
			}
			return nil
		})
	}
	must(s.t, orders.Wait())
	return ids
}

// TestASlowClientFallsBehindAndComesBack does not read while more is recorded than the
// ring holds: the client is told, misses nothing, and is told when it is live again.
// Meanwhile another, which reads, is never behind by more than what is on its way.
func TestASlowClientFallsBehindAndComesBack(t *testing.T) {
	store := newStore(t)
	log, deps := &watched{Log: store.log}, store.deps()
	deps.Log = log
	s := serve(t, grpcapi.Config{RingBytes: 64 << 10}, deps)
	slow, fast := subscribe(t, s, fromNow()), subscribe(t, s, fromNow())
	slow.catchUp()
	fast.catchUp()
	want := store.many(0, 150)
	var ids []string
	for len(ids) < len(want) {
		ids = append(ids, fast.event().GetEvent().GetEventId())
	}
	same(t, want, ids)

	ids = nil
	for caughtUp := slow.caughtUp; slow.caughtUp == caughtUp || len(ids) < len(want); {
		m := slow.next()
		if e := m.GetEvent(); e != nil {
			ids = append(ids, e.GetEvent().GetEventId())
		}
		if m.GetFellBehind() != nil && m.GetFellBehind().GetLagEvents() == 0 {
			t.Error("it fell behind by nothing")
		}
	}
	same(t, want, ids)
	if slow.behind == 0 || slow.caughtUp != slow.behind+1 {
		t.Errorf("fell behind %d times, caught up %d times", slow.behind, slow.caughtUp)
	}
	out := store.record(1000, domain.KindPending)
	if got := slow.event().GetEvent().GetEventId(); got != string(out.EventID) {
		t.Errorf("live again: %s, want %s", got, out.EventID)
	}
}

// TestAClientThatDoesNotReadHoldsLittle compares what is read of the log for a client
// that reads nothing, of a short log and of one twice as long. The other client
// reads all of it meanwhile.
func TestAClientThatDoesNotReadHoldsLittle(t *testing.T) {
	store := newStore(t)
	log, deps := &watched{Log: store.log}, store.deps()
	deps.Log = log
	s := serve(t, grpcapi.Config{}, deps)
	other := serve(t, grpcapi.Config{}, store.deps())
	want := map[string]bool{}
	for round, orders := range []int{200, 200} {
		for id := range store.many(1000*round, orders) {
			want[id] = true
		}
		before := log.scanned.Load()
		slow := subscribe(t, s, fromBeginning())
		same(t, want, subscribe(t, other, fromBeginning()).catchUp())
		// What is on its way in buffers of 64 kB, and pages that grow with that.
		if read := log.scanned.Load() - before; read > 600 {
			t.Errorf("%d events of %d were read for a client that reads none", read, len(want))
		}
		same(t, want, slow.catchUp())
	}
}

// TestAPageThatTakesLongEnds has every event take an hour, so that each page ends
// after one.
func TestAPageThatTakesLongEnds(t *testing.T) {
	store := newStore(t)
	deps := store.deps()
	var hours atomic.Int64
	deps.Clock = func() time.Time { return time.Unix(0, 0).Add(time.Duration(hours.Add(1)) * time.Hour) }
	log := &watched{Log: store.log}
	deps.Log = log
	s := serve(t, grpcapi.Config{}, deps)
	want := store.fill(4)
	same(t, want, subscribe(t, s, fromBeginning()).catchUp())
	same(t, want, read(t, s, &comandav1.ReadEventsRequest{}).ids)
	if scanned := log.scanned.Load(); scanned != int64(2*len(want)) {
		t.Errorf("%d events were read to send %d twice", scanned, len(want))
	}
}

// TestOneFollowerFeedsAll wants a follower for each partition, however many subscribe.
func TestOneFollowerFeedsAll(t *testing.T) {
	store := newStore(t)
	log, deps := &watched{Log: store.log}, store.deps()
	deps.Log = log
	s := serve(t, grpcapi.Config{}, deps)
	var subs []*subscriber
	for range 30 {
		sub := subscribe(t, s, fromNow())
		sub.catchUp()
		subs = append(subs, sub)
	}
	want := store.fill(5)
	for _, sub := range subs {
		var ids []string
		for range want {
			ids = append(ids, sub.event().GetEvent().GetEventId())
		}
		same(t, want, ids)
	}
	if follows, scanned := log.follows.Load(), log.scanned.Load(); follows != partitions || scanned != 0 {
		t.Errorf("%d followers of %d partitions, and %d events read beside them", follows, partitions, scanned)
	}
}

// TestAHeartbeatTellsTheLag has a log that does not answer: the client is told how far
// behind it is, then gets all, and is told that it is not any more.
func TestAHeartbeatTellsTheLag(t *testing.T) {
	store := newStore(t)
	log, deps := &watched{Log: store.log, stall: make(chan struct{})}, store.deps()
	deps.Log = log
	s := serve(t, grpcapi.Config{Heartbeat: 10 * time.Millisecond}, deps)
	want := store.fill(5)
	head := headOf(t, store).String()
	sub := subscribe(t, s, fromBeginning())
	for range 3 {
		if beat := sub.next().GetHeartbeat(); beat.GetHead() != head || beat.GetLagEvents() != uint64(len(want)) {
			t.Errorf("heartbeat %v, want the head %s and a lag of %d", beat, head, len(want))
		}
	}
	close(log.stall)
	same(t, want, sub.catchUp())
	if beat := sub.next().GetHeartbeat(); beat.GetHead() != head || beat.GetLagEvents() != 0 {
		t.Errorf("heartbeat %v, want the head %s and no lag", beat, head)
	}
}

// TestAServerThatStopsWhileTheLogDoesNotAnswer closes nevertheless, with the token.
func TestAServerThatStopsWhileTheLogDoesNotAnswer(t *testing.T) {
	store := newStore(t)
	log, deps := &watched{Log: store.log, stall: make(chan struct{})}, store.deps()
	deps.Log = log
	s := serve(t, grpcapi.Config{}, deps)
	want := store.fill(2)
	sub := subscribe(t, s, fromBeginning())
	_, err := sub.stream.Header()
	must(t, err)
	s.stop()
	if reason := sub.next().GetClosing().GetReason(); reason != "shutting_down" {
		t.Errorf("reason %q", reason)
	}
	if _, err := sub.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream's end = %v, want UNAVAILABLE", err)
	}
	same(t, want, subscribe(t, serve(t, grpcapi.Config{}, store.deps()), from(sub.token)).catchUp())
}

// TestALogThatCannotBeReadEndsTheStream is of catching up; TestALogThatFails… of
// following.
func TestALogThatCannotBeReadEndsTheStream(t *testing.T) {
	store := newStore(t)
	deps := store.deps()
	deps.Log = &watched{Log: store.log, broken: domain.Errorf(domain.Corrupt, "sequence 7 follows 5")}
	s := serve(t, grpcapi.Config{}, deps)
	store.fill(1)
	sub := subscribe(t, s, fromBeginning())
	closing := sub.next().GetClosing()
	if closing.GetReason() != "log_unavailable" || !placeOf(t, closing.GetResumeToken()).IsZero() {
		t.Errorf("closing = %v", closing)
	}
	if _, err := sub.stream.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("the stream's end = %v, want the log's error", err)
	}
	stream, err := s.events.ReadEvents(t.Context(), &comandav1.ReadEventsRequest{})
	must(t, err)
	m, err := stream.Recv()
	must(t, err)
	if c := m.GetClosing(); c.GetReason() != "log_unavailable" {
		t.Errorf("closing = %v", m)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("ReadEvents = %v, want the log's error", err)
	}
}
