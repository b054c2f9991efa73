package eventstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
)

// impatient gives up a try soon: the answers of these tests are lost on purpose.
var impatient = eventstore.Config{AppendTimeout: 200 * time.Millisecond, AppendTries: 2}

// behindProxy is a server, an instance beside it, and one whose network is the proxy.
func behindProxy(t *testing.T, cfg eventstore.Config) (direct, remote *store, proxy *natstest.Proxy) {
	t.Helper()
	dir := t.TempDir()
	node := natstest.Node(t, dir)
	direct = open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	proxy = natstest.NewProxy(t, node.Addr())
	remote = open(t, natstest.Client(t, proxy.Addr(), dir).Conn(), dir, cfg, eventstore.RecorderConfig{})
	return direct, remote, proxy
}

// awaitHead waits until the log holds this many events.
func awaitHead(t *testing.T, s *store, events uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		head, err := s.Head(ctx)
		if err != nil {
			t.Fatalf("the event does not arrive: %v", err)
		}
		if head.At(0) >= events {
			return
		}
	}
}

func TestLostAcknowledgementIsOurOwnSuccess(t *testing.T) {
	// A long try: it waits through the outage, is sent again, and conflicts with itself.
	direct, remote, proxy := behindProxy(t, eventstore.Config{AppendTimeout: time.Second, AppendTries: 10})
	record(t, remote, fact(1, 0, domain.KindPending)) // its key and history are in memory
	proxy.HoldAnswers()
	type answer struct {
		out []domain.Outcome
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := remote.Record(t.Context(), message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
		answers <- answer{out, err}
	}()
	awaitHead(t, direct, 2) // stored, and the answer is on hold
	proxy.Cut()             // and now lost
	proxy.ReleaseAnswers()
	proxy.Heal()
	got := <-answers
	if got.err != nil {
		t.Fatal(got.err)
	}
	if out := got.out[0]; out.Verdict != domain.VerdictApplied || out.Revision != 2 || out.Position.At(0) != 2 {
		t.Errorf("outcome %+v: want our own applied revision 2 at sequence 2", out)
	}
	record(t, remote, fact(1, 2, domain.KindRefunded)) // what it remembers is right
	wantSound(t, direct, 3)
}

func TestUnknownIsNeverAcknowledged(t *testing.T) {
	direct, remote, proxy := behindProxy(t, impatient)
	record(t, remote, fact(1, 0, domain.KindPending))
	proxy.HoldAnswers()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	out, err := remote.Record(ctx, message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
	if domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
		t.Fatalf("without an answer: %+v, %v; want unavailable", out, err)
	}
	proxy.ReleaseAnswers()
	again := record(t, remote, fact(1, 1, domain.KindApproved))[0]
	if again.Verdict != domain.VerdictDuplicate || again.Revision != 2 {
		t.Errorf("the sender's repeat: %+v, want the duplicate of revision 2", again)
	}
	wantSound(t, direct, 2)
}

func TestServerAwayIsUnavailableAndBackIsBack(t *testing.T) {
	dir := t.TempDir()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	addr := node.Addr()
	remote := open(t, natstest.Client(t, addr, dir).Conn(), dir, impatient, eventstore.RecorderConfig{})
	record(t, remote, fact(1, 0, domain.KindPending))
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := remote.Record(t.Context(), message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
	if domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
		t.Fatalf("the server is away: %+v, %v; want unavailable", out, err)
	}
	back, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = back.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		out, err = remote.Record(ctx, message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
		if err == nil {
			break
		}
		if domain.KindOf(err) != domain.Unavailable || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if out[0].Revision != 2 || out[0].Status != domain.StatusApproved {
		t.Errorf("after the restart: %+v", out[0])
	}
	wantSound(t, remote, 2)
}

func TestClosedLogIsUnavailable(t *testing.T) {
	s := local(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 0, domain.KindPending)}); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("record on a closed log: %v", err)
	}
}

// TestQueueIsCommittedInBatches holds the answers so that a queue builds up, and
// puts into that queue an order that another instance has moved meanwhile.
func TestQueueIsCommittedInBatches(t *testing.T) {
	direct, remote, proxy := behindProxy(t, eventstore.Config{AppendTimeout: 20 * time.Second})
	const orders = 300
	for n := range orders {
		record(t, remote, fact(n, 0, domain.KindPending))
	}
	const moved = 250
	record(t, direct, fact(moved, 2, domain.KindRefused))
	proxy.HoldAnswers()
	var all sync.WaitGroup
	for n := range orders {
		all.Go(func() {
			out, err := remote.Record(t.Context(), message(), []domain.Fact{fact(n, 1, domain.KindApproved)})
			if err != nil {
				t.Errorf("order %d: %v", n, err)
				return
			}
			want := uint64(2)
			if n == moved {
				want = 3
			}
			if out[0].Revision != want || out[0].Verdict == domain.VerdictDuplicate {
				t.Errorf("order %d: %+v, want revision %d", n, out[0], want)
			}
		})
	}
	awaitHead(t, direct, orders+2) // some are stored; the rest cannot but queue
	proxy.ReleaseAnswers()
	all.Wait()
	batches := make(map[string]int)
	for n := range orders {
		for _, e := range history(t, remote, n) {
			if id := stored(t, direct, e.Sequence).Header.Get("Nats-Batch-Id"); id != "" {
				batches[id]++
			}
		}
	}
	batched := 0
	for _, n := range batches {
		batched += n
	}
	if batched < orders-50 { // the first singles, and those around the order that has moved
		t.Errorf("%d of %d events were committed in batches: the conflict cost others theirs", batched, orders)
	}
	wantSound(t, direct, 2*orders+1)
}

// TestReplicas runs two instances against three servers. Replicated streams
// answer conflicts with 10164 and 10071, and repeats of an id with a duplicate.
func TestReplicas(t *testing.T) {
	addrs := natstest.Cluster(t)
	dir := t.TempDir()
	cfg := eventstore.Config{Partitions: 2, Replicas: 3, AppendTimeout: 5 * time.Second}
	var stores []*store
	for _, addr := range addrs[:2] {
		stores = append(stores, open(t, natstest.Open(t, addr).Conn(), dir, cfg, eventstore.RecorderConfig{Decisions: 1000}))
	}
	const orders, facts = 4, 15
	var all sync.WaitGroup
	for n := range orders {
		for i := range facts {
			for _, s := range stores {
				all.Go(func() {
					if _, err := s.Record(t.Context(), message(), []domain.Fact{details(n, i)}); err != nil {
						t.Errorf("order %d, fact %d: %v", n, i, err)
					}
				})
			}
		}
	}
	all.Wait()
	for n := range orders {
		if got := len(history(t, stores[0], n)); got != facts {
			t.Errorf("order %d has %d events, want %d", n, got, facts)
		}
	}
	wantSound(t, stores[1], orders*facts)
	third := open(t, natstest.Open(t, addrs[2]).Conn(), dir, cfg, eventstore.RecorderConfig{})
	out := record(t, third, details(0, 0))[0] // within the dedupe window, on an order it does not know
	if out.Verdict != domain.VerdictDuplicate {
		t.Errorf("a repeat through a third instance: %+v", out)
	}
	if third.Identity() != stores[0].Identity() || !strings.HasPrefix(third.Identity(), "log_") {
		t.Errorf("identities %s and %s", third.Identity(), stores[0].Identity())
	}
	for p := range 2 {
		if cfg := streamConfig(t, third, fmt.Sprintf("ORDERS-%02d", p)); cfg.Replicas != 3 {
			t.Errorf("partition %d has %d replicas", p, cfg.Replicas)
		}
	}
}
