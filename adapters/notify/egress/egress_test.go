package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"comanda.internal/adapters/notify/egress"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "200.160.2.3": true, "2606:4700:4700::1111": true, "2804:14d::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fd00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false,
		"100.64.0.1": false, "100.127.255.255": false, "224.0.0.1": false, "ff02::1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "192.0.0.192": false, "240.0.0.1": false,
	} {
		if got := egress.Public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Public(%s) = %v, want %v", addr, got, want)
		}
	}
	if egress.Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// get asks url through a client and answers what came of it.
func get(t *testing.T, c *http.Client, url string) (egress.Answer, error) {
	t.Helper()
	t.Cleanup(c.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return egress.Do(c, req)
}

func TestLoopbackIsRefusedBeforeAnythingIsSent(t *testing.T) {
	var connections atomic.Int64
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A proxy would be asked for the address, and see nothing wrong with it.
	t.Setenv("HTTP_PROXY", srv.URL)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "[::1]"} {
		answer, err := get(t, egress.NewClient(egress.Config{}), "http://"+net.JoinHostPort(strings.Trim(host, "[]"), port))
		if err == nil {
			t.Errorf("%s answered %d", host, answer.Status)
		}
	}
	_, err = get(t, egress.NewClient(egress.Config{}), srv.URL)
	if !errors.Is(err, egress.ErrForbidden) || egress.Failure(err).Reason != "forbidden_address" {
		t.Errorf("the error is %v", err)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	if _, err := get(t, egress.NewClient(egress.Config{AllowPrivate: true}), srv.URL); err != nil || connections.Load() != 1 {
		t.Errorf("allow_private: %v, %d connections", err, connections.Load())
	}
}

func TestAnAnswerIsReadUpToABoundAndCountsWhenItBreaksOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	}))
	t.Cleanup(srv.Close)
	c := egress.NewClient(egress.Config{AllowPrivate: true})
	long, err := get(t, c, srv.URL)
	if err != nil || len(long.Body) != 64<<10 || long.Status != http.StatusOK {
		t.Errorf("%d bytes, %d, %v", len(long.Body), long.Status, err)
	}
	cut, err := get(t, c, srv.URL+"/cut")
	if err != nil || string(cut.Body) != "half" || cut.Status != http.StatusOK {
		t.Errorf("%q, %d, %v", cut.Body, cut.Status, err)
	}
}

func TestCheckURL(t *testing.T) {
	for _, tc := range []struct {
		url     string
		private bool
		ok      bool
	}{
		{"https://erp.example.com/hooks?x=1", false, true},
		{"https://user:password@erp.example.com/hooks", false, true},
		{"http://erp.example.com/hooks", false, false},
		{"http://127.0.0.1:1234/", true, true},
		{"ftp://erp.example.com", true, false},
		{"erp.example.com/hooks", false, false},
		{"https:///hooks", false, false},
		{"https://:443/", false, false},
		{"https://erp.example.com/#part", false, false},
		{"https://erp.example.com/%zz-geheim", false, false},
		{"", true, false},
	} {
		err := egress.CheckURL(tc.url, tc.private)
		if (err == nil) != tc.ok {
			t.Errorf("%q, private %v: %v", tc.url, tc.private, err)
		}
		if err != nil && (domain.KindOf(err) != domain.Invalid || strings.Contains(err.Error(), "geheim")) {
			t.Errorf("%q: error %v", tc.url, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "-5": 0, "soon": 0, "1.5": 0,
		"99999999999": delivery.MaxRetryAfter, "Sat, 09 May 2026 12:01:00 GMT": time.Minute,
		"Sat, 09 May 2026 11:00:00 GMT": 0, "Sat, 09 May 2037 12:01:00 GMT": delivery.MaxRetryAfter,
	} {
		if got := egress.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestFailureNamesNoURL(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c := egress.NewClient(egress.Config{AllowPrivate: true})
	t.Cleanup(c.CloseIdleConnections)
	req, err := http.NewRequestWithContext(ended, http.MethodGet, "http://127.0.0.1:1/geheim", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	_, err = egress.Do(c, req)
	if err == nil {
		t.Fatal("it answered")
	}
	if !strings.Contains(err.Error(), "geheim") {
		t.Fatalf("the client's own error %v does not hold the URL: this test proves nothing", err)
	}
	got := egress.Failure(err)
	if got.Kind != delivery.Retry || got.Reason != "cancelled" || strings.Contains(got.Err().Error(), "geheim") {
		t.Errorf("failure %+v", got)
	}
	refused := egress.Failure(&net.OpError{Op: "dial", Err: errors.New("connection refused")})
	if refused.Reason != "connection" || egress.Failure(context.DeadlineExceeded).Reason != "timeout" {
		t.Errorf("refused: %+v", refused)
	}
}
