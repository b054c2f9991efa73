package grpcapi_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestWhatWaitsForAnOperatorIsListed(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var position domain.Position
	for n := range 3 {
		position = position.Merge(store.record(n, domain.KindApproved).Position)
		position = position.Merge(store.record(n, domain.KindRefused).Position) // of a paid order
	}
	var orders []string
	req := &comandav1.ListConflictsRequest{Tenant: "loja", PageSize: 2, MinPosition: position.String()}
	for {
		page, err := s.queues.ListConflicts(t.Context(), req)
		must(t, err)
		for _, i := range page.GetItems() {
			orders = append(orders, i.GetProviderOrderId())
			if i.GetKind() != "conflict" || i.GetFactKind() != comandav1.FactKind_FACT_KIND_REFUSED || i.GetStatus() != comandav1.OrderStatus_ORDER_STATUS_APPROVED {
				t.Errorf("a conflict: %v", i)
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"A-2", "A-1", "A-0"}, orders); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	for kind, want := range map[string]int{"conflict": 3, "overpaid": 0} {
		page, err := s.queues.ListAttention(t.Context(), &comandav1.ListAttentionRequest{Kinds: []string{kind}})
		must(t, err)
		if len(page.GetItems()) != want {
			t.Errorf("attention of kind %s: %v, want %d", kind, page.GetItems(), want)
		}
	}
}

func TestBadRequestsOfQueuesNameEveryField(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	want := []string{"min_position", "page_size", "tenant"}
	_, err := s.queues.ListConflicts(t.Context(), &comandav1.ListConflictsRequest{Tenant: "Loja!", PageSize: -1, MinPosition: "x"})
	if diff := cmp.Diff(want, violated(t, err)); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	_, err = s.queues.ListAttention(t.Context(), &comandav1.ListAttentionRequest{Tenant: "Loja!", PageSize: -1, MinPosition: "x"})
	if diff := cmp.Diff(want, violated(t, err)); diff != "" {
		t.Errorf("attention (-want +got):\n%s", diff)
	}
}
