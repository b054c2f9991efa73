package notify_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/voxuysink"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// nothingElse is a merchant with one order a purchase.
type nothingElse struct{}

func (nothingElse) PaidElsewhere(context.Context, domain.TenantID, string, domain.OrderID) (bool, error) {
	return false, nil
}

// TestVoxuyIsToldFromARealLog opens real seals: the approval carries no person,
// the pending before it does.
func TestVoxuyIsToldFromARealLog(t *testing.T) {
	h := newHouse(t, 1)
	type sale struct {
		Status            int    `json:"status"`
		PaymentType       int    `json:"paymentType"`
		ClientPhoneNumber string `json:"clientPhoneNumber"`
		TotalValue        int64  `json:"totalValue"`
	}
	got := make(chan sale, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var s sale
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			t.Error(err)
		}
		got <- s
		if s.Status == 4 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"Success":true}`)
	}))
	t.Cleanup(srv.Close)
	e := notify.Endpoint{
		ID: "funil", Tenant: tenant, Kind: notify.KindVoxuy, URL: domain.NewSecret(srv.URL), AllowPrivate: true,
		APIToken: domain.NewSecret("token"), Plan: notify.Plan{Default: "plan"},
	}
	var logged strings.Builder
	js, err := jetstream.New(h.node.Conn())
	must(t, err)
	made := 0
	payers, err := voxuysink.OpenPayers(t.Context(), js, 1, func() error { made++; return nil })
	must(t, err)
	if _, err := voxuysink.OpenPayers(t.Context(), js, 1, func() error { made++; return nil }); err != nil || made != 1 {
		t.Errorf("the bucket was made %d times, %v", made, err)
	}
	o := h.open([]notify.Endpoint{e}, withSink(notify.KindVoxuy, voxuysink.Builder(voxuysink.Deps{
		Opener: h.vault, Orders: h.log, Purchases: nothingElse{}, Payers: payers, Machine: order.Default(), Clock: h.clock,
	})), func(_ *notify.Config, d *notify.Deps) { d.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	pix := func(f *domain.Fact) { f.Payment.Method = "pix" }
	h.record("A", domain.KindPending, pix)
	told := []sale{take(t, got)}
	nobody := func(f *domain.Fact) { f.Personal = nil }
	h.record("A", domain.KindApproved, pix, nobody)
	told = append(told, take(t, got))
	h.record("A", domain.KindDetails, nobody) // nothing to say
	h.record("A", domain.KindRefunded, nobody)
	told = append(told, take(t, got)) // refused for good: the order goes on
	h.record("A", domain.KindChargeback, nobody)
	told = append(told, take(t, got))
	want := []sale{
		{Status: 0, PaymentType: 7, ClientPhoneNumber: "+5511912345678", TotalValue: 12000},
		{Status: 1, PaymentType: 7, ClientPhoneNumber: "+5511912345678", TotalValue: 12000},
		{Status: 4, PaymentType: 7, ClientPhoneNumber: "+5511912345678", TotalValue: 12000},
		{Status: 3, PaymentType: 7, ClientPhoneNumber: "+5511912345678", TotalValue: 12000},
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	o.close()
	if diff := cmp.Diff(map[string]float64{"ok": 3, "skipped": 1, "final": 1}, o.attempts(t)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
	if !strings.Contains(logged.String(), "outcome=final") {
		t.Errorf("the log does not tell of the final failure:\n%s", logged.String())
	}
	for _, hidden := range []string{"Canário", "canario", "912345678", srv.URL, "74600027043"} {
		if strings.Contains(logged.String(), hidden) {
			t.Errorf("the log holds %q:\n%s", hidden, logged.String())
		}
	}
}

// TestPayers keeps who paid in a real bucket.
func TestPayers(t *testing.T) {
	h := newHouse(t, 1)
	js, err := jetstream.New(h.node.Conn())
	must(t, err)
	payers, err := voxuysink.OpenPayers(t.Context(), js, 1, h.node.SyncDirs)
	must(t, err)
	paid := func(person string, except domain.OrderID) bool {
		t.Helper()
		yes, err := payers.Paid(t.Context(), person, except)
		must(t, err)
		return yes
	}
	if paid("anna", "ord_1") {
		t.Error("somebody paid before anybody did")
	}
	must(t, payers.Note(t.Context(), "anna", "ord_1", true))
	must(t, payers.Note(t.Context(), "annabel", "ord_3", true))
	if paid("anna", "ord_1") || !paid("anna", "ord_2") || paid("bea", "ord_2") {
		t.Error("an order counts for itself, or not for another, or for somebody else")
	}
	must(t, payers.Note(t.Context(), "anna", "ord_1", false))
	if paid("anna", "ord_2") {
		t.Error("an order that was paid back still counts")
	}
}
