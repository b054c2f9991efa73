package ops_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"comanda.internal/adapters/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask requests path and answers with status, body and header.
func ask(t *testing.T, h http.Handler, method, path string) (int, string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String(), w.Header()
}

func probe(state ops.State, detail string) func(context.Context) (ops.State, string) {
	return func(context.Context) (ops.State, string) { return state, detail }
}

func TestReadyz(t *testing.T) {
	good := ops.Check{Name: "log", Probe: probe(ops.Ready, "")}
	warned := ops.Check{Name: "sync", Probe: probe(ops.Warning, "unknown on a foreign server")}
	bad := ops.Check{Name: "view orders", Probe: probe(ops.NotReady, "catching up")}
	silent := ops.Check{Name: "silent", Probe: probe(0, "")}
	for _, c := range []struct {
		name, path string
		checks     []ops.Check
		status     int
		body       string
	}{
		{"nothing to ask", "/readyz", nil, 200, "ok\n"},
		{"ready", "/readyz", []ops.Check{good}, 200, "ok\n"},
		{"a warning is ready", "/readyz", []ops.Check{good, warned}, 200, "ok\n"},
		{"verbose", "/readyz?verbose", []ops.Check{good, warned}, 200, "[+] log\n[!] sync: unknown on a foreign server\nok\n"},
		{
			"not ready says which", "/readyz",
			[]ops.Check{good, bad, warned},
			503,
			"[+] log\n[-] view orders: catching up\n[!] sync: unknown on a foreign server\nnot ready\n",
		},
		{"a check that says nothing", "/readyz", []ops.Check{silent}, 503, "[-] silent\nnot ready\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, header := ask(t, ops.New(ops.Config{}, prometheus.NewRegistry(), c.checks...), http.MethodGet, c.path)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			if diff := cmp.Diff(c.body, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if got := header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q: a proxy may keep the answer", got)
			}
		})
	}
}

// A check that waits is told to stop by the handler's own timeout, and the
// checks beside it are asked at the same time.
func TestReadyzBoundsItsChecks(t *testing.T) {
	other := make(chan struct{})
	hangs := ops.Check{Name: "hangs", Probe: func(ctx context.Context) (ops.State, string) {
		<-other // asked one after the other, this would never end
		<-ctx.Done()
		return ops.NotReady, "no answer in time"
	}}
	quick := ops.Check{Name: "quick", Probe: func(context.Context) (ops.State, string) {
		close(other)
		return ops.Ready, ""
	}}
	h := ops.New(ops.Config{CheckTimeout: time.Millisecond}, prometheus.NewRegistry(), hangs, quick)
	status, body, _ := ask(t, h, http.MethodGet, "/readyz")
	if want := "[-] hangs: no answer in time\n[+] quick\nnot ready\n"; status != 503 || body != want {
		t.Errorf("%d %q, want 503 %q", status, body, want)
	}
}

func TestClosed(t *testing.T) {
	ready := make(chan struct{})
	h := ops.New(ops.Config{}, prometheus.NewRegistry(), ops.Check{Name: "intake", Probe: ops.Closed(ready)})
	if status, body, _ := ask(t, h, http.MethodGet, "/readyz"); status != 503 || body != "[-] intake: starting\nnot ready\n" {
		t.Errorf("before: %d %q", status, body)
	}
	close(ready)
	if status, body, _ := ask(t, h, http.MethodGet, "/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("after: %d %q", status, body)
	}
}

func TestLivezAsksNothing(t *testing.T) {
	bad := ops.Check{Name: "log", Probe: probe(ops.NotReady, "away")}
	h := ops.New(ops.Config{}, prometheus.NewRegistry(), bad)
	if status, body, _ := ask(t, h, http.MethodGet, "/livez"); status != 200 || body != "ok\n" {
		t.Errorf("%d %q, want 200 ok", status, body)
	}
	if status, _, header := ask(t, h, http.MethodPost, "/livez"); status != 405 || !strings.Contains(header.Get("Allow"), "GET") {
		t.Errorf("POST is answered %d, Allow %q", status, header.Get("Allow"))
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "comanda_test_things_total", Help: "Things."})
	registry.MustRegister(counter)
	counter.Add(3)
	status, body, _ := ask(t, ops.New(ops.Config{}, registry), http.MethodGet, "/metrics")
	if status != 200 || !strings.Contains(body, "comanda_test_things_total 3") {
		t.Errorf("%d, and the counter is not in:\n%s", status, body)
	}
}

func TestPprofOnlyWhenAllowed(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		h := ops.New(ops.Config{Pprof: allowed}, prometheus.NewRegistry())
		want := http.StatusNotFound
		if allowed {
			want = http.StatusOK
		}
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
			if status, _, _ := ask(t, h, http.MethodGet, path); status != want {
				t.Errorf("pprof %t: %s is answered %d, want %d", allowed, path, status, want)
			}
		}
	}
}

func TestNewServerBoundsTime(t *testing.T) {
	srv := ops.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	for name, d := range map[string]time.Duration{
		"ReadHeaderTimeout": srv.ReadHeaderTimeout, "ReadTimeout": srv.ReadTimeout,
		"WriteTimeout": srv.WriteTimeout, "IdleTimeout": srv.IdleTimeout,
	} {
		if d <= 0 {
			t.Errorf("%s is not bounded", name)
		}
	}
}
