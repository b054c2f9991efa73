package webhook_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/provider/comanda"
	"comanda.internal/adapters/provider/iset"
	"comanda.internal/adapters/provider/voxuy"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a real log on an embedded server of its own.
type store struct {
	node     *natsnode.Node
	log      *eventstore.Log
	recorder *eventstore.Recorder
	js       jetstream.JetStream
}

func newStore(t *testing.T) *store {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None, UnsafeNoFsync: true})
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
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{
		Vault: vault, AppendTimeout: 20 * time.Second, AppendTries: 1,
	})
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
	return &store{node: node, log: log, recorder: recorder, js: js}
}

// kept is how much is stored, and where.
type kept struct {
	Events      domain.Position
	Quarantined int
	Relayed     uint64
}

func (s *store) kept(t *testing.T) kept {
	t.Helper()
	head, err := s.log.Head(t.Context())
	must(t, err)
	relay, err := s.js.Stream(t.Context(), eventstore.StreamRelay)
	must(t, err)
	return kept{Events: head, Quarantined: len(s.quarantined(t)), Relayed: relay.CachedInfo().State.Msgs}
}

func (s *store) quarantined(t *testing.T) []*comandav1.Quarantined {
	t.Helper()
	var all []*comandav1.Quarantined
	must(t, s.log.Quarantined(t.Context(), func(q *comandav1.Quarantined) error {
		all = append(all, q)
		return nil
	}))
	return all
}

// house is a handler in front of a recorder.
type house struct {
	handler  *webhook.Handler
	registry *prometheus.Registry
	logs     *logBuffer
	clock    *atomic.Int64 // Unix nanoseconds
}

// options are what a test changes of a house.
type options struct {
	cfg      webhook.Config
	recorder intake.Recorder
	keeper   intake.Keeper
}

func newHouse(t *testing.T, s *store, o options, sources ...webhook.Source) *house {
	t.Helper()
	h := &house{registry: prometheus.NewRegistry(), logs: &logBuffer{}, clock: &atomic.Int64{}}
	h.clock.Store(time.Now().UnixNano())
	now := func() time.Time { return time.Unix(0, h.clock.Load()) }
	logger := slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s != nil && o.recorder == nil {
		o.recorder = s.recorder
	}
	if s != nil && o.keeper == nil {
		o.keeper = s.log
	}
	in, err := intake.New(o.recorder, o.keeper, now, logger, h.registry)
	must(t, err)
	h.handler, err = webhook.New(o.cfg, sources, in, now, logger, h.registry)
	must(t, err)
	return h
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// benchHouse is a handler that logs nothing.
func benchHouse(b *testing.B, recorder intake.Recorder, sources ...webhook.Source) http.Handler {
	b.Helper()
	registry := prometheus.NewRegistry()
	in, err := intake.New(recorder, nil, time.Now, discard(), registry)
	if err != nil {
		b.Fatal(err)
	}
	h, err := webhook.New(webhook.Config{}, sources, in, time.Now, discard(), registry)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// metrics is what Prometheus would read.
func (h *house) metrics(t *testing.T) string {
	t.Helper()
	families, err := h.registry.Gather()
	must(t, err)
	var b bytes.Buffer
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		must(t, err)
	}
	return b.String()
}

// do sends a request through the handler.
func (h *house) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// post makes a request with a Bearer token, "" for none, and headers as name, value, ….
func post(path, token, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// The tokens, by source; none may ever be seen in a log.
const (
	tokenAprovei  = "tok-aprovei-1f6b0c"
	tokenVoxuy    = "tok-voxuy-9a21d4"
	tokenISET     = "tok-iset-77e0aa"
	tokenCheckout = "tok-checkout-c0ffee"
)

// sources are one of each kind, with token authentication.
func sources(t *testing.T) []webhook.Source {
	t.Helper()
	return []webhook.Source{
		tokenSource("loja-aprovei", provider.Aprovei, codec(t, aprovei.New, aprovei.Config{}), tokenAprovei),
		tokenSource("loja-voxuy", provider.Voxuy, codec(t, voxuy.New, voxuy.Config{}), tokenVoxuy),
		tokenSource("loja-iset", provider.ISET, codec(t, iset.New, iset.Config{}), tokenISET),
		tokenSource("loja-checkout", provider.Comanda, codec(t, comanda.New, comanda.Config{}), tokenCheckout),
	}
}

func codec[C any, D provider.Codec](t *testing.T, make func(C) (D, error), cfg C) provider.Codec {
	t.Helper()
	d, err := make(cfg)
	must(t, err)
	return d
}

func tokenSource(id domain.SourceID, name string, c provider.Codec, tokens ...string) webhook.Source {
	auth := webhook.Auth{Type: webhook.AuthToken}
	for _, token := range tokens {
		auth.Tokens = append(auth.Tokens, domain.NewSecret(token))
	}
	return sourceWith(id, name, c, auth)
}

func sourceWith(id domain.SourceID, name string, c provider.Codec, auth webhook.Auth) webhook.Source {
	config := webhook.SourceConfig{ID: id, Provider: name, Tenant: "loja", Account: "principal", Auth: auth}
	return config.Source(c)
}

func fixture(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	must(t, err)
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer is a log that may be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
