package eventstore_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/stream"
)

var discardLog = slog.New(slog.DiscardHandler)

// onOneServer is three instances on one server, one of them behind a proxy. Each makes
// batches from that queue; 0 is as by default.
func onOneServer(t *testing.T, batchFrom int) ([]*store, *natstest.Proxy) {
	t.Helper()
	dir := t.TempDir()
	node := natstest.Node(t, dir)
	proxy := natstest.NewProxy(t, node.Addr())
	remote := natstest.Client(t, proxy.Addr(), dir)
	cfg := impatient
	cfg.BatchFrom = batchFrom
	var stores []*store
	for _, conn := range []*nats.Conn{node.Conn(), remote.Conn(), node.Conn()} {
		stores = append(stores, open(t, conn, dir, cfg, eventstore.RecorderConfig{Decisions: 1000}))
	}
	return stores, proxy
}

// onReplicas is three instances, each on a server of its own.
func onReplicas(t *testing.T, addrs ...string) []*store {
	t.Helper()
	dir := t.TempDir()
	cfg := eventstore.Config{Partitions: 1, Replicas: 3, AppendTimeout: 4 * time.Second, AppendTries: 5}
	var stores []*store
	for _, addr := range addrs {
		stores = append(stores, open(t, natstest.Open(t, addr).Conn(), dir, cfg, eventstore.RecorderConfig{Decisions: 1000}))
	}
	return stores
}

// outages takes the network of an instance away again and again: its answers are
// held up, then lost with the connection, which comes back when two appends had no answer.
type outages struct {
	proxy *natstest.Proxy
	every int // calls

	mu       sync.Mutex
	at       int // of calls, for the next change
	held     bool
	cut      bool
	unknowns int // since the cut
}

const heldFor = 10 // calls

func (o *outages) done(n int, unknown bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.cut:
		if unknown {
			o.unknowns++
		}
		if o.unknowns >= 2 {
			o.heal()
			o.at = n + o.every
		}
	case n < o.at:
	case o.held:
		o.proxy.Cut()
		o.proxy.ReleaseAnswers()
		o.held, o.cut, o.unknowns = false, true, 0
	default:
		o.proxy.HoldAnswers()
		o.held, o.at = true, n+heldFor
	}
}

func (o *outages) heal() {
	o.proxy.Cut() // what is held is lost
	o.proxy.ReleaseAnswers()
	o.proxy.Heal()
	o.held, o.cut = false, false
}

// TestLinearOnOneServer races three instances while the network of one comes and
// goes. With a fault planted, the same race must be red.
func TestLinearOnOneServer(t *testing.T) {
	stores, proxy := onOneServer(t, 0)
	network := &outages{proxy: proxy, every: 150, at: 30}
	r := &race{t: t, stores: stores, calls: 600, orders: 5, done: network.done}
	history := r.run(network.heal)
	t.Logf("%d calls, %d of them appends without an answer", len(history), r.unknown())
	if got := check(history); got != porcupine.Ok {
		t.Errorf("porcupine says %s", got)
	}
	if r.unknown() == 0 {
		t.Error("every append was answered: the network was always there")
	}
	wantNoProblem(t, stores[0])
	wantRed(t, stores, "expectation left out", "10071 for success", "acknowledged before the append returned")
}

// TestLinearInBatches is the same with so many clients that most events go in batches,
// which are refused for one another's, halved, sent again singly, and lost with the network.
func TestLinearInBatches(t *testing.T) {
	stores, proxy := onOneServer(t, 2)
	network := &outages{proxy: proxy, every: 300, at: 100}
	r := &race{t: t, stores: stores, calls: 900, orders: 40, each: 12, done: network.done}
	history := r.run(network.heal)
	batched := 0
	err := stream.NewReader(newJS(t, stores[0]), eventstore.OrdersStream(0), discardLog).Subject(t.Context(), ">", func(m stream.Message) error {
		if m.Header.Get("Nats-Batch-Id") != "" {
			batched++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls, %d of them appends without an answer; %d events in batches", len(history), r.unknown(), batched)
	if got := check(history); got != porcupine.Ok {
		t.Errorf("porcupine says %s", got)
	}
	if batched == 0 {
		t.Error("no event was stored in a batch")
	}
	wantNoProblem(t, stores[0])
}

// TestLinearOnReplicas is the same on three servers that stay.
func TestLinearOnReplicas(t *testing.T) {
	stores := onReplicas(t, natstest.Cluster(t)...)
	r := &race{t: t, stores: stores, calls: 300, orders: 3}
	if got := check(r.run(nil)); got != porcupine.Ok {
		t.Errorf("porcupine says %s", got)
	}
	wantNoProblem(t, stores[2])
	wantRed(t, stores, "expectation left out", "10164 for success", "acknowledged before the append returned")
}

// TestLeaderDies races three instances on three server processes and kills the
// log's leader with SIGKILL in the middle.
func TestLeaderDies(t *testing.T) {
	t.Parallel() // most of it is the wait for another leader
	cluster := natstest.Processes(t)
	stores := onReplicas(t, cluster.From(0), cluster.From(1), cluster.From(2)) // at once: it has no leader yet
	const calls = 200
	var kill sync.Once
	r := &race{t: t, stores: stores, calls: calls, orders: 4}
	var diedAt time.Duration
	r.done = func(n int, _ bool) {
		if n < calls/2 {
			return
		}
		kill.Do(func() {
			info, err := stream.Info(context.Background(), newJS(t, stores[0]), eventstore.OrdersStream(0))
			if err != nil {
				t.Error(err)
				return
			}
			cluster.Kill(t, info.Cluster.Leader)
			diedAt = time.Since(r.begun)
		})
	}
	history := r.run(nil)
	silence, ended := r.silence()
	t.Logf("%d calls, %d of them appends without an answer; %s without an acknowledgement when the leader died",
		len(history), r.unknown(), silence.Round(time.Millisecond))
	if got := check(history); got != porcupine.Ok {
		t.Errorf("porcupine says %s", got)
	}
	if last := slices.Max(r.acks); last <= diedAt || ended <= diedAt {
		t.Errorf("the last acknowledgement came at %s, the leader died at %s", last, diedAt)
	}
	wantNoProblem(t, stores[1])
}

// faults are wrong ways to hear the server, each of which porcupine must see.
func faults(hold <-chan struct{}, held *sync.WaitGroup) map[string]func(eventstore.Send) eventstore.Send {
	conflictIsSuccess := func(code stream.Code) func(eventstore.Send) eventstore.Send {
		return func(send eventstore.Send) eventstore.Send {
			return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
				ack, err := send(ctx, partition, m)
				if stream.CodeOf(err) == code {
					return ackFor(m), nil
				}
				return ack, err
			}
		}
	}
	return map[string]func(eventstore.Send) eventstore.Send{
		"expectation left out": func(send eventstore.Send) eventstore.Send {
			return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
				m.Header.Del(expectation)
				return send(ctx, partition, m)
			}
		},
		"10071 for success": conflictIsSuccess(stream.CodeWrongLast),
		"10164 for success": conflictIsSuccess(stream.CodeWrongLastInFlight),
		"acknowledged before the append returned": func(send eventstore.Send) eventstore.Send {
			return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
				held.Go(func() {
					<-hold
					_, _ = send(context.WithoutCancel(ctx), partition, m)
				})
				return ackFor(m), nil
			}
		},
	}
}

const expectation = "Nats-Expected-Last-Subject-Sequence"

// ackFor is the acknowledgement that m hopes for.
func ackFor(m *nats.Msg) stream.Ack {
	expected, _ := strconv.ParseUint(m.Header.Get(expectation), 10, 64)
	return stream.Ack{Stream: eventstore.OrdersStream(0), Sequence: expected + 1}
}

// wantRed races stores with each fault planted, on orders of its own, and wants
// porcupine to see it.
func wantRed(t *testing.T, stores []*store, planted ...string) {
	t.Helper()
	for i, fault := range planted {
		t.Run(fault, func(t *testing.T) {
			hold, held := make(chan struct{}), &sync.WaitGroup{}
			for _, s := range stores {
				defer eventstore.Between(s.Log, faults(hold, held)[fault])()
			}
			r := &race{t: t, stores: stores, calls: 120, first: 100 * (i + 1), orders: 4}
			history := r.run(func() {
				close(hold)
				held.Wait()
			})
			if got := check(history); got != porcupine.Illegal {
				t.Errorf("porcupine says %s of a log with a fault, want %s", got, porcupine.Illegal)
			}
		})
	}
}

// wantNoProblem verifies the whole log, however many events it has.
func wantNoProblem(t *testing.T, s *store) {
	t.Helper()
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, p := range report.Problems {
		t.Errorf("problem: %+v", p)
	}
}
