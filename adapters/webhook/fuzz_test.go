package webhook_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
)

// FuzzCredentials: nobody without a secret gets in, whatever they send, and
// nothing panics.
func FuzzCredentials(f *testing.F) {
	f.Add("Bearer x", "token=x", "sha256=00", "1778347934", "v1,AAAA v1a,AAAA")
	f.Add("Basic Ojo6", "token=%zz&token", "", "-1", "v1,")
	f.Add("Basic ", "&&&=", "sha256=", "99999999999999999999", "v1a, ,v1")
	codec, err := aprovei.New(aprovei.Config{})
	if err != nil {
		f.Fatal(err)
	}
	const secret = "a secret that no fuzzer guesses"
	auths := map[domain.SourceID]webhook.Auth{
		"token": {Type: webhook.AuthToken, Tokens: secrets(secret), Header: "X-Sig"},
		"hmac":  {Type: webhook.AuthHMAC, Secrets: secrets(secret), Header: "X-Sig", TimestampHeader: "Webhook-Timestamp"},
		"b64":   {Type: webhook.AuthHMAC, Secrets: secrets(secret), Header: "X-Sig", Encoding: "base64", Hash: "sha512"},
		"std": {Type: webhook.AuthStandardWebhooks, Secrets: secrets(
			"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")},
	}
	var all []webhook.Source
	for id, auth := range auths {
		all = append(all, sourceWith(id, provider.Aprovei, codec, auth))
	}
	recorder := recorderFunc(func(context.Context, domain.Message, []domain.Fact) ([]domain.Outcome, error) {
		return nil, context.Canceled
	})
	registry := prometheus.NewRegistry()
	in, err := intake.New(recorder, brokenKeeper{context.Canceled}, time.Now, discard(), registry)
	if err != nil {
		f.Fatal(err)
	}
	h, err := webhook.New(webhook.Config{}, all, in, time.Now, discard(), registry)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, authorization, query, signature, timestamp, signatures string) {
		for id := range auths {
			r := httptest.NewRequest(http.MethodPost, "/webhooks/"+string(id), strings.NewReader("{}"))
			r.URL.RawQuery = query
			r.Header = http.Header{
				"Authorization": {authorization}, "X-Sig": {signature, signature + "="}, "Webhook-Id": {"id"},
				"Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signatures},
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s: answered %d", id, w.Code)
			}
		}
	})
}

// FuzzTemplate: a template is either a mistake, or holds the body.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{body}", "{timestamp}.{body}", "{", "}", "{}", "{{body}}", "v0:{body", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		auth := webhook.Auth{Type: webhook.AuthHMAC, Secrets: secrets("k"), Header: "S", Template: template}
		if strings.Contains(template, "{timestamp}") {
			auth.TimestampHeader = "T"
		}
		rest := strings.NewReplacer("{body}", " ", "{timestamp}", " ").Replace(template)
		valid := template == "" || strings.Contains(template, "{body}") && !strings.ContainsAny(rest, "{}")
		if err := auth.Validate(); (err == nil) != valid {
			t.Errorf("template %q: %v", template, err)
		}
	})
}
