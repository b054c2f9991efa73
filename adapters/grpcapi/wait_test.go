package grpcapi_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// minute is longer than any wait here lasts.
var minute = durationpb.New(time.Minute)

// until waits until so many calls wait.
func (s *store) until(waiting int) {
	s.t.Helper()
	for s.room.Waiting() < waiting {
		if s.t.Context().Err() != nil {
			s.t.Fatal("nobody waits")
		}
	}
}

// TestWaitEndsTheRaceWithTheWebhook waits for an order that does not exist yet, in
// each of the ways in which it can be named, until it is paid.
func TestWaitEndsTheRaceWithTheWebhook(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{UnaryTimeout: time.Second}, store.deps())
	<-store.runner.Ready()
	requests := map[string]*comandav1.WaitOrderRequest{
		"by id": {Order: &comandav1.WaitOrderRequest_OrderId{OrderId: string(anOrder)}},
		"by its source": {Order: &comandav1.WaitOrderRequest_SourceOrder{SourceOrder: &comandav1.SourceOrder{
			Source: "loja-checkout", ProviderOrderId: "A-1",
		}}},
		"by reference": {Order: &comandav1.WaitOrderRequest_TenantReference{TenantReference: &comandav1.TenantReference{
			Tenant: "loja", Reference: "EX0",
		}}},
	}
	type answer struct {
		name string
		got  *comandav1.WaitOrderResponse
		err  error
	}
	answers := make(chan answer, len(requests)+1)
	for name, req := range requests {
		req.Settled, req.Timeout = true, minute
		go func() {
			got, err := s.orders.WaitOrder(t.Context(), req)
			answers <- answer{name, got, err}
		}()
	}
	purchase := make(chan *comandav1.WaitPurchaseResponse, 1)
	go func() {
		got, err := s.purchases.WaitPurchase(t.Context(), &comandav1.WaitPurchaseRequest{
			Tenant: "loja", Reference: "EX0", Statuses: []comandav1.OrderStatus{comandav1.OrderStatus_ORDER_STATUS_APPROVED}, Timeout: minute,
		})
		answers <- answer{"a purchase", nil, err}
		purchase <- got
	}()
	store.until(len(requests) + 1)
	store.record(1, domain.KindPending) // wakes everybody, and is not it
	out := store.record(1, domain.KindApproved)
	for range len(requests) + 1 {
		a := <-answers
		if a.err != nil {
			t.Fatalf("%s: %v", a.name, a.err)
		}
		if o := a.got.GetOrder(); a.got != nil && (!a.got.GetMet() || o.GetOrderId() != string(out.OrderID) || o.GetRevision() != 2) {
			t.Errorf("%s: %v", a.name, a.got)
		}
	}
	if got := <-purchase; !got.GetMet() || got.GetPurchase().GetOrderCount() != 1 {
		t.Errorf("purchase: %v", got)
	}
}

// TestWhatTheTimeRunsOutOnIsAnAnswer asks for what does not come.
func TestWhatTheTimeRunsOutOnIsAnAnswer(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	out := store.record(1, domain.KindPending)
	soon := durationpb.New(time.Millisecond)
	req := &comandav1.WaitOrderRequest{
		Order: &comandav1.WaitOrderRequest_OrderId{OrderId: string(anOrder)}, MinRevision: 2, Timeout: minute, MinPosition: out.Position.String(),
	}
	req.MinRevision = 1
	got, err := s.orders.WaitOrder(t.Context(), req)
	must(t, err)
	if !got.GetMet() || got.GetOrder().GetRevision() != 1 {
		t.Errorf("as it is: %v", got)
	}
	req.MinRevision, req.Timeout = 2, soon
	got, err = s.orders.WaitOrder(t.Context(), req)
	must(t, err)
	if got.GetMet() || got.GetOrder().GetRevision() != 1 {
		t.Errorf("one revision: %v", got)
	}
	req.Order = &comandav1.WaitOrderRequest_OrderId{OrderId: string(identity(9).OrderID())}
	got, err = s.orders.WaitOrder(t.Context(), req)
	must(t, err)
	if got.GetMet() || got.GetOrder() != nil {
		t.Errorf("an order that never comes: %v", got)
	}
	none, err := s.purchases.WaitPurchase(t.Context(), &comandav1.WaitPurchaseRequest{Tenant: "loja", Reference: "none", Timeout: soon})
	must(t, err)
	if none.GetMet() || none.GetPurchase() != nil {
		t.Errorf("a purchase that never comes: %v", none)
	}
	if _, err := s.orders.WaitOrder(t.Context(), &comandav1.WaitOrderRequest{Order: &comandav1.WaitOrderRequest_SourceOrder{
		SourceOrder: &comandav1.SourceOrder{Source: "nobody", ProviderOrderId: "x"},
	}}); status.Code(err) != codes.NotFound {
		t.Errorf("a source that is not configured: %v", err)
	}
	for name, bad := range map[string]*comandav1.WaitOrderRequest{"order": {}, "timeout": {Order: req.GetOrder(), Timeout: durationpb.New(time.Hour)}} {
		_, err := s.orders.WaitOrder(t.Context(), bad)
		if got := violated(t, err); len(got) != 1 || got[0] != name {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAClosedRoomSendsEverybodyAway(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	failed := make(chan error, 1)
	go func() {
		_, err := s.orders.WaitOrder(t.Context(), &comandav1.WaitOrderRequest{Order: &comandav1.WaitOrderRequest_OrderId{OrderId: string(anOrder)}, Timeout: minute})
		failed <- err
	}()
	store.until(1)
	store.room.Close()
	if err := <-failed; status.Code(err) != codes.Unavailable {
		t.Errorf("error = %v", err)
	}
}

// TestAnotherTenantsOrdersNeverCome asks for what exists, and is not the caller's.
func TestAnotherTenantsOrdersNeverCome(t *testing.T) {
	g := newGuarded(t)
	ctx := g.as(t.Context(), "reader")
	others := orderOf("outra", 1)
	soon := durationpb.New(time.Millisecond)
	for name, req := range map[string]*comandav1.WaitOrderRequest{
		"by id": {Order: &comandav1.WaitOrderRequest_OrderId{OrderId: others}},
		"by reference": {Order: &comandav1.WaitOrderRequest_TenantReference{TenantReference: &comandav1.TenantReference{
			Tenant: "outra", Reference: "EX0",
		}}},
	} {
		req.Timeout, req.MinPosition = soon, g.position.String()
		if got, err := g.orders.WaitOrder(ctx, req); err != nil || got.GetOrder() != nil || got.GetMet() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, err := g.orders.WaitOrder(g.as(t.Context(), "group"), req); err != nil || got.GetOrder().GetOrderId() != others || !got.GetMet() {
			t.Errorf("%s, of one who may: %v, %v", name, got, err)
		}
	}
	purchase, err := g.purchases.WaitPurchase(ctx, &comandav1.WaitPurchaseRequest{Tenant: "outra", Reference: "EX0", Timeout: soon})
	if err != nil || purchase.GetPurchase() != nil || purchase.GetMet() {
		t.Errorf("a purchase: %v, %v", purchase, err)
	}
	batch, err := g.orders.BatchGetOrders(ctx, &comandav1.BatchGetOrdersRequest{OrderIds: []string{others, orderOf("loja", 0)}})
	if err != nil || len(batch.GetOrders()) != 1 || len(batch.GetMissingOrderIds()) != 1 {
		t.Errorf("a batch: %v, %v", batch, err)
	}
	list, err := g.orders.ListOrders(ctx, &comandav1.ListOrdersRequest{Filter: `tenant == "outra" || true`})
	if err != nil || len(list.GetOrders()) != 2 {
		t.Errorf("a list: %v, %v", list, err)
	}
	sources, err := g.sources.ListSources(ctx, &comandav1.ListSourcesRequest{})
	if err != nil || len(sources.GetSources()) != 1 {
		t.Errorf("sources: %v, %v", sources, err)
	}
}
