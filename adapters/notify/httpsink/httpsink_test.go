package httpsink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/httpsink"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	other  = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func clock() time.Time { return time.Unix(1614265330, 0) }

func TestSignatureVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/standard-webhooks-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]struct {
		Secret, ID, Body, Signature string
		Timestamp                   int64
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	v := vectors["v1"]
	key, err := httpsink.ParseKey(domain.NewSecret(v.Secret))
	if err != nil {
		t.Fatal(err)
	}
	if got := httpsink.Sign([]httpsink.Key{key}, v.ID, time.Unix(v.Timestamp, 0), []byte(v.Body)); got != v.Signature {
		t.Errorf("signature %s, want %s", got, v.Signature)
	}
	second, err := httpsink.ParseKey(domain.NewSecret(other))
	if err != nil {
		t.Fatal(err)
	}
	both := httpsink.Sign([]httpsink.Key{key, second}, v.ID, time.Unix(v.Timestamp, 0), []byte(v.Body))
	first, rest, ok := strings.Cut(both, " ")
	if !ok || first != v.Signature || !strings.HasPrefix(rest, "v1,") || rest == first {
		t.Errorf("with two secrets: %s", both)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	for _, bad := range []string{"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_c2hvcnQ=", "whsec_" + strings.Repeat("A", 88)} {
		_, err := httpsink.ParseKey(domain.NewSecret(bad))
		if domain.KindOf(err) != domain.Invalid || err == nil {
			t.Errorf("%q: %v", bad, err)
		} else if bad != "" && strings.Contains(err.Error(), strings.TrimPrefix(bad, "whsec_")) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	key, err := httpsink.ParseKey(domain.NewSecret(secret))
	if err != nil || fmt.Sprintf("%v %+v %#v", key, key, key) != "*** *** ***" {
		t.Errorf("a key prints as %v %#v (%v)", key, key, err)
	}
}

func endpoint(url string) notify.Endpoint {
	return notify.Endpoint{
		ID: "erp", Tenant: "loja", Kind: notify.KindHTTP, URL: domain.NewSecret(url), AllowPrivate: true,
		Secrets: []domain.Secret{domain.NewSecret(secret), domain.NewSecret(other)},
	}
}

// publish posts one message to url and answers what came of it.
func publish(t *testing.T, e notify.Endpoint) delivery.Outcome {
	t.Helper()
	sink, err := httpsink.Builder(clock)(e)
	if err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("evt_erp", []byte(`{"a":1}`))
	msg.Metadata.Set(notify.MetaContentType, notify.ContentType)
	msg.Metadata.Set(notify.MetaTraceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	msg.SetContext(ctx)
	outcome := delivery.OutcomeOf(sink.Publish("erp", msg))
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	return outcome
}

func TestTheRequest(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		got.Set("Method", r.Method)
	}))
	t.Cleanup(srv.Close)
	if o := publish(t, endpoint(srv.URL)); o.Kind != delivery.OK {
		t.Fatalf("outcome %+v", o)
	}
	keys := make([]httpsink.Key, 2)
	for i, s := range []string{secret, other} {
		var err error
		if keys[i], err = httpsink.ParseKey(domain.NewSecret(s)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"Method": "POST", "Content-Type": "application/cloudevents+json; charset=utf-8", "User-Agent": "Comanda/1",
		"Webhook-Id": "evt_erp", "Webhook-Timestamp": "1614265330",
		"Webhook-Signature": httpsink.Sign(keys, "evt_erp", clock(), []byte(`{"a":1}`)),
		"Traceparent":       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"Content-Length":    "7",
	}
	flat := map[string]string{}
	for name := range want {
		flat[name] = got.Get(name)
	}
	if diff := cmp.Diff(want, flat); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for _, tc := range []struct {
		code   int
		header map[string]string
		want   delivery.Outcome
	}{
		{200, nil, delivery.Outcome{Kind: delivery.OK}},
		{204, nil, delivery.Outcome{Kind: delivery.OK}},
		{299, nil, delivery.Outcome{Kind: delivery.OK}},
		{302, map[string]string{"Location": "http://127.0.0.1:1/"}, delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: "302"}},
		{308, map[string]string{"Location": "/elsewhere"}, delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: "308"}},
		{304, nil, delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: "304"}},
		{400, nil, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "400"}},
		{404, nil, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "404"}},
		{410, nil, delivery.Outcome{Kind: delivery.Disable, Reason: "gone", Detail: "410"}},
		{429, map[string]string{"Retry-After": "120"}, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "429", After: 2 * time.Minute}},
		{503, map[string]string{"Retry-After": "Thu, 25 Feb 2021 15:03:10 GMT"}, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "503", After: time.Minute}},
		{500, nil, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "500"}},
	} {
		t.Run(fmt.Sprint(tc.code), func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tc.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tc.code)
			}))
			t.Cleanup(srv.Close)
			if diff := cmp.Diff(tc.want, publish(t, endpoint(srv.URL))); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEndlessAnswerAndACutOneAreSuccesses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chunk := []byte(strings.Repeat("x", 1<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	if o := publish(t, endpoint(srv.URL)); o.Kind != delivery.OK {
		t.Errorf("endless: %+v", o)
	}
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(cut.Close)
	if o := publish(t, endpoint(cut.URL)); o.Kind != delivery.OK {
		t.Errorf("cut: %+v", o)
	}
}

func TestLoopbackNeedsAllowPrivate(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	t.Cleanup(srv.Close)
	e := endpoint(srv.URL)
	e.AllowPrivate = false
	want := delivery.Outcome{Kind: delivery.Retry, Reason: "forbidden_address"}
	if diff := cmp.Diff(want, publish(t, e)); diff != "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	e.URL = domain.NewSecret("http://erp.example.com/")
	if _, err := httpsink.New(e, clock); domain.KindOf(err) != domain.Invalid || err == nil {
		t.Errorf("http without allow_private: %v", err)
	}
}

func TestNewJoinsMistakes(t *testing.T) {
	e := endpoint("ftp://example.com")
	e.Secrets = []domain.Secret{domain.NewSecret("nothing"), domain.NewSecret("whsec_!")}
	_, err := httpsink.New(e, clock)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("error %v, want three", err)
	}
	e = endpoint("https://example.com")
	e.Secrets = nil
	if _, err := httpsink.New(e, clock); err == nil {
		t.Error("no secret is fine")
	}
}
