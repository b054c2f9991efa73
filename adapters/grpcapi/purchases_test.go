package grpcapi_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestAPurchaseIsReadAsSoonAsItsPositionIsAsked(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var position domain.Position
	for n, kind := range []domain.Kind{domain.KindRefused, domain.KindApproved, domain.KindPending} {
		position = position.Merge(store.record(n, kind).Position)
	}
	got, err := s.purchases.GetPurchase(t.Context(), &comandav1.GetPurchaseRequest{
		Tenant: "loja", Reference: "EX0", MinPosition: position.String(),
	})
	must(t, err)
	p := got.GetPurchase()
	if p.GetStatus() != comandav1.OrderStatus_ORDER_STATUS_APPROVED || len(p.GetOrders()) != 2 || p.GetSums()[0].GetPaid() != 12_000 {
		t.Errorf("a refused order and its approved retry: %v", p)
	}

	var references []string
	req := &comandav1.ListPurchasesRequest{Tenant: "loja", PageSize: 1}
	for {
		page, err := s.purchases.ListPurchases(t.Context(), req)
		must(t, err)
		for _, p := range page.GetPurchases() {
			references = append(references, p.GetReference())
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"EX1", "EX0"}, references); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	page, err := s.purchases.ListPurchases(t.Context(), &comandav1.ListPurchasesRequest{
		Statuses: []comandav1.OrderStatus{comandav1.OrderStatus_ORDER_STATUS_APPROVED},
	})
	must(t, err)
	if ps := page.GetPurchases(); len(ps) != 1 || ps[0].GetReference() != "EX0" || len(ps[0].GetOrders()) != 0 {
		t.Errorf("by status: %v", ps)
	}
	_, err = s.purchases.GetPurchase(t.Context(), &comandav1.GetPurchaseRequest{Tenant: "outra", Reference: "EX0"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("of another merchant: %v, want NOT_FOUND", err)
	}
}

func TestBadRequestsOfPurchasesNameEveryField(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	_, err := s.purchases.GetPurchase(t.Context(), &comandav1.GetPurchaseRequest{MinPosition: "x"})
	if diff := cmp.Diff([]string{"min_position", "reference", "tenant"}, violated(t, err)); diff != "" {
		t.Errorf("get (-want +got):\n%s", diff)
	}
	_, err = s.purchases.ListPurchases(t.Context(), &comandav1.ListPurchasesRequest{
		Tenant: "Loja!", Statuses: []comandav1.OrderStatus{0}, PageSize: -1, MinPosition: "x",
	})
	if diff := cmp.Diff([]string{"min_position", "page_size", "statuses[0]", "tenant"}, violated(t, err)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}
