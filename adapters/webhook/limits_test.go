package webhook_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
)

// recorderFunc makes a recorder fail or wait, which a real log cannot be told to.
type recorderFunc func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error)

func (f recorderFunc) Record(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
	return f(ctx, msg, facts)
}

func (f recorderFunc) RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, _ order.Terms) (domain.Outcome, error) {
	outcomes, err := f(ctx, msg, []domain.Fact{fact})
	if err != nil {
		return domain.Outcome{}, err
	}
	return outcomes[0], nil
}

// brokenKeeper is a quarantine that cannot be written.
type brokenKeeper struct{ err error }

func (k brokenKeeper) Quarantine(context.Context, domain.Message, string, string, map[string][]string) (string, error) {
	return "", k.err
}

func (k brokenKeeper) Relay(context.Context, domain.Message, string, string, []byte) error {
	return k.err
}

// While the log is away nothing is acknowledged, and nothing turns out to be stored.
func TestLogAway(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{cfg: webhook.Config{RetryAfter: 7 * time.Second}}, sources(t)...)
	must(t, s.log.Close())
	for name, r := range map[string]*http.Request{
		"a fact":      post("/webhooks/loja-aprovei", tokenAprovei, fixture(t, "aprovei-pending")),
		"no fact":     post("/webhooks/loja-aprovei", tokenAprovei, "{"),
		"a catalogue": post("/webhooks/loja-iset/product.changed", tokenISET, "{}"),
		"voxuy":       post("/webhooks/loja-voxuy", tokenVoxuy, fixture(t, "voxuy-sample-request")),
	} {
		w := h.do(r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "7" {
			t.Errorf("%s: answered %d, Retry-After %q, %s", name, w.Code, w.Header().Get("Retry-After"), w.Body)
		}
	}
	log, err := eventstore.Open(t.Context(), s.node.Conn(), eventstore.Config{})
	must(t, err)
	defer log.Close()
	head, err := log.Head(t.Context())
	must(t, err)
	if !head.IsZero() {
		t.Errorf("the log ends at %s: something that was not acknowledged is in it", head)
	}
}

// Every failure of the recorder or the quarantine has the right answer.
func TestFailures(t *testing.T) {
	kind := func(k domain.ErrorKind) error { return fmt.Errorf("record: %w", domain.Errorf(k, "because")) }
	s := newStore(t)
	for _, c := range []struct {
		name   string
		err    error
		status int
		reason string
	}{
		{"unavailable", kind(domain.Unavailable), 503, ""},
		{"out of time", context.DeadlineExceeded, 503, ""},
		{"a bug", errors.New("bug"), 503, ""},
		{"too many facts", kind(domain.Exhausted), 202, "too_many_facts"},
		{"against the rules", kind(domain.Invalid), 202, "refused_content"},
		{"refused", kind(domain.Refused), 202, "refused_content"},
		{"a corrupt order", kind(domain.Corrupt), 202, "corrupt_order"},
	} {
		t.Run(c.name, func(t *testing.T) {
			failing := recorderFunc(func(context.Context, domain.Message, []domain.Fact) ([]domain.Outcome, error) {
				return nil, c.err
			})
			h := newHouse(t, s, options{recorder: failing}, sources(t)...)
			w := h.do(post("/webhooks/loja-aprovei", tokenAprovei, fixture(t, "aprovei-pending")))
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.reason) {
				t.Errorf("answered %d %s, want %d %s", w.Code, w.Body, c.status, c.reason)
			}
			if logged := strings.Contains(h.logs.String(), "webhook not accepted"); logged != (c.status == 503) {
				t.Errorf("logged:\n%s", h.logs)
			}
		})
	}
	h := newHouse(t, nil, options{
		recorder: s.recorder, keeper: brokenKeeper{kind(domain.Unavailable)},
	}, sources(t)...)
	if w := h.do(post("/webhooks/loja-checkout", tokenCheckout, "{")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("what could not be quarantined is answered %d", w.Code)
	}
}

func TestRate(t *testing.T) {
	source := sources(t)[0]
	source.Rate = webhook.Rate{PerSecond: 0.25, Burst: 2}
	h := newHouse(t, newStore(t), options{}, source, sources(t)[1])
	knock := func(token string) int {
		return h.do(post("/webhooks/loja-aprovei", token, fixture(t, "aprovei-pending"))).Code
	}
	var got []int
	for range 3 {
		got = append(got, knock(tokenAprovei))
	}
	w := h.do(post("/webhooks/loja-aprovei", tokenAprovei, "{}"))
	if w.Header().Get("Retry-After") != "4" {
		t.Errorf("Retry-After %q, want the 4 s until there is room", w.Header().Get("Retry-After"))
	}
	got = append(got, knock("wrong")) // the bound tells nobody that there is such a source
	got = append(got, h.do(post("/webhooks/loja-voxuy", tokenVoxuy, fixture(t, "voxuy-sample-request"))).Code)
	h.clock.Add(int64(4 * time.Second))
	got = append(got, knock(tokenAprovei), knock(tokenAprovei))
	if diff := cmp.Diff([]int{200, 200, 429, 401, 200, 200, 429}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// While as many as may be are in flight, more are sent away and nothing of
// theirs is kept.
func TestConcurrencyIsBounded(t *testing.T) {
	s := newStore(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	waiting := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		entered <- struct{}{}
		<-leave
		return s.recorder.Record(ctx, msg, facts)
	})
	h := newHouse(t, s, options{cfg: webhook.Config{MaxInFlight: 2}, recorder: waiting}, sources(t)...)
	answers := make(chan int)
	for range 2 {
		go func() {
			answers <- h.do(post("/webhooks/loja-aprovei", tokenAprovei, fixture(t, "aprovei-pending"))).Code
		}()
		<-entered
	}
	for _, path := range []string{"/webhooks/loja-aprovei", "/webhooks/nobody"} {
		w := h.do(post(path, tokenAprovei, "{}"))
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: answered %d, Retry-After %q", path, w.Code, w.Header().Get("Retry-After"))
		}
	}
	close(leave)
	if a, b := <-answers, <-answers; a != 200 || b != 200 {
		t.Errorf("those in flight were answered %d and %d", a, b)
	}
	if w := h.do(post("/webhooks/loja-aprovei", "wrong", "{}")); w.Code != http.StatusUnauthorized {
		t.Errorf("with room again: %d", w.Code)
	}
	if got := s.kept(t); got.Events.At(0) != 1 || got.Quarantined != 0 {
		t.Errorf("kept %+v, want one event", got)
	}
}

// One message, many times at once: one effect, and every sender is told so.
func TestSameMessageAtOnce(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	body := fixture(t, "aprovei-pending")
	const senders = 32
	var applied, duplicate, other int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			w := h.do(post("/webhooks/loja-aprovei", tokenAprovei, body))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case strings.Contains(w.Body.String(), `"outcome":"applied"`):
				applied++
			case strings.Contains(w.Body.String(), `"outcome":"duplicate"`):
				duplicate++
			default:
				other++
			}
		})
	}
	all.Wait()
	if applied != 1 || duplicate != senders-1 || other != 0 {
		t.Errorf("%d applied, %d duplicate, %d other, want 1, %d, 0", applied, duplicate, other, senders-1)
	}
	if got := s.kept(t); got.Events.At(0) != 1 {
		t.Errorf("%d events stored, want 1", got.Events.At(0))
	}
}

// Request id and trace come with the event when they are sane, and nothing does otherwise.
func TestCause(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	var got domain.Message
	recorder := recorderFunc(func(_ context.Context, msg domain.Message, _ []domain.Fact) ([]domain.Outcome, error) {
		got = msg
		return []domain.Outcome{{Verdict: domain.VerdictNoted}}, nil
	})
	h := newHouse(t, nil, options{recorder: recorder}, sources(t)...)
	body := fixture(t, "aprovei-pending")
	w := h.do(post("/webhooks/loja-aprovei/novo", tokenAprovei, body, "X-Request-Id", "req:1", "Traceparent", trace))
	want := domain.Message{
		Source: "loja-aprovei", Tenant: "loja", Account: "principal", Provider: "aprovei", Action: "novo",
		ContentType: "application/json", Body: []byte(body), ReceivedAt: time.Unix(0, h.clock.Load()).UTC(),
		Cause: domain.Cause{RequestID: "req:1", Traceparent: trace},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if id := w.Header().Get("X-Request-Id"); id != "req:1" {
		t.Errorf("answered with request id %q", id)
	}
	w = h.do(post("/webhooks/loja-aprovei", tokenAprovei, body, "X-Request-Id", "a b", "Traceparent", "00-1-2-3"))
	if id := w.Header().Get("X-Request-Id"); id == "" || id == "a b" || id != got.Cause.RequestID {
		t.Errorf("answered with request id %q, recorded with %q", id, got.Cause.RequestID)
	}
	if got.Cause.Traceparent != "" {
		t.Errorf("recorded with trace %q", got.Cause.Traceparent)
	}
}

// served is a house behind a real listener.
type served struct {
	addr string
	stop context.CancelFunc
	done chan error
}

func serve(t *testing.T, h http.Handler, cfg webhook.Config, grace time.Duration) *served {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	s := &served{addr: listener.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() {
		s.done <- webhook.Serve(ctx, webhook.NewServer(cfg, h, discard()), listener, grace)
	}()
	t.Cleanup(stop)
	return s
}

// A stop lets what is in flight finish, and takes nothing new.
func TestGracefulShutdown(t *testing.T) {
	s := newStore(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	waiting := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		close(entered)
		<-leave
		return s.recorder.Record(ctx, msg, facts)
	})
	h := newHouse(t, s, options{recorder: waiting}, sources(t)...)
	srv := serve(t, h.handler, webhook.Config{}, time.Minute)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answered := make(chan error, 1)
	go func() {
		answered <- func() error {
			response, err := client.Do(outgoing(t, srv.addr, fixture(t, "aprovei-pending")))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("answered %s", response.Status)
			}
			return nil
		}()
	}()
	<-entered
	srv.stop()
	for { // until the listener is closed; the kernel's answer is not the server's
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(leave)
	must(t, <-answered)
	must(t, <-srv.done)
	if got := s.kept(t); got.Events.At(0) != 1 {
		t.Errorf("%d events stored, want the one that was answered", got.Events.At(0))
	}
}

// What does not finish within the grace is cut off, and the stop says so.
func TestShutdownIsBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	stuck := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	srv := serve(t, stuck, webhook.Config{}, time.Millisecond)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	answered := make(chan error, 1)
	go func() {
		response, err := client.Do(outgoing(t, srv.addr, "{}"))
		if err == nil {
			response.Body.Close()
		}
		answered <- err
	}()
	<-entered
	srv.stop()
	if err := <-srv.done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Serve ends with %v, want the deadline", err)
	}
	if err := <-answered; err == nil {
		t.Error("the request was answered")
	}
	close(leave)
}

func outgoing(t *testing.T, addr, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/webhooks/loja-aprovei", strings.NewReader(body))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+tokenAprovei)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// A sender that hangs up after its whole message was read has it recorded all the same.
func TestSenderHangsUp(t *testing.T) {
	s := newStore(t)
	entered, gone := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	waiting := recorderFunc(func(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
		close(entered)
		<-gone
		outcomes, err := s.recorder.Record(ctx, msg, facts)
		result <- err
		return outcomes, err
	})
	h := newHouse(t, s, options{recorder: waiting}, sources(t)...)
	cancelled := make(chan struct{})
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		go func() {
			<-ctx.Done()
			close(cancelled)
		}()
		h.handler.ServeHTTP(w, r)
	}), webhook.Config{}, time.Minute)
	ctx, hangUp := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	request := outgoing(t, srv.addr, fixture(t, "aprovei-pending")).WithContext(ctx)
	answered := make(chan error, 1)
	go func() {
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		answered <- err
	}()
	<-entered
	hangUp()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the sender did not hang up: %v", err)
	}
	<-cancelled // the server knows
	close(gone)
	must(t, <-result)
	srv.stop()
	must(t, <-srv.done)
}

// A body that ends early, and one that stops coming, are refused and not stored.
func TestUnfinishedBodies(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	const head = "POST /webhooks/loja-aprovei HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + tokenAprovei +
		"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"transaction_token\":"
	for name, c := range map[string]struct {
		end     bool
		timeout time.Duration
		status  int
	}{"ends early": {true, time.Minute, 400}, "stops coming": {false, 50 * time.Millisecond, 408}} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, h.handler, webhook.Config{ReadTimeout: c.timeout, WriteTimeout: 2 * time.Minute}, time.Minute)
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", srv.addr)
			must(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte(head))
			must(t, err)
			if c.end {
				must(t, conn.(*net.TCPConn).CloseWrite())
			}
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			response.Body.Close()
			if response.StatusCode != c.status {
				t.Errorf("answered %s, want %d", response.Status, c.status)
			}
			srv.stop()
			must(t, <-srv.done)
		})
	}
	if got := s.kept(t); !got.Events.IsZero() || got.Quarantined != 0 {
		t.Errorf("kept %+v, want nothing", got)
	}
}

// The answer costs few allocations beside what recording costs.
func BenchmarkHandler(b *testing.B) {
	c, err := aprovei.New(aprovei.Config{})
	if err != nil {
		b.Fatal(err)
	}
	outcomes := []domain.Outcome{{
		Verdict: domain.VerdictApplied, OrderID: "ord_3q7a5zk2v6w4mbd2xn5hjyqkcu", Status: domain.StatusApproved, Revision: 2,
		EventID: "3q7a5zk2v6w4mbd2xn5hjyqkcu", Position: domain.Position{}.With(0, 1000),
	}}
	recorder := recorderFunc(func(context.Context, domain.Message, []domain.Fact) ([]domain.Outcome, error) { return outcomes, nil })
	h := benchHouse(b, recorder, tokenSource("src", provider.Aprovei, c, tokenAprovei))
	const body = `{"transaction_token":"a","payment_status":"pending","transaction_amount":100}`
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, post("/webhooks/src", tokenAprovei, body))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
