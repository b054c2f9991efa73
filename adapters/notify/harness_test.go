package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/httpsink"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tenant = "loja"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	// patience bounds every wait, so that a failure is one and not a hang.
	patience = 30 * time.Second
)

var day = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// house is a log with a recorder, on a server of its own.
type house struct {
	t        *testing.T
	node     *natsnode.Node
	log      *eventstore.Log
	vault    *privacy.Vault
	recorder *eventstore.Recorder

	mu  sync.Mutex
	now time.Time
}

func newHouse(t *testing.T, partitions int) *house {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 8, Wait: 20 * time.Second})
	must(t, err)
	background(t, vault.Run)
	<-vault.Ready()
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Partitions: partitions, Vault: vault})
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	h := &house{t: t, node: node, log: log, vault: vault, now: day}
	h.recorder, err = eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: h.clock})
	must(t, err)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background runs run until the test's end and waits for it.
func background(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(time.Millisecond)
	return h.now
}

// record stores one fact of the order and answers its outcome.
func (h *house) record(id string, kind domain.Kind, more ...func(*domain.Fact)) domain.Outcome {
	h.t.Helper()
	f := domain.Fact{
		Kind: kind, Provider: "comanda", Account: "principal", ProviderOrderID: id, Key: id + kind.String(),
		OccurredAt: day.Add(time.Duration(kind) * time.Minute), Reference: "REF-" + id,
		Amounts:  domain.Amounts{Currency: "BRL", Total: domain.Minor(12000), Paid: domain.Minor(12000)},
		Personal: &domain.Personal{Name: "Maria Canário", Email: "canario@example.com", Phone: "+5511912345678", Document: "74600027043"},
	}
	for _, m := range more {
		m(&f)
	}
	now := h.clock().Add(24 * time.Hour)
	out, err := h.recorder.Record(h.t.Context(), domain.Message{
		Source: "loja-checkout", Tenant: tenant, Account: "principal", Provider: "comanda", ReceivedAt: now,
		Cause: domain.Cause{Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}, []domain.Fact{f})
	must(h.t, err)
	return out[0]
}

// received is one request at an endpoint.
type received struct {
	order    string // provider order id
	typ      string
	revision uint64
	previous uint64
	id       string
	header   http.Header
	body     string
}

func (r received) short() string {
	return fmt.Sprintf("%s/%d<%d %s", r.order, r.revision, r.previous, r.typ)
}

// receiver is an endpoint. What it answers is decided by answer, which runs
// while the sender waits.
type receiver struct {
	*httptest.Server

	got chan received
}

func newReceiver(t *testing.T, answer func(http.ResponseWriter, received)) *receiver {
	t.Helper()
	r := &receiver{got: make(chan received, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the sender went away
		}
		var event struct {
			Type string
			Data struct {
				ProviderOrderID  string `json:"provider_order_id"`
				Revision         uint64
				PreviousRevision uint64 `json:"previous_revision"`
			}
		}
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("the body is no JSON: %v: %s", err, body)
		}
		got := received{
			order: event.Data.ProviderOrderID, typ: event.Type, revision: event.Data.Revision, previous: event.Data.PreviousRevision,
			id: req.Header.Get(httpsink.HeaderID), header: req.Header, body: string(body),
		}
		r.got <- got
		if answer != nil {
			answer(w, got)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// next is what comes next, in order of arrival.
func (r *receiver) next(t *testing.T, n int) []received {
	t.Helper()
	var out []received
	for range n {
		out = append(out, take(t, r.got))
	}
	return out
}

// forget takes what has come.
func (r *receiver) forget() {
	for {
		select {
		case <-r.got:
		default:
			return
		}
	}
}

// none checks that nothing more has come. It is called after something that
// would have come later.
func (r *receiver) none(t *testing.T) {
	t.Helper()
	select {
	case got := <-r.got:
		t.Errorf("told again or too much: %s", got.short())
	default:
	}
}

func take[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// waits is the schedule's clock in the hands of the test: each wait is
// announced, and lasts until it is let go.
type waits struct {
	asked chan wait
}

type wait struct {
	d    time.Duration
	free chan struct{}
}

func newWaits() *waits { return &waits{asked: make(chan wait, 1000)} }

// letGo takes the next wait, answers how long it was asked for, and ends it.
func (w *waits) letGo(t *testing.T) time.Duration {
	t.Helper()
	next := take(t, w.asked)
	close(next.free)
	return next.d
}

func (w *waits) wait(ctx context.Context, d time.Duration) error {
	mine := wait{d: d, free: make(chan struct{})}
	w.asked <- mine
	select {
	case <-mine.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// office is a running notifier.
type office struct {
	t      *testing.T
	conn   *nats.Conn
	cancel context.CancelFunc
	done   chan error
	reg    *prometheus.Registry
}

type option func(*notify.Config, *notify.Deps)

func withWaits(w *waits) option {
	return func(_ *notify.Config, d *notify.Deps) { d.Wait = w.wait }
}

func withSink(kind string, b notify.Builder) option {
	return func(_ *notify.Config, d *notify.Deps) { d.Sinks[kind] = b }
}

func with(change func(*notify.Config)) option {
	return func(c *notify.Config, _ *notify.Deps) { change(c) }
}

// open starts a notifier on a connection of its own and waits until it is ready.
func (h *house) open(endpoints []notify.Endpoint, options ...option) *office {
	h.t.Helper()
	conn, err := h.node.Connect("notify")
	must(h.t, err)
	js, err := jetstream.New(conn)
	must(h.t, err)
	o := &office{t: h.t, conn: conn, done: make(chan error, 1), reg: prometheus.NewRegistry()}
	cfg := notify.Config{Endpoints: endpoints, AckWait: time.Second, PinTTL: 2 * time.Second}
	deps := notify.Deps{
		JetStream: js, Log: h.log, Clock: h.clock, Random: func() float64 { return 0.5 },
		Sinks: map[string]notify.Builder{notify.KindHTTP: httpsink.Builder(h.clock)},
		Wait: func(ctx context.Context, d time.Duration) error {
			if d > 0 {
				h.t.Errorf("an unexpected wait of %s", d)
			}
			return ctx.Err()
		},
		Logger: slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), Registerer: o.reg,
	}
	for _, opt := range options {
		opt(&cfg, &deps)
	}
	n, err := notify.New(cfg, deps)
	must(h.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	o.cancel = cancel
	go func() { o.done <- n.Run(ctx) }()
	h.t.Cleanup(o.close)
	select {
	case <-n.Ready():
	case err := <-o.done:
		h.t.Fatalf("the notifier ended: %v", err)
	}
	return o
}

// close ends the notifier as a shutdown does. More than once is once.
func (o *office) close() {
	o.cancel()
	if o.done == nil {
		return
	}
	if err := <-o.done; err != nil && !o.conn.IsClosed() {
		o.t.Errorf("run: %v", err)
	}
	o.done = nil
	o.conn.Close()
}

func endpoint(r *receiver, events ...string) notify.Endpoint {
	return notify.Endpoint{
		ID: "erp", Tenant: tenant, Kind: notify.KindHTTP, URL: domain.NewSecret(r.URL),
		Secrets: []domain.Secret{domain.NewSecret(secret)}, Events: events, AllowPrivate: true,
	}
}

func shorts(all []received) []string {
	out := make([]string, len(all))
	for i, r := range all {
		out[i] = r.short()
	}
	return out
}
