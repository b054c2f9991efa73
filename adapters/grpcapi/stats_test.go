package grpcapi_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestCountsAreThoseOfTheOrdersSoFar(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var position domain.Position
	for n := range 3 {
		position = position.Merge(store.record(n, domain.KindPending).Position)
	}
	position = position.Merge(store.record(0, domain.KindApproved).Position)
	position = position.Merge(store.record(1, domain.KindRefused).Position)
	position = position.Merge(store.record(0, domain.KindRefused).Position) // of a paid order
	tenant := "loja"
	group := &comandav1.StatsGroup{Tenant: &tenant}
	query := &comandav1.StatsQuery{
		Source: "loja-checkout", MinPosition: position.String(), By: []comandav1.StatsDimension{comandav1.StatsDimension_STATS_DIMENSION_TENANT},
	}
	funnel, err := s.stats.GetFunnel(t.Context(), &comandav1.GetFunnelRequest{Query: query})
	must(t, err)
	rows(t, []*comandav1.FunnelRow{{Group: group, Orders: 3, Pending: 3, Approved: 1, Refused: 1}}, funnel.GetRows())
	approval, err := s.stats.GetApproval(t.Context(), &comandav1.GetApprovalRequest{Query: query})
	must(t, err)
	rate := 1.0 / 3
	rows(t, []*comandav1.ApprovalRow{{Group: group, Charged: 3, Approved: 1, Rate: &rate}}, approval.GetRows())
	const none, pending = comandav1.OrderStatus_ORDER_STATUS_NONE, comandav1.OrderStatus_ORDER_STATUS_PENDING
	const approved, refused = comandav1.OrderStatus_ORDER_STATUS_APPROVED, comandav1.OrderStatus_ORDER_STATUS_REFUSED
	transitions, err := s.stats.GetTransitions(t.Context(), &comandav1.GetTransitionsRequest{Query: query})
	must(t, err)
	rows(t, []*comandav1.TransitionRow{
		{Group: group, StatusFrom: none, StatusTo: pending, Count: 3},
		{Group: group, StatusFrom: pending, StatusTo: approved, Count: 1},
		{Group: group, StatusFrom: pending, StatusTo: refused, Count: 1},
	}, transitions.GetRows())
	verdicts, err := s.stats.GetVerdicts(t.Context(), &comandav1.GetVerdictsRequest{Query: query})
	must(t, err)
	rows(t, []*comandav1.VerdictRow{{Group: group, Events: 6, Applied: 5, Conflict: 1}}, verdicts.GetRows())
	dwell, err := s.stats.GetDwell(t.Context(), &comandav1.GetDwellRequest{Query: query})
	must(t, err)
	if got := dwell.GetRows(); len(got) != 1 || got[0].GetStatus() != pending || got[0].GetCount() != 2 || len(got[0].GetBuckets()) != 14 {
		t.Errorf("stays: %v", got)
	}
	money, err := s.stats.GetMoney(t.Context(), &comandav1.GetMoneyRequest{Query: query})
	must(t, err)
	rows(t, []*comandav1.MoneyRow{
		{Group: group, Status: pending, Currency: "BRL", Orders: 1, Total: 12_000},
		{Group: group, Status: approved, Currency: "BRL", Orders: 1, Total: 12_000, Paid: 12_000},
		{Group: group, Status: refused, Currency: "BRL", Orders: 1, Total: 12_000},
	}, money.GetRows())
	query.To = timestamppb.New(time.Now().Add(-48 * time.Hour))
	verdicts, err = s.stats.GetVerdicts(t.Context(), &comandav1.GetVerdictsRequest{Query: query})
	must(t, err)
	rows(t, nil, verdicts.GetRows())
}

func rows[M any](t *testing.T, want, got []M) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadRequestsOfStatsNameEveryField(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	for _, by := range [][]comandav1.StatsDimension{
		{0}, {99}, {comandav1.StatsDimension_STATS_DIMENSION_DAY, comandav1.StatsDimension_STATS_DIMENSION_HOUR},
	} {
		_, err := s.stats.GetDwell(t.Context(), &comandav1.GetDwellRequest{Query: &comandav1.StatsQuery{
			Tenant: "Loja!", Source: "-!", Method: "À vista", MinPosition: "x", By: by,
			From: &timestamppb.Timestamp{Nanos: -1}, To: &timestamppb.Timestamp{Seconds: 1 << 60},
		}})
		if diff := cmp.Diff([]string{"by", "from", "method", "min_position", "source", "tenant", "to"}, violated(t, err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", by, diff)
		}
	}
}
