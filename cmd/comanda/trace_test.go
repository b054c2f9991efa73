package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e47" // and two digits
	spanID  = "00f067aa0ba902b7"

	// tracestate goes with every traceparent, also with those that are not valid.
	tracestate = "vendor=one:2,tenant@other=b a"
)

// sentTraces are what may come as traceparent, and what is to be of it.
var sentTraces = []struct {
	order, traceparent string
	valid              bool
}{
	{"T-10", "00-" + traceID + "10-" + spanID + "-01", true},
	{"T-11", "cc-" + traceID + "11-" + spanID + "-00-of-a-later-version", true},
	{"T-12", "00-" + traceID + "12-" + spanID + "-01-more", false},
	{"T-13", "00-" + strings.ToUpper(traceID) + "13-" + spanID + "-01", false},
	{"T-14", "", false},
}

// TestATraceGoesThrough sends messages by each way in, and finds their traces in
// what is stored, as a subscriber is sent it, on the outcome or the answer, and
// continued where an endpoint is told: one trace, another span.
func TestATraceGoesThrough(t *testing.T) {
	for way, send := range map[string]func(s *testServer, id, order, traceparent string) string{
		"HTTP": sendHTTP, "intake": sendIntake, "record": sendRecord,
	} {
		t.Run(way, func(t *testing.T) {
			told := make(chan string, 100)
			endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- traceOf(r.Header) }))
			t.Cleanup(endpoint.Close)
			s := startServer(t, t.TempDir(), endpointYAML(endpoint.URL))
			for i, c := range sentTraces {
				want := ""
				if c.valid {
					want = c.traceparent + tracestate
				}
				answered := send(s, fmt.Sprint("evt-", i), c.order, c.traceparent)
				if way != "HTTP" && answered != want {
					t.Errorf("%q is answered with the trace %q", c.traceparent, answered)
				}
				if stored := s.storedTrace(c.order); stored != want {
					t.Errorf("of %q is stored %q", c.traceparent, stored)
				}
				checkContinued(t, c.traceparent, c.valid, told)
			}
		})
	}
}

// traceOf is the trace that headers are of, with its state.
func traceOf(h http.Header) string { return h.Get("Traceparent") + h.Get("Tracestate") }

func checkContinued(t *testing.T, sent string, valid bool, told <-chan string) {
	t.Helper()
	select {
	case got := <-told:
		switch {
		case !valid && got != "":
			t.Errorf("of %q the endpoint is told %q", sent, got)
		case valid && (len(got) != 55+len(tracestate) || got[55:] != tracestate || got[:3] != "00-" || got[3:35] != sent[3:35] || got[36:52] == spanID || got[52:55] != sent[52:55]):
			t.Errorf("%q is continued as %q", sent, got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the endpoint is told nothing")
	}
}

func tracedEvent(id, order string) string {
	return `{"specversion": "1.0", "id": "` + id + `", "source": "checkout", "type": "comanda.fact.pending.v1", "subject": "` + order + `"}`
}

func sendHTTP(s *testServer, id, order, traceparent string) string {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.addr.HTTP+"/webhooks/loja-checkout", strings.NewReader(tracedEvent(id, order)))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokens["loja-checkout"])
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Traceparent", traceparent)
	request.Header.Set("Tracestate", tracestate)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("the answer is %s, %v", response.Status, err)
	}
	return ""
}

func tracedMessage(subject, id, order, traceparent string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(tracedEvent(id, order))
	if traceparent != "" {
		m.Header.Set("traceparent", traceparent)
	}
	m.Header.Set("tracestate", tracestate)
	return m
}

func sendIntake(s *testServer, id, order, traceparent string) string {
	s.t.Helper()
	conn := s.checkout()
	defer conn.Close()
	outcomes, err := conn.SubscribeSync("outcome.loja-checkout")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.RequestMsg(tracedMessage("intake.loja-checkout", id, order, traceparent), 20*time.Second); err != nil {
		s.t.Fatal(err)
	}
	m, err := outcomes.NextMsg(20 * time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Header.Get("traceparent") + m.Header.Get("tracestate")
}

func sendRecord(s *testServer, id, order, traceparent string) string {
	s.t.Helper()
	conn := s.checkout()
	defer conn.Close()
	m, err := conn.RequestMsg(tracedMessage("comanda.record.loja-checkout", id, order, traceparent), 20*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Header.Get("traceparent") + m.Header.Get("tracestate")
}

// storedTrace is the trace of an order's event, as a subscriber is sent it.
func (s *testServer) storedTrace(order string) (traceparent string) {
	s.t.Helper()
	s.tail(func(e *comandav1.SubscribedEvent) bool {
		traceparent = e.GetEvent().GetCause().GetTraceparent() + e.GetEvent().GetCause().GetTracestate()
		return e.GetEvent().GetProviderOrderId() == order
	})
	return traceparent
}
