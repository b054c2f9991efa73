package grpcapi_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/proof"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestOperatorsRebuildTheViews(t *testing.T) {
	store := newStore(t)
	<-store.runner.Ready()
	outcome := store.record(1, domain.KindPending)
	s := serve(t, grpcapi.Config{}, store.deps())
	must(t, store.runner.Wait(t.Context(), outcome.Position))

	now := func() *comandav1.GetViewStatusResponse {
		answer, err := s.views.GetViewStatus(t.Context(), &comandav1.GetViewStatusRequest{})
		must(t, err)
		return answer
	}
	_, others := proof.Views(store.file)
	before := now()
	if len(before.GetViews()) != 1+len(others) || !before.GetCaughtUp() || before.GetBuild() != nil || before.GetPreviousBytes() != 0 {
		t.Errorf("before: %v", before)
	}
	for _, v := range before.GetViews() {
		if v.GetPosition() != before.GetHead() || v.GetVersion() == 0 || v.GetLagEvents() != 0 || v.GetFileBytes() == 0 {
			t.Errorf("view: %v, head %s", v, before.GetHead())
		}
	}
	held, err := s.views.RebuildViews(t.Context(), &comandav1.RebuildViewsRequest{Hold: true})
	must(t, err)
	_, err = store.runner.AwaitBuild(t.Context(), held.GetNumber())
	must(t, err)
	if b := now().GetBuild(); b.GetNumber() != 1 || !b.GetCaughtUp() || b.GetPromoting() || b.GetTotal() != 1 || b.GetFolded() != 1 {
		t.Errorf("held: %v", b)
	}
	_, err = s.views.PromoteViews(t.Context(), &comandav1.PromoteViewsRequest{})
	must(t, err)
	built, err := store.runner.AwaitBuild(t.Context(), 1)
	must(t, err)
	if after := now(); built.Outcome != projections.Promoted || after.GetPreviousBytes() == 0 || after.GetBuild().GetOutcome() != "promoted" {
		t.Errorf("promoted: %v", after)
	}
	if _, err := s.views.RollbackViews(t.Context(), &comandav1.RollbackViewsRequest{}); err != nil {
		t.Error(err)
	}
	_, err = store.runner.AwaitBuild(t.Context(), 2)
	must(t, err)
	if _, err := s.views.CancelViewBuild(t.Context(), &comandav1.CancelViewBuildRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("cancel nothing: %v", err)
	}
	got, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: string(identity(1).OrderID())})
	if err != nil || got.GetOrder().GetStatus() != comandav1.OrderStatus_ORDER_STATUS_PENDING {
		t.Errorf("order: %v, %v", got, err)
	}
}

// TestACancelledBuildIsToldOf has a whole one, and then one of which a file is damaged.
func TestACancelledBuildIsToldOf(t *testing.T) {
	store := newStore(t)
	<-store.runner.Ready()
	s := serve(t, grpcapi.Config{}, store.deps())
	for name, unreadable := range map[string]bool{"views.db.cancelled": false, "views.db.next.building.kept": true} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"views.db.cancelled", name} {
				must(t, os.WriteFile(filepath.Join(store.dir, file), []byte("damaged"), 0o600))
				t.Cleanup(func() { _ = os.Remove(filepath.Join(store.dir, file)) })
			}
			now, err := s.views.GetViewStatus(t.Context(), &comandav1.GetViewStatusRequest{})
			must(t, err)
			if c := now.GetCancelled(); c.GetUnreadable() != unreadable || c.GetFileBytes() == 0 || c.GetTotal() != 0 {
				t.Errorf("cancelled: %v", c)
			}
		})
	}
}

func TestOnlyAParkedOrderIsRetriedOrSkipped(t *testing.T) {
	store := newStore(t)
	<-store.runner.Ready()
	s := serve(t, grpcapi.Config{}, store.deps())
	id := string(identity(1).OrderID())
	list, err := s.views.ListParkedOrders(t.Context(), &comandav1.ListParkedOrdersRequest{})
	if err != nil || len(list.GetOrders()) != 0 {
		t.Errorf("parked: %v, %v", list, err)
	}
	_, retry := s.views.RetryParkedOrder(t.Context(), &comandav1.RetryParkedOrderRequest{OrderId: id})
	_, skip := s.views.SkipParkedOrder(t.Context(), &comandav1.SkipParkedOrderRequest{OrderId: id, Reason: "made by hand"})
	if status.Code(retry) != codes.NotFound || status.Code(skip) != codes.NotFound {
		t.Errorf("retry: %v; skip: %v; want NOT_FOUND", retry, skip)
	}
	_, retry = s.views.RetryParkedOrder(t.Context(), &comandav1.RetryParkedOrderRequest{OrderId: "?"})
	_, skip = s.views.SkipParkedOrder(t.Context(), &comandav1.SkipParkedOrderRequest{OrderId: id})
	if status.Code(retry) != codes.InvalidArgument || status.Code(skip) != codes.InvalidArgument {
		t.Errorf("retry ?: %v; skip without a reason: %v; want INVALID_ARGUMENT", retry, skip)
	}
}

func TestOperatorsRebuildTheCustomerIndex(t *testing.T) {
	store := newStore(t)
	outcome := store.record(1, domain.KindPending)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.index.Ready()
	must(t, store.index.Wait(t.Context(), outcome.Position))
	_, both := s.views.RebuildViews(t.Context(), &comandav1.RebuildViewsRequest{Customers: true, Hold: true})
	_, nothing := s.views.CancelViewBuild(t.Context(), &comandav1.CancelViewBuildRequest{Customers: true})
	if status.Code(both) != codes.InvalidArgument || status.Code(nothing) != codes.NotFound {
		t.Errorf("hold: %v; cancel nothing: %v", both, nothing)
	}
	begun, err := s.views.RebuildViews(t.Context(), &comandav1.RebuildViewsRequest{Customers: true})
	must(t, err)
	_, err = store.index.AwaitBuild(t.Context(), begun.GetNumber())
	must(t, err)
	if b := store.index.Status(outcome.Position, time.Now()).Build; b.Outcome != projections.Promoted {
		t.Errorf("the build is %+v", b)
	}
}
