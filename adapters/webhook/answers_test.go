package webhook_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
)

// event is a CloudEvent of ours about order A-1.
func event(id, kind, more string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"checkout","type":"comanda.fact.` + kind + `.v1","subject":"A-1"` + more + `}`
}

// row is a row of DESIGN section 7.
type row struct {
	name    string
	request func() *http.Request
	status  int
	header  map[string]string // that must be there
	body    map[string]any    // members that must be so; nil values must be there
	lacks   []string          // members that must not be there

	events, quarantined, relayed int // what is stored because of it
}

// TestBadInputStoresNothing is the refusals of section 7: each has its answer,
// and the log, the quarantine and the relay stream are what they were.
func TestBadInputStoresNothing(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	good := fixture(t, "aprovei-pending")
	large := `{"transaction_token":"` + strings.Repeat("x", 256<<10) + `"}`
	unauthorized := map[string]any{
		"type": "about:blank", "title": "Unauthorized", "status": 401.0, "detail": "no such source, or not with these credentials",
	}
	chunked := func() *http.Request {
		r := post("/webhooks/loja-aprovei", tokenAprovei, large)
		r.ContentLength = -1
		return r
	}
	method := func(name string) func() *http.Request {
		return func() *http.Request {
			r := post("/webhooks/loja-aprovei", tokenAprovei, good)
			r.Method = name
			return r
		}
	}
	with := func(path, token, body string, headers ...string) func() *http.Request {
		return func() *http.Request { return post(path, token, body, headers...) }
	}
	rows := []row{
		{name: "no credentials", request: with("/webhooks/loja-aprovei", "", good), status: 401, body: unauthorized},
		{name: "a wrong token", request: with("/webhooks/loja-aprovei", "wrong", good), status: 401, body: unauthorized},
		{name: "another source's token", request: with("/webhooks/loja-aprovei", tokenVoxuy, good), status: 401, body: unauthorized},
		{name: "a wrong token in the query", request: with("/webhooks/loja-aprovei?token=wrong", "", good), status: 401, body: unauthorized},
		{name: "an unknown source", request: with("/webhooks/nobody", tokenAprovei, good), status: 401, body: unauthorized},
		{name: "no source id at all", request: with("/webhooks/N%C3%A3o%20Existe", tokenAprovei, good), status: 401, body: unauthorized},
		{name: "bad credentials and bad JSON", request: with("/webhooks/loja-checkout", "wrong", "{"), status: 401, body: unauthorized},
		{name: "too large, by its length", request: with("/webhooks/loja-aprovei", tokenAprovei, large), status: 413},
		{name: "too large, in chunks", request: chunked, status: 413},
		{name: "too large for nobody", request: with("/webhooks/nobody", "", large), status: 413},
		{name: "gzip", request: with("/webhooks/loja-aprovei", tokenAprovei, good, "Content-Encoding", "gzip"), status: 415},
		{name: "a form", request: with("/webhooks/loja-aprovei", tokenAprovei, good, "Content-Type", "application/x-www-form-urlencoded"), status: 415},
		{name: "text", request: with("/webhooks/loja-aprovei", tokenAprovei, good, "Content-Type", "text/plain; charset=utf-8"), status: 415},
		{name: "a suffix without a name", request: with("/webhooks/loja-aprovei", tokenAprovei, good, "Content-Type", "application/+json"), status: 415},
		{name: "GET", request: method("GET"), status: 405, header: map[string]string{"Allow": "POST"}},
		{name: "HEAD", request: method("HEAD"), status: 405, header: map[string]string{"Allow": "POST"}},
		{name: "PUT", request: method("PUT"), status: 405, header: map[string]string{"Allow": "POST"}},
		{name: "OPTIONS", request: method("OPTIONS"), status: 405, header: map[string]string{"Allow": "POST"}},
		{name: "no source", request: with("/webhooks/", tokenAprovei, good), status: 404},
		{name: "too many segments", request: with("/webhooks/loja-aprovei/a/b", tokenAprovei, good), status: 404},
		{name: "an action that is none", request: with("/webhooks/loja-aprovei/a%00b", tokenAprovei, good), status: 404},
		{name: "an endless action", request: with("/webhooks/loja-aprovei/"+strings.Repeat("a", 65), tokenAprovei, good), status: 404},
	}
	check(t, s, h, rows)
	for _, secret := range []string{tokenAprovei, tokenVoxuy, "74600027043", "wrong", "nobody"} {
		if strings.Contains(h.logs.String(), secret) || strings.Contains(h.metrics(t), secret) {
			t.Errorf("%q is in a log or a metric:\n%s", secret, h.logs.String())
		}
	}
}

// TestMessagesThatAreNoFact is what is authenticated and kept, but not in an order.
func TestMessagesThatAreNoFact(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	with := func(path, token, body string) func() *http.Request {
		return func() *http.Request { return post(path, token, body, "X-Request-Id", "req-1") }
	}
	const aprovei, checkout, voxuy = "/webhooks/loja-aprovei", "/webhooks/loja-checkout", "/webhooks/loja-voxuy"
	problem := map[string]string{"Content-Type": "application/problem+json"}
	voxuyRefusal := map[string]any{
		"type": "https://tools.ietf.org/html/rfc7231#section-6.5.1", "title": "One or more validation errors occurred.",
		"status": 400.0, "traceId": "req-1", "errors": nil,
	}
	rows := []row{
		{
			name:    "aprovei: an unknown status",
			request: with(aprovei, tokenAprovei, strings.Replace(fixture(t, "aprovei-pending"), `"pending"`, `"levitating"`, 1)),
			status:  202, body: map[string]any{"outcome": "quarantined", "reason": "unknown_status", "quarantine_id": nil}, quarantined: 1,
		},
		{
			name: "aprovei: not JSON", request: with(aprovei, tokenAprovei, `{"transaction_token":`), status: 202,
			body: map[string]any{"outcome": "quarantined", "reason": "malformed", "errors": map[string]any{"body": []any{"not strict JSON"}}}, quarantined: 1,
		},
		{
			name: "aprovei: nothing", request: with(aprovei, tokenAprovei, ""), status: 202,
			body: map[string]any{"outcome": "quarantined", "reason": "malformed"}, quarantined: 1,
		},
		{
			name: "aprovei: a name twice", request: with(aprovei, tokenAprovei, `{"transaction_token":"a","transaction_token":"b","payment_status":"pending"}`),
			status: 202, body: map[string]any{"outcome": "quarantined", "reason": "malformed"}, quarantined: 1,
		},
		{
			name: "aprovei: a required field missing", request: with(aprovei, tokenAprovei, `{"payment_status":"pending"}`), status: 202,
			body: map[string]any{"outcome": "quarantined", "reason": "invalid_fields", "errors": nil}, quarantined: 1,
		},
		{
			name: "iset: an unknown action", request: with("/webhooks/loja-iset/levitated", tokenISET, `{"id":"1"}`), status: 202,
			body: map[string]any{"outcome": "quarantined", "reason": "unknown_action"}, quarantined: 1,
		},
		{
			name: "comanda: not JSON", request: with(checkout, tokenCheckout, "{"), status: 400, header: problem,
			body: map[string]any{
				"status": 400.0, "title": "Bad Request", "type": "about:blank", "outcome": "quarantined", "quarantine_id": nil,
				"errors": map[string]any{"body": []any{"not strict JSON"}},
			}, quarantined: 1,
		},
		{
			name: "comanda: a required field missing", request: with(checkout, tokenCheckout, `{"specversion":"1.0","type":"comanda.fact.approved.v1","subject":"A-1"}`),
			status: 400, header: problem, body: map[string]any{"reason": "invalid_fields", "errors": nil, "quarantine_id": nil}, quarantined: 1,
		},
		{
			name: "comanda: a field of the wrong type", request: with(checkout, tokenCheckout, event("e", "approved", `,"data":{"total":"a lot"}`)),
			status: 400, header: problem, body: map[string]any{"reason": "invalid_fields", "errors": nil}, quarantined: 1,
		},
		{
			name: "comanda: an unknown kind", request: with(checkout, tokenCheckout, event("e", "levitated", "")), status: 202,
			body: map[string]any{"outcome": "quarantined", "reason": "unknown_status"}, quarantined: 1,
		},
		{
			name: "voxuy: not JSON", request: with(voxuy, tokenVoxuy, "[1,"), status: 400, header: problem,
			body: voxuyRefusal, lacks: []string{"Success"}, quarantined: 1,
		},
		{
			name: "voxuy: no status", request: with(voxuy, tokenVoxuy, `{"id":"1"}`), status: 400, header: problem,
			body: voxuyRefusal, quarantined: 1,
		},
		{
			name: "voxuy: an unknown status", request: with(voxuy, tokenVoxuy, `{"id":"1","status":77,"paymentType":99,"planId":"p"}`), status: 202,
			body: map[string]any{"Success": true, "outcome": "quarantined", "quarantine_id": nil}, quarantined: 1,
		},
		{
			name: "iset: a catalogue event", request: with("/webhooks/loja-iset/product.changed", tokenISET, `{"id":"1"}`), status: 200,
			body: map[string]any{"outcome": "relayed"}, relayed: 1,
		},
	}
	check(t, s, h, rows)
	for _, q := range s.quarantined(t) {
		if q.GetTenant() != "loja" || q.GetCause().GetRequestId() != "req-1" || q.GetReceivedAt() == nil {
			t.Errorf("%s lacks its tenant, its request id or its time: %v", q.GetQuarantineId(), q)
		}
	}
}

// TestQuarantineKeepsTheBytes: what was refused to a sender is still there, as it came.
func TestQuarantineKeepsTheBytes(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	const body = "{\"id\": \"1\", \r\n\xff"
	w := h.do(post("/webhooks/loja-voxuy", tokenVoxuy, body, "Content-Type", "text/json; charset=utf-8"))
	if w.Code != http.StatusBadRequest {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	all := s.quarantined(t)
	if len(all) != 1 {
		t.Fatalf("%d messages in quarantine, want 1", len(all))
	}
	contentType, kept, err := s.log.OpenQuarantined(t.Context(), all[0])
	must(t, err)
	if contentType != "text/json; charset=utf-8" || string(kept) != body {
		t.Errorf("kept %q %q, want the bytes as they came", contentType, kept)
	}
}

// TestMessagesThatAreFacts is the first row of section 7, in the order given.
func TestMessagesThatAreFacts(t *testing.T) {
	s := newStore(t)
	h := newHouse(t, s, options{}, sources(t)...)
	pending, approved, chargeback := fixture(t, "aprovei-pending"), fixture(t, "aprovei-approved"), fixture(t, "aprovei-chargeback")
	other := strings.ReplaceAll(chargeback, "VCP1O8SB9GJ", "ANOTHER")
	with := func(path, token, body string, headers ...string) func() *http.Request {
		return func() *http.Request { return post(path, token, body, headers...) }
	}
	const aprovei, checkout = "/webhooks/loja-aprovei", "/webhooks/loja-checkout"
	member := func(outcome, status string, revision float64) map[string]any {
		return map[string]any{
			"outcome": outcome, "status": status, "revision": revision, "order_id": nil, "event_id": nil, "position": nil,
		}
	}
	jsonType := map[string]string{"Content-Type": "application/json"}
	rows := []row{
		{name: "applied", request: with(aprovei, tokenAprovei, pending), status: 200, header: jsonType, body: member("applied", "pending", 1), lacks: []string{"results", "id_reused"}, events: 1},
		{name: "applied again", request: with(aprovei, tokenAprovei, approved), status: 200, body: member("applied", "approved", 2), events: 1},
		{name: "duplicate", request: with(aprovei, tokenAprovei, pending), status: 200, body: member("duplicate", "approved", 1), lacks: []string{"id_reused"}},
		{name: "without a content type", request: with(aprovei, tokenAprovei, pending, "Content-Type", ""), status: 200, body: member("duplicate", "approved", 1)},
		{name: "with a charset", request: with(aprovei, tokenAprovei, pending, "Content-Type", "application/json; charset=UTF-8"), status: 200, body: member("duplicate", "approved", 1)},
		{name: "as a CloudEvent", request: with(checkout, tokenCheckout, event("e1", "approved", `,"time":"2026-05-09T17:32:14Z","data":{"total":100,"paid":100}`), "Content-Type", "application/cloudevents+json"), status: 200, body: member("applied", "approved", 1), events: 1},
		{name: "the identity encoding", request: with(aprovei, tokenAprovei, pending, "Content-Encoding", "identity"), status: 200, body: member("duplicate", "approved", 1)},
		{name: "a slash at the end", request: with(aprovei+"/", tokenAprovei, pending), status: 200, body: member("duplicate", "approved", 1)},
		{
			name: "several facts", request: with(aprovei, tokenAprovei, other), status: 200,
			body: map[string]any{"outcome": "applied", "status": "chargeback", "revision": 2.0, "results": nil}, events: 2,
		},
		{name: "late", request: with(checkout, tokenCheckout, event("e2", "pending", `,"time":"2026-05-09T17:00:00Z"`)), status: 200, body: member("late", "approved", 2), events: 1},
		{name: "noted", request: with(checkout, tokenCheckout, event("e3", "details", `,"time":"2026-05-09T18:00:00Z"`)), status: 200, body: member("noted", "approved", 3), events: 1},
		{name: "conflict", request: with(checkout, tokenCheckout, event("e4", "refused", `,"time":"2026-05-09T19:00:00Z"`)), status: 200, body: member("conflict", "approved", 4), events: 1},
		{name: "a reused id", request: with(checkout, tokenCheckout, event("e1", "approved", `,"time":"2026-05-09T17:32:14Z","data":{"total":999}`)), status: 200, body: map[string]any{"outcome": "duplicate", "id_reused": true}},
		{name: "voxuy", request: with("/webhooks/loja-voxuy", tokenVoxuy, fixture(t, "voxuy-sample-request")), status: 200, header: jsonType, body: map[string]any{"Success": true}, lacks: []string{"outcome"}, events: 1},
		{name: "voxuy again", request: with("/webhooks/loja-voxuy", tokenVoxuy, fixture(t, "voxuy-sample-request")), status: 200, body: map[string]any{"Success": true}},
	}
	check(t, s, h, rows)
	const sum = `comanda_intake_messages_total{outcome="applied",provider="aprovei",source="loja-aprovei"} 3`
	if got := h.metrics(t); !strings.Contains(got, sum) {
		t.Errorf("metrics lack %s:\n%s", sum, got)
	}
}

// check sends each row's request and compares the answer and what is stored.
func check(t *testing.T, s *store, h *house, rows []row) {
	t.Helper()
	before := s.kept(t)
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			w := h.do(c.request())
			if w.Code != c.status {
				t.Fatalf("answered %d %s, want %d", w.Code, w.Body, c.status)
			}
			c.compare(t, w)
			after := s.kept(t)
			want := kept{
				Events:      before.Events.With(0, before.Events.At(0)+uint64(c.events)),
				Quarantined: before.Quarantined + c.quarantined, Relayed: before.Relayed + uint64(c.relayed),
			}
			if diff := cmp.Diff(want, after, cmp.Comparer(domain.Position.Equal)); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			if position := w.Header().Get("Comanda-Position"); c.events > 0 && position != after.Events.String() {
				t.Errorf("position %q, want %q", position, after.Events)
			}
			before = after
		})
	}
}

func (c *row) compare(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	for name, want := range c.header {
		if got := w.Header().Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if w.Header().Get("X-Request-Id") == "" {
		t.Error("no request id")
	}
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("the answer is not JSON: %s", w.Body)
	}
	for name, want := range c.body {
		value, ok := got[name]
		if !ok {
			t.Errorf("the answer lacks %s: %s", name, w.Body)
		} else if want != nil {
			if diff := cmp.Diff(want, value); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	for _, name := range c.lacks {
		if _, ok := got[name]; ok {
			t.Errorf("the answer has %s: %s", name, w.Body)
		}
	}
}
