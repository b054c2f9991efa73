package notify_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"comanda.internal/adapters/notify"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

const documented = `
- id: erp
  tenant: loja
  kind: http
  url: https://erp.example.com/hooks
  secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
  events: [order.approved, order.refunded]
- id: funil
  tenant: loja
  kind: voxuy
  url_file: /run/secrets/voxuy-url
  api_token_file: /run/secrets/voxuy-token
  plan: {default: e9b3a0a5-7ad9-4ea9-b7dd-93cfeb, by_product: {SKU123: other}}
  allow_private: false
`

func decode(t *testing.T, text string) []notify.Endpoint {
	t.Helper()
	var endpoints []notify.Endpoint
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	must(t, d.Decode(&endpoints))
	return endpoints
}

func TestTheDocumentedConfiguration(t *testing.T) {
	endpoints := decode(t, documented)
	cfg := notify.Config{Endpoints: endpoints}
	must(t, cfg.Validate())
	if endpoints[0].URL.Reveal() != "https://erp.example.com/hooks" || len(endpoints[0].Secrets) != 1 {
		t.Errorf("erp is %+v", endpoints[0])
	}
	if strings.Contains(fmt.Sprintf("%+v %#v", endpoints[0], endpoints[0]), "erp.example.com") {
		t.Error("an endpoint prints its URL")
	}
	for i := range endpoints {
		endpoints[i].SetDefaults()
	}
	got := endpoints[1]
	want := notify.Endpoint{
		ID: "funil", Tenant: "loja", Kind: "voxuy", URLFile: "/run/secrets/voxuy-url", APITokenFile: "/run/secrets/voxuy-token",
		Plan:        notify.Plan{Default: "e9b3a0a5-7ad9-4ea9-b7dd-93cfeb", ByProduct: map[string]string{"SKU123": "other"}},
		Events:      []string{"order.*", "fact.pending", "fact.refund_requested", "fact.abandoned", "fact.flagged", "fact.shipping", "fact.details"},
		OnExhausted: "hold", Timeout: 15 * time.Second, Concurrency: 16,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(domain.Secret{})); diff != "" {
		t.Errorf("funil (-want +got):\n%s", diff)
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	cfg := notify.Config{Endpoints: decode(t, `
- id: ERP
  tenant: ""
  kind: kafka
  url: http://erp.example.com/secret-path
  events: [order.paid]
  on_exhausted: panic
  timeout: 2h
  concurrency: 1000
- {id: a, tenant: loja, kind: http, url: "https://example.com"}
- {id: a, tenant: loja, kind: voxuy}
`)}
	err := cfg.Validate()
	if domain.KindOf(err) != domain.Invalid {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		`endpoint "ERP": id: `, `endpoint "ERP": tenant: `, `endpoint "ERP": kind: `, `endpoint "ERP": url: must be https`, "order.paid",
		`endpoint "ERP": on_exhausted: `, `endpoint "ERP": timeout: `, `endpoint "ERP": concurrency: `,
		`endpoint "a": secrets: missing`, `endpoint "a": url: missing`, `endpoint "a": api_token: missing`, `endpoint "a": plan.default: missing`,
		"id is taken",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret-path") {
		t.Errorf("the error repeats a URL:\n%v", err)
	}
}

func TestNewNeedsASinkForEachKind(t *testing.T) {
	_, err := notify.New(notify.Config{Endpoints: decode(t, documented)}, notify.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if domain.KindOf(err) != domain.Invalid || !strings.Contains(err.Error(), `"erp"`) {
		t.Errorf("error %v", err)
	}
}

func TestNoEndpointsIsNoWork(t *testing.T) {
	n, err := notify.New(notify.Config{}, notify.Deps{Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	must(t, err)
	background(t, func(ctx context.Context) error { return n.Run(ctx) })
	take(t, n.Ready())
}

var update = flag.Bool("update", false, "write the golden files")

func fullNotification() delivery.Notification {
	at := time.Date(2026, 5, 9, 17, 32, 14, 0, time.UTC)
	e := &domain.Event{
		ID: "aaaaaaaaaaaaaaaaaaaaaaaaaa", OrderID: "ord_bbbbbbbbbbbbbbbbbbbbbbbbbb", Tenant: "loja", Source: "loja-aprovei", Revision: 4,
		Fact: domain.Fact{
			Kind: domain.KindChargeback, Provider: "aprovei", Account: "principal", ProviderOrderID: "VCP1", Key: "secret-key",
			OccurredText: "2026-05-09", Reference: "EX001", Reason: domain.ReasonFraud, Detail: "med",
			Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12000), Paid: domain.Minor(12000), Refunded: domain.Minor(0)},
			Payment: domain.Payment{Method: "pix", PaymentID: "p1", RefundID: "r1", Installments: 1, Phase: "awaiting"},
			Items:   []domain.Item{{Code: "SKU123", Title: "Curso <básico>", UnitPrice: domain.Minor(5000), Quantity: 2}},
			UTM:     domain.UTMOf(map[string]string{"utm_source": "ads"}), CustomEvent: "63",
			Shipping: &domain.Shipping{Event: "posted", TrackingCode: "BR1", City: "Recife", Date: at},
			Personal: &domain.Personal{Name: "Maria Canário", Email: "canario@example.com", Phone: "+5511912345678", Document: "74600027043"},
		},
		Verdict: domain.VerdictApplied, From: domain.StatusApproved, To: domain.StatusChargeback, Correction: true, Gap: true, MoneyChanged: true,
		Path: []domain.Step{
			{Event: "e1", From: domain.StatusNone, To: domain.StatusApproved, Gap: true},
			{Event: "e2", From: domain.StatusApproved, To: domain.StatusChargeback, Forced: true, Why: "refund_complete"},
		},
		EffectiveAt: at, TimeInferred: true, ReceivedAt: at.Add(time.Minute), RecordedAt: at.Add(time.Hour),
		Cause:          domain.Cause{Actor: "operator-canario", Reason: "canario asked", RequestID: "req"},
		SealedPersonal: []byte("sealed"), SealedRaw: []byte("raw"),
	}
	return delivery.Notification{
		Endpoint: "erp", Event: e, Position: domain.Position{}.With(0, 7), Type: "order.chargeback", PreviousRevision: 2, Attempt: 3,
	}
}

func TestCloudEventGolden(t *testing.T) {
	got, err := notify.CloudEvent(fullNotification())
	must(t, err)
	const golden = "testdata/chargeback.json"
	if *update {
		must(t, os.WriteFile(golden, got, 0o600))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the body changed (-want +got):\n%s", diff)
	}
	for _, personal := range []string{"anário", "canario", "912345678", "74600027043", "secret-key", "operator"} {
		if strings.Contains(string(got), personal) {
			t.Errorf("the body holds %q", personal)
		}
	}
}

func TestABodyIsBounded(t *testing.T) {
	n := fullNotification()
	for range 10_000 {
		n.Event.Fact.Items = append(n.Event.Fact.Items, domain.Item{Code: "SKU", Title: strings.Repeat("x", 100), Quantity: 1})
	}
	body, err := notify.CloudEvent(n)
	must(t, err)
	var got struct {
		Data struct {
			OrderID   string `json:"order_id"`
			Truncated bool
			Items     []any
		}
	}
	must(t, json.Unmarshal(body, &got))
	if len(body) > 256<<10 || !got.Data.Truncated || got.Data.Items != nil || got.Data.OrderID == "" {
		t.Errorf("%d bytes, %+v", len(body), got.Data)
	}
}

func TestTheTraceIsContinued(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, failing(500))
	w := newWaits()
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w))
	h.record("A", domain.KindApproved)
	w.letGo(t)
	got := r.next(t, 2)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-"
	first, second := got[0].header.Get("Traceparent"), got[1].header.Get("Traceparent")
	for _, parent := range []string{first, second} {
		if !strings.HasPrefix(parent, trace) || len(parent) != 55 || strings.Contains(parent, "00f067aa0ba902b7") {
			t.Errorf("traceparent %q", parent)
		}
	}
	if first == second {
		t.Error("two attempts are one span")
	}
	if got[0].body != got[1].body {
		t.Error("the body differs between two attempts of one event")
	}
	for _, personal := range []string{"anário", "canario", "912345678", "74600027043"} {
		if strings.Contains(got[0].body, personal) {
			t.Errorf("the body holds %q", personal)
		}
	}
}
