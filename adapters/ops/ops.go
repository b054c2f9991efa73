package ops

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof" // it registers with the default mux, which nothing here serves
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// State is what a check found.
type State uint8

// The states. The zero value is not ready: a check that says nothing found nothing.
const (
	NotReady State = iota
	// Warning is ready, with something an operator should know.
	Warning
	// Ready is as it should be.
	Ready
)

// Check is one thing that /readyz asks about.
type Check struct {
	// Name is what /readyz?verbose calls it, as "log" or "view orders".
	Name string
	// Probe says how it is, and in a few words why, "" for nothing to say; no
	// personal data. It is called with every request, concurrently, and must
	// return soon after ctx ends.
	Probe func(ctx context.Context) (State, string)
}

// Closed is the probe for something that is ready once ready is closed.
func Closed(ready <-chan struct{}) func(context.Context) (State, string) {
	return func(context.Context) (State, string) {
		select {
		case <-ready:
			return Ready, ""
		default:
			return NotReady, "starting"
		}
	}
}

// Config is what may be asked. The zero value has no profiling.
type Config struct {
	// Pprof serves /debug/pprof.
	Pprof bool `yaml:"pprof"`
	// CheckTimeout bounds the checks of one request. Default 2 s.
	CheckTimeout time.Duration `yaml:"check_timeout"`
}

const defaultCheckTimeout = 2 * time.Second

// New is the handler. checks are listed by /readyz?verbose in their order.
func New(cfg Config, gatherer prometheus.Gatherer, checks ...Check) http.Handler {
	if cfg.CheckTimeout == 0 {
		cfg.CheckTimeout = defaultCheckTimeout
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, []byte("ok\n"))
	})
	mux.Handle("GET /readyz", &readiness{timeout: cfg.CheckTimeout, checks: checks})
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// NewServer is a server for h with bounded times; writing has long enough for a
// profile of several minutes.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// readiness answers /readyz.
type readiness struct {
	timeout time.Duration
	checks  []Check
}

// result is what one check found.
type result struct {
	state  State
	detail string
}

// ServeHTTP answers 200 when nothing is not ready, else 503, with one line; with
// ?verbose, and whenever it is not ready, one line for each check.
func (rd *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	results := rd.ask(r.Context())
	status, last := http.StatusOK, "ok\n"
	for _, res := range results {
		if res.state != Ready && res.state != Warning {
			status, last = http.StatusServiceUnavailable, "not ready\n"
		}
	}
	var b []byte
	if r.URL.Query().Has("verbose") || status != http.StatusOK {
		b = rd.appendLines(b, results)
	}
	writeText(w, status, append(b, last...))
}

// ask runs every check at once and waits for all of them.
func (rd *readiness) ask(ctx context.Context) []result {
	ctx, cancel := context.WithTimeout(ctx, rd.timeout)
	defer cancel()
	results := make([]result, len(rd.checks))
	var asked sync.WaitGroup
	for i, check := range rd.checks {
		asked.Go(func() {
			state, detail := check.Probe(ctx)
			results[i] = result{state: state, detail: detail}
		})
	}
	asked.Wait()
	return results
}

func (rd *readiness) appendLines(b []byte, results []result) []byte {
	for i, res := range results {
		mark := "[-] "
		switch res.state {
		case Ready:
			mark = "[+] "
		case Warning:
			mark = "[!] "
		case NotReady:
		}
		b = append(b, mark...)
		b = append(b, rd.checks[i].Name...)
		if res.detail != "" {
			b = append(b, ": "...)
			b = append(b, res.detail...)
		}
		b = append(b, '\n')
	}
	return b
}

func writeText(w http.ResponseWriter, status int, text []byte) {
	header := w.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(text) //nolint:errcheck,gosec // whoever asked has gone
}
