package grpcapi_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestAnOrderIsReadAsItWas asks at the very moment an event was recorded, and just
// before, with no position: the call itself waits for all that was recorded.
func TestAnOrderIsReadAsItWas(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	kinds := []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded}
	var last domain.Outcome
	for _, kind := range kinds {
		last = store.record(1, kind)
	}
	history, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{
		OrderId: string(anOrder), MinPosition: last.Position.String(),
	})
	must(t, err)
	get := func(req *comandav1.GetOrderRequest) string {
		req.OrderId = string(anOrder)
		got, err := s.orders.GetOrder(t.Context(), req)
		if status.Code(err) == codes.NotFound {
			return "none"
		}
		must(t, err)
		return got.GetOrder().GetStatus().String()
	}
	before, want := "none", []string{"ORDER_STATUS_PENDING", "ORDER_STATUS_APPROVED", "ORDER_STATUS_REFUNDED"}
	for i, e := range history.GetEvents() {
		recorded := e.GetRecordedAt().AsTime()
		known := func(at time.Time) *comandav1.GetOrderRequest {
			return &comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsKnownAt{AsKnownAt: timestamppb.New(at)}}
		}
		got := []string{
			get(known(recorded.Add(-1))), get(known(recorded)),
			get(&comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsOfRevision{AsOfRevision: e.GetRevision()}}),
			get(&comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsOccurredAt{AsOccurredAt: e.GetEffectiveAt()}}),
		}
		if diff := cmp.Diff([]string{before, want[i], want[i], want[i]}, got); diff != "" {
			t.Errorf("at revision %d (-want +got):\n%s", i+1, diff)
		}
		list, err := s.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{
			ProviderOrderId: "A-1", AsOf: &comandav1.ListOrdersRequest_AsKnownAt{AsKnownAt: e.GetRecordedAt()},
		})
		must(t, err)
		if len(list.GetOrders()) != 1 || list.GetOrders()[0].GetStatus().String() != want[i] || len(list.GetOrders()[0].GetPath()) > 0 {
			t.Errorf("the list at revision %d: %v", i+1, list)
		}
		before = want[i]
	}
	if got := get(&comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsOfRevision{AsOfRevision: 4}}); got != "none" {
		t.Errorf("at a revision that never was: %s", got)
	}
}

func TestAPurchaseIsReadAsItWas(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	store.record(0, domain.KindRefused)
	refused := time.Now()
	store.record(1, domain.KindApproved) // the retry, of the same reference
	for at, want := range map[time.Time]string{
		refused: "ORDER_STATUS_REFUSED", time.Now(): "ORDER_STATUS_APPROVED", refused.Add(-time.Hour): "",
	} {
		var got, listed string
		purchase, err := s.purchases.GetPurchase(t.Context(), &comandav1.GetPurchaseRequest{
			Tenant: "loja", Reference: "EX0", AsOf: &comandav1.GetPurchaseRequest_AsKnownAt{AsKnownAt: timestamppb.New(at)},
		})
		if status.Code(err) != codes.NotFound {
			must(t, err)
			got = purchase.GetPurchase().GetStatus().String()
		}
		list, err := s.purchases.ListPurchases(t.Context(), &comandav1.ListPurchasesRequest{
			AsOf: &comandav1.ListPurchasesRequest_AsKnownAt{AsKnownAt: timestamppb.New(at)},
		})
		must(t, err)
		for _, p := range list.GetPurchases() {
			listed += p.GetStatus().String()
		}
		if got != want || listed != want {
			t.Errorf("as of %s it was %q, in the list %q; want %q", at, got, listed, want)
		}
	}
}

func TestBadMomentsAndTablesAreNamed(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	never := &timestamppb.Timestamp{Nanos: -1}
	_, get := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{
		OrderId: string(anOrder), AsOf: &comandav1.GetOrderRequest_AsKnownAt{AsKnownAt: never},
	})
	_, list := s.purchases.ListPurchases(t.Context(), &comandav1.ListPurchasesRequest{
		AsOf: &comandav1.ListPurchasesRequest_AsOccurredAt{AsOccurredAt: never},
	})
	stream, err := comandav1.NewMachineServiceClient(s.conn).Replay(t.Context(), &comandav1.ReplayRequest{Table: "status,approved\nnone,aproved\n"})
	must(t, err)
	_, replay := stream.Recv()
	for _, c := range []struct {
		err  error
		want []string
	}{{get, []string{"as_known_at"}}, {list, []string{"as_occurred_at"}}, {replay, []string{"table"}}} {
		if diff := cmp.Diff(c.want, violated(t, c.err)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestReplayAnswersWithDifferencesAndAReport asks what a table that refuses refunds
// would make of what was just recorded.
func TestReplayAnswersWithDifferencesAndAReport(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	store.record(1, domain.KindApproved)
	store.record(1, domain.KindRefunded)
	store.record(2, domain.KindApproved)
	stream, err := comandav1.NewMachineServiceClient(s.conn).Replay(t.Context(), &comandav1.ReplayRequest{Table: tableWith(t, domain.StatusApproved, domain.KindRefunded, "!")})
	must(t, err)
	var differ []string
	var report *comandav1.ReplayReport
	for report == nil {
		m, err := stream.Recv()
		must(t, err)
		if d := m.GetDifference(); d != nil {
			differ = append(differ, d.GetProviderOrderId()+" "+d.GetOtherStatus().String()+" "+d.GetOtherDid().GetWhy())
		}
		report = m.GetReport()
	}
	if diff := cmp.Diff([]string{"A-1 ORDER_STATUS_APPROVED contradicts_status"}, differ); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if report.GetOrders() != 2 || report.GetEvents() != 3 || report.GetDifferences() != 1 || report.GetOtherEndings() != 1 || len(report.GetEdges()) != 1 {
		t.Errorf("report: %v", report)
	}
}

// tableWith is the text of the table with another code in one cell.
func tableWith(t *testing.T, at domain.Status, kind domain.Kind, code order.Code) string {
	t.Helper()
	m, err := order.New(order.DefaultTable().With(at, kind, code))
	must(t, err)
	var b strings.Builder
	must(t, m.WriteCSV(&b))
	return b.String()
}
