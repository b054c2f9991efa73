package bench_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/eventstore/natsnode/natstest"
)

// Ten clients share 200 calls a second, so each begins one every 50 ms. One whose
// calls take 75 begins them later and later, and they count from when they were due.
func TestDriveKeepsARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := bench.Load{Clients: 10, Duration: time.Second, PerSecond: 200}
		r := bench.Drive(t.Context(), time.Now, load, func(_ context.Context, client, _ int) string {
			if client == 0 {
				time.Sleep(75 * time.Millisecond)
			}
			return ""
		})
		if r.Calls != 200 {
			t.Errorf("%d calls, want 200", r.Calls)
		}
		if most := r.Quantile(1); most != 20*75*time.Millisecond-19*50*time.Millisecond {
			t.Errorf("the slowest took %v from when it was due", most)
		}
		if p50 := r.Quantile(0.5); p50 != 0 {
			t.Errorf("half of all took %v, want nothing", p50)
		}
	})
}

// Of ten clients that share one call a second, nine have none to make within the
// second, and nobody waits for when they would.
func TestDriveEndsWithItsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		load := bench.Load{Clients: 10, Duration: time.Second, PerSecond: 1}
		r := bench.Drive(t.Context(), time.Now, load, func(context.Context, int, int) string { return "" })
		if r.Calls != 1 || r.Elapsed > load.Duration {
			t.Errorf("%d calls in %v, want 1 within %v", r.Calls, r.Elapsed, load.Duration)
		}
	})
}

// A load that is called off does not wait for its next call.
func TestDriveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		load := bench.Load{Clients: 2, Duration: 24 * time.Hour, PerSecond: 1}
		r := bench.Drive(ctx, time.Now, load, func(_ context.Context, client, _ int) string {
			if client == 0 {
				cancel()
			}
			return ""
		})
		if r.Elapsed != 0 {
			t.Errorf("it went on for %v", r.Elapsed)
		}
	})
}

func TestDriveCountsEveryCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		timer := func(ctx context.Context, d time.Duration) {
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
		r := bench.Drive(t.Context(), time.Now, bench.Load{Clients: 10, Duration: time.Second}, func(ctx context.Context, client, n int) string {
			timer(ctx, 10*time.Millisecond)
			if client == 0 && n%2 == 1 {
				return "odd"
			}
			return ""
		})
		if r.Calls != 9*100+50 || r.Failures["odd"] != 50 || r.Failed() != 50 {
			t.Errorf("%d calls and %v", r.Calls, r.Failures)
		}
		if r.Elapsed != time.Second || r.Rate() != 950 {
			t.Errorf("%v at %v a second", r.Elapsed, r.Rate())
		}
		if p50, p99 := r.Quantile(0.5), r.Quantile(0.99); p50 != 10*time.Millisecond || p99 != p50 {
			t.Errorf("quantiles %v and %v", p50, p99)
		}
	})
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 3: {3}, 2: {1, 3}, 5: {9, 1, 5}} {
		if got := bench.Median(values); got != want {
			t.Errorf("the median of %v is %v", values, got)
		}
	}
}

func TestPosterKeepsItsConnection(t *testing.T) {
	var connections atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil || q.Header.Get("Authorization") != "Bearer secret" || q.URL.Path != "/in" {
			t.Errorf("got %s %v, %v", q.URL, q.Header, err)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.ToUpper(string(body)))
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	p := bench.NewPoster(srv.Listener.Addr().String(), "/in", "secret")
	defer p.Close()
	for range 2 {
		if err := p.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		status, answer, err := p.Post(t.Context(), []byte("body"))
		if err != nil || status != http.StatusAccepted || string(answer) != "BODY" {
			t.Fatalf("answered %d %s, %v", status, answer, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for three posts", n)
	}
}

// An answer counts only whole, and a connection that the server closes is made anew.
func TestPosterReadsAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		body   string
		closes bool
		fails  bool
	}{
		"plain":         {answer: "HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\n{}", body: "{}"},
		"other case":    {answer: "HTTP/1.1 200\r\ncontent-length:2\r\n\r\n{}", body: "{}"},
		"empty":         {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"closes":        {answer: "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\n{}", body: "{}", closes: true},
		"without end":   {answer: "HTTP/1.1 200 OK\r\n\r\n{}", closes: true, fails: true},
		"chunked":       {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", closes: true, fails: true},
		"too long":      {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2147483647\r\n\r\n{}", closes: true, fails: true},
		"cut short":     {answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", closes: true, fails: true},
		"cut in a head": {answer: "HTTP/1.1 200 OK\r\nContent-Le", closes: true, fails: true},
		"nothing":       {closes: true, fails: true},
		"not HTTP":      {answer: "+OK\r\n\r\n", closes: true, fails: true},
		"no status":     {answer: "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", closes: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			addr, connections := answering(t, c.answer, c.closes)
			p := bench.NewPoster(addr, "/in", "secret")
			defer p.Close()
			for range 2 {
				status, body, err := p.Post(t.Context(), []byte("body"))
				if failed := err != nil; failed != c.fails || string(body) != c.body {
					t.Fatalf("answered %d %q, %v", status, body, err)
				}
				if !c.fails && status != http.StatusOK {
					t.Errorf("status %d", status)
				}
			}
			want := int32(1)
			if c.closes {
				want = 2
			}
			if n := connections.Load(); n != want {
				t.Errorf("%d connections for two posts, want %d", n, want)
			}
		})
	}
}

// answering is a server that answers every request with the same bytes, after which it
// may end the connection. It counts connections.
func answering(t *testing.T, answer string, closes bool) (addr string, connections *atomic.Int32) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int32)
	var wg sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		reader := bufio.NewReader(conn)
		for {
			q, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, q.Body); err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer); err != nil || closes {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			wg.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String(), connections
}

func TestRawRoundPublishesDurably(t *testing.T) {
	raw, err := bench.NewRaw(t.Context(), bench.RawConfig{Conn: natstest.Node(t, t.TempDir()).Conn(), Partitions: 2, MessageBytes: 500})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second round must not repeat the first one's ids
		if r := raw.Round(t.Context(), time.Now, 4, 50*time.Millisecond); r.Calls == 0 || r.Failed() != 0 {
			t.Errorf("%d published, %v failed", r.Calls, r.Failures)
		}
	}
}
