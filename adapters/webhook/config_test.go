package webhook_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/webhook"
)

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{"the zero value", `{}`, nil},
		{"all set", `{max_body: 65536, max_in_flight: 10, record_timeout: 2s, retry_after: 10s, read_timeout: 3s, write_timeout: 6s}`, nil},
		{"too large a body", `{max_body: 300000}`, []string{"max_body: 300000, want 1 to 262144 bytes"}},
		{
			"several", `{max_body: -1, max_in_flight: -1, idle_timeout: -1s}`,
			[]string{"max_body: -1, want 1 to 262144 bytes", "max_in_flight: -1, want at least 1", "idle_timeout: -1s, want a positive duration"},
		},
		{
			"an answer that is cut off", `{record_timeout: 25s}`,
			[]string{"write_timeout: 30s, want at least read_timeout and record_timeout together (35s)"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg webhook.Config
			must(t, yaml.Unmarshal([]byte(c.yaml), &cfg))
			if diff := cmp.Diff(c.want, lines(cfg.Validate())); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSourceMistakes(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{"as in the manual", `{id: loja-aprovei, provider: aprovei, tenant: loja, account: principal, auth: {type: token, tokens: [t]}, rate: {per_second: 50, burst: 100}}`, nil},
		{"vega", `{id: a, provider: vega, tenant: loja, auth: {type: token, tokens: [t]}}`, nil},
		{
			"everything", `{id: Loja Aprovei, provider: visa, tenant: "", rate: {per_second: -1, burst: -1}, auth: {type: magic}}`,
			[]string{
				`source "Loja Aprovei": id: "Loja Aprovei", want 1 to 40 of a-z, 0-9 and hyphen`,
				`source "Loja Aprovei": provider: "visa", want aprovei, vega, onprofit, voxuy, iset or comanda`,
				`source "Loja Aprovei": tenant: "", want 1 to 40 of a-z, 0-9 and hyphen`,
				`source "Loja Aprovei": rate.per_second: -1, want 0 or more`,
				`source "Loja Aprovei": rate.burst: -1, want 0 or more`,
				`source "Loja Aprovei": auth.type: "magic", want token, hmac or standard-webhooks`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cfg webhook.SourceConfig
			must(t, yaml.Unmarshal([]byte(c.yaml), &cfg))
			if diff := cmp.Diff(c.want, lines(cfg.Validate())); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s", diff)
			}
		})
	}
}

// A configuration can be shown: its secrets print as stars.
func TestConfigHidesSecrets(t *testing.T) {
	var cfg webhook.SourceConfig
	must(t, yaml.Unmarshal([]byte(`{id: a, provider: aprovei, tenant: loja, auth: {type: token, tokens: [hush-hush]}}`), &cfg))
	shown, err := yaml.Marshal(cfg)
	must(t, err)
	if strings.Contains(string(shown), "hush") || !strings.Contains(string(shown), "***") {
		t.Errorf("shown as:\n%s", shown)
	}
}

func TestNewNamesEveryMistake(t *testing.T) {
	in, err := intake.New(nil, nil, time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	must(t, err)
	good := codec(t, aprovei.New, aprovei.Config{})
	noSecrets := webhook.Auth{Type: webhook.AuthToken, TokensFile: "/run/secrets/never-loaded"}
	_, err = webhook.New(webhook.Config{MaxBody: -1}, []webhook.Source{
		tokenSource("a", provider.Aprovei, good, "t"),
		tokenSource("a", provider.Aprovei, good, "t"),
		tokenSource("B", provider.Aprovei, good, "t"),
		tokenSource("c", "visa", good, "t"),
		tokenSource("d", provider.Aprovei, nil, "t"),
		tokenSource("e", provider.Aprovei, good),
		sourceWith("f", provider.Aprovei, good, noSecrets),
	}, in, time.Now, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	want := []string{
		"max_body: -1, want 1 to 262144 bytes",
		`source "a": configured twice`,
		`source "B": id: want 1 to 40 of a-z, 0-9 and hyphen`,
		`source "c": provider: there is no such platform`,
		`source "d": no codec`,
		`source "e": auth.tokens: required, or tokens_file`,
		`source "f": auth: its file was not loaded`,
	}
	if diff := cmp.Diff(want, lines(err)); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

func TestNewServerBoundsEverything(t *testing.T) {
	logger := discard()
	srv := webhook.NewServer(webhook.Config{ReadTimeout: 3 * time.Second}, http.NotFoundHandler(), logger)
	got := []any{srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout, srv.MaxHeaderBytes}
	want := []any{5 * time.Second, 3 * time.Second, 30 * time.Second, 2 * time.Minute, 16 << 10}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bounds (-want +got):\n%s", diff)
	}
	if srv.ErrorLog == nil {
		t.Error("the server complains to the standard logger")
	}
}
