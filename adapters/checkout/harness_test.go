package checkout_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"comanda.internal/adapters/checkout"
	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/provider/comanda"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is a real server with a log, and a merchant's checkout that is
// connected to it with the credentials of the account checkout.
type house struct {
	node     *natsnode.Node
	js       jetstream.JetStream
	log      *eventstore.Log
	recorder *eventstore.Recorder
	merchant *nats.Conn
	outcomes *nats.Subscription
}

func newHouse(t *testing.T) *house {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0", UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 64, Wait: 20 * time.Second})
	must(t, err)
	running, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- vault.Run(running) }()
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Vault: vault})
	must(t, err)
	t.Cleanup(func() {
		_ = log.Close()
		stop()
		<-ran
	})
	recorder, err := eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	must(t, err)
	js, err := jetstream.New(node.Conn())
	must(t, err)
	h := &house{node: node, js: js, log: log, recorder: recorder}
	h.connect(t, dir)
	return h
}

// connect is the merchant's own doing, with what it was given.
func (h *house) connect(t *testing.T, dir string) {
	t.Helper()
	var login struct{ URL, User, Password string }
	text, err := os.ReadFile(filepath.Join(dir, natsnode.CheckoutCredentials))
	must(t, err)
	must(t, json.Unmarshal(text, &login))
	closed := make(chan struct{})
	h.merchant, err = nats.Connect(login.URL, nats.UserInfo(login.User, login.Password),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	must(t, err)
	t.Cleanup(func() {
		h.merchant.Close()
		<-closed
	})
	h.outcomes, err = h.merchant.SubscribeSync("outcome.>")
	must(t, err)
	must(t, h.merchant.Flush())
}

// options are what a test changes of a checkout.
type options struct {
	cfg      checkout.Config
	recorder intake.Recorder
	clock    func() time.Time // of the front
}

// running is a checkout at work.
type running struct {
	*checkout.Checkout

	front    *checkout.Front
	registry *prometheus.Registry
	stop     func() error // ends it and waits; its error

	stopFront func() error // only that
}

// start runs a checkout and its front, and waits until they take messages. They are stopped
// the front first.
func (h *house) start(t *testing.T, o options) *running {
	t.Helper()
	r := h.make(t, o)
	stop := h.run(t, "checkout", r.Ready(), r.Run)
	stopFront := h.run(t, "front", r.front.Ready(), r.front.Run)
	r.stopFront = stopFront
	r.stop = func() error { return errors.Join(stopFront(), stop()) }
	return r
}

// run has something run; stop ends it and waits; its error.
func (h *house) run(t *testing.T, name string, ready <-chan struct{}, run func(context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("%s ended before it was ready: %v", name, err)
	}
	return stop
}

func (h *house) make(t *testing.T, o options) *running {
	t.Helper()
	if o.recorder == nil {
		o.recorder = h.recorder
	}
	if o.cfg.RetryDelay == 0 {
		o.cfg.RetryDelay, o.cfg.MaxRetryDelay = time.Millisecond, 4*time.Millisecond
	}
	logger, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	in, err := intake.New(o.recorder, h.log, time.Now, logger, registry)
	must(t, err)
	aproveiCodec, err := aprovei.New(aprovei.Config{})
	must(t, err)
	comandaCodec, err := comanda.New(comanda.Config{})
	must(t, err)
	sources := []*intake.Source{
		{ID: "loja-aprovei", Provider: provider.Aprovei, Tenant: "loja", Account: "principal", Codec: aproveiCodec},
		{ID: "loja-checkout", Provider: provider.Comanda, Tenant: "loja", Codec: comandaCodec},
	}
	c, err := checkout.New(o.cfg, h.js, sources, in, logger, registry)
	must(t, err)
	conn, err := h.node.ConnectFront("front")
	must(t, err)
	if o.clock == nil {
		o.clock = time.Now
	}
	front, err := c.Front(conn, o.clock, registry)
	must(t, err)
	return &running{Checkout: c, front: front, registry: registry}
}

// answerWait bounds the wait for the server; nothing is concluded from it but failure.
const answerWait = 20 * time.Second

// publish has body in INTAKE, as a server of yours has what a merchant publishes and as a Front
// passes it on; the answer is its sequence there. headers are name, value, ….
func (h *house) publish(t *testing.T, source, body string, headers ...string) uint64 {
	t.Helper()
	got := h.request(t, h.node.Conn(), message(source, body, headers...))
	if got.Error != nil {
		t.Fatalf("not in %s: %s", checkout.Stream, got.Error.Description)
	}
	return got.Seq
}

func message(source, body string, headers ...string) *nats.Msg {
	m := nats.NewMsg("intake." + source)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	return m
}

// ack is what a stream answers.
type ack struct {
	Stream    string
	Seq       uint64
	Duplicate bool
	Error     *struct{ Description string }
}

func (h *house) request(t *testing.T, conn *nats.Conn, m *nats.Msg) (got ack) {
	t.Helper()
	reply, err := conn.RequestMsg(m, 3*answerWait)
	must(t, err)
	must(t, json.Unmarshal(reply.Data, &got))
	return got
}

// outcome is what a merchant reads.
type outcome struct {
	MessageID    string              `json:"message_id"`
	Sequence     uint64              `json:"sequence"`
	Outcome      string              `json:"outcome"`
	OrderID      domain.OrderID      `json:"order_id"`
	Status       string              `json:"status"`
	Revision     uint64              `json:"revision"`
	Reason       string              `json:"reason"`
	QuarantineID string              `json:"quarantine_id"`
	Errors       map[string][]string `json:"errors"`
	Results      []outcome           `json:"results"`

	subject string
	header  nats.Header
}

// next is the next outcome that the merchant receives.
func (h *house) next(t *testing.T) outcome {
	t.Helper()
	m, err := h.outcomes.NextMsg(answerWait)
	must(t, err)
	o := outcome{subject: m.Subject, header: m.Header}
	if err := json.Unmarshal(m.Data, &o); err != nil {
		t.Fatalf("the outcome is not JSON: %s", m.Data)
	}
	return o
}

// wantStored waits until so many messages are in INTAKE.
func (h *house) wantStored(t *testing.T, want uint64) {
	t.Helper()
	await(t, want, "messages stored", func() uint64 {
		s, err := h.js.Stream(t.Context(), checkout.Stream)
		must(t, err)
		return s.CachedInfo().State.Msgs
	})
}

// wantUndone waits until so many messages of INTAKE are not acknowledged.
func (h *house) wantUndone(t *testing.T, want uint64) {
	t.Helper()
	await(t, want, "messages not acknowledged", func() uint64 {
		c, err := h.js.Consumer(t.Context(), checkout.Stream, checkout.Durable)
		must(t, err)
		info := c.CachedInfo()
		return info.NumPending + uint64(info.NumAckPending)
	})
}

func await(t *testing.T, want uint64, of string, now func() uint64) {
	t.Helper()
	for deadline := time.Now().Add(3 * answerWait); ; {
		got := now()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s in %s, want %d", got, of, checkout.Stream, want)
		}
	}
}

func (h *house) head(t *testing.T) uint64 {
	t.Helper()
	head, err := h.log.Head(t.Context())
	must(t, err)
	return head.At(0)
}

func (h *house) quarantined(t *testing.T) []*comandav1.Quarantined {
	t.Helper()
	var all []*comandav1.Quarantined
	must(t, h.log.Quarantined(t.Context(), func(q *comandav1.Quarantined) error {
		all = append(all, q)
		return nil
	}))
	return all
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	must(t, err)
	return string(b)
}

// event is a CloudEvent of ours.
func event(id, kind, order, more string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"checkout","type":"comanda.fact.` + kind + `.v1","subject":"` + order + `"` + more + `}`
}
