package grpcapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/projections"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Operator is what operators do with the views; [projections.Runner] is one.
type Operator interface {
	Status(ctx context.Context) (*projections.Status, error)
	Rebuild(hold bool) (number uint64, err error)
	RebuildAnew(hold bool) (number uint64, err error)
	Promote() (number uint64, err error)
	CancelBuild() (number uint64, err error)
	DiscardBuild() (number uint64, err error)
	CancelledBuild() *projections.CancelledBuild
	Rollback() (number uint64, err error)
	ParkedOrders() ([]projections.Parked, error)
	RetryParked(ctx context.Context, id domain.OrderID) (*projections.Parked, error)
	SkipParked(ctx context.Context, id domain.OrderID, reason string) (*projections.Parked, error)
}

// GetViewStatus implements [comandav1.ViewServiceServer].
func (s *viewService) GetViewStatus(ctx context.Context, _ *comandav1.GetViewStatusRequest) (*comandav1.GetViewStatusResponse, error) {
	status, err := s.operator.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := &comandav1.GetViewStatusResponse{
		CaughtUp: status.CaughtUp, Head: status.Head.String(), UnflushedBytes: unsigned(int64(status.Unflushed)),
		PreviousBytes: unsigned(status.PreviousBytes), ParkedOrders: unsigned(int64(status.Parked)), Build: build(status.Build),
		Outdated: status.Outdated, Cancelled: cancelled(status.Cancelled),
	}
	for _, v := range status.Views {
		out.Views = append(out.Views, &comandav1.ViewStatus{
			Name: v.Name, Version: v.Version, Position: status.Position.String(),
			LagEvents: status.LagEvents, LagSeconds: status.Lag.Seconds(), FileBytes: unsigned(status.FileBytes),
		})
	}
	for i := range status.Beside {
		v := &status.Beside[i]
		out.Views = append(out.Views, &comandav1.ViewStatus{
			Name: v.Name, Version: v.Version, Position: v.Position.String(),
			LagEvents: v.LagEvents, LagSeconds: v.Lag.Seconds(), FileBytes: unsigned(v.FileBytes), Build: build(v.Build),
		})
	}
	return out, nil
}

func build(b *projections.BuildStatus) *comandav1.ViewBuild {
	if b == nil {
		return nil
	}
	return &comandav1.ViewBuild{
		Number: b.Number, BeganAt: timestamppb.New(b.Began), Total: b.Progress.Total, Read: b.Progress.Read, Folded: b.Progress.Folded,
		CaughtUp: b.CaughtUp, Promoting: b.Wanted, Position: b.Position.String(), FileBytes: unsigned(b.FileBytes),
		Outcome: b.Outcome, Detail: b.Detail,
	}
}

func cancelled(b *projections.CancelledBuild) *comandav1.CancelledViewBuild {
	if b == nil {
		return nil
	}
	return &comandav1.CancelledViewBuild{Total: b.Total, Read: b.Read, FileBytes: unsigned(b.FileBytes), Unreadable: b.Unreadable}
}

func unsigned(n int64) uint64 { return uint64(max(n, 0)) }

// RebuildViews implements [comandav1.ViewServiceServer].
func (s *viewService) RebuildViews(_ context.Context, r *comandav1.RebuildViewsRequest) (*comandav1.RebuildViewsResponse, error) {
	if r.GetCustomers() {
		return s.rebuildCustomers(r)
	}
	if r.GetAnew() {
		number, err := s.operator.RebuildAnew(r.GetHold())
		return &comandav1.RebuildViewsResponse{Number: number}, err
	}
	resumed := s.operator.CancelledBuild()
	number, err := s.operator.Rebuild(r.GetHold())
	return &comandav1.RebuildViewsResponse{Number: number, Resumed: cancelled(resumed)}, err
}

// rebuildCustomers builds the index by customer, which has no build that waits or was kept.
func (s *viewService) rebuildCustomers(r *comandav1.RebuildViewsRequest) (*comandav1.RebuildViewsResponse, error) {
	var check checker
	if r.GetHold() {
		check.violate("hold", "the index by customer takes its place by itself: not together with customers")
	}
	if r.GetAnew() {
		check.violate("anew", "a build of the index by customer is always anew: not together with customers")
	}
	if err := check.err(); err != nil {
		return nil, err
	}
	number, err := s.customers.Rebuild()
	return &comandav1.RebuildViewsResponse{Number: number}, err
}

// PromoteViews implements [comandav1.ViewServiceServer].
func (s *viewService) PromoteViews(context.Context, *comandav1.PromoteViewsRequest) (*comandav1.PromoteViewsResponse, error) {
	number, err := s.operator.Promote()
	return &comandav1.PromoteViewsResponse{Number: number}, err
}

// CancelViewBuild implements [comandav1.ViewServiceServer].
func (s *viewService) CancelViewBuild(_ context.Context, r *comandav1.CancelViewBuildRequest) (*comandav1.CancelViewBuildResponse, error) {
	end := s.operator.CancelBuild
	switch {
	case r.GetCustomers(): // nothing of it is kept, so it is discarded either way
		end = s.customers.CancelBuild
	case r.GetDiscard():
		end = s.operator.DiscardBuild
	}
	number, err := end()
	return &comandav1.CancelViewBuildResponse{Number: number}, err
}

// RollbackViews implements [comandav1.ViewServiceServer].
func (s *viewService) RollbackViews(context.Context, *comandav1.RollbackViewsRequest) (*comandav1.RollbackViewsResponse, error) {
	number, err := s.operator.Rollback()
	return &comandav1.RollbackViewsResponse{Number: number}, err
}

// ListParkedOrders implements [comandav1.ViewServiceServer].
func (s *viewService) ListParkedOrders(context.Context, *comandav1.ListParkedOrdersRequest) (*comandav1.ListParkedOrdersResponse, error) {
	all, err := s.operator.ParkedOrders()
	out := &comandav1.ListParkedOrdersResponse{}
	for i := range all {
		out.Orders = append(out.Orders, parked(&all[i]))
	}
	return out, err
}

// RetryParkedOrder implements [comandav1.ViewServiceServer].
func (s *viewService) RetryParkedOrder(ctx context.Context, r *comandav1.RetryParkedOrderRequest) (*comandav1.RetryParkedOrderResponse, error) {
	var check checker
	id := check.orderID("order_id", r.GetOrderId())
	if err := check.err(); err != nil {
		return nil, err
	}
	still, err := s.operator.RetryParked(ctx, id)
	return &comandav1.RetryParkedOrderResponse{Parked: parked(still)}, err
}

// SkipParkedOrder implements [comandav1.ViewServiceServer].
func (s *viewService) SkipParkedOrder(ctx context.Context, r *comandav1.SkipParkedOrderRequest) (*comandav1.SkipParkedOrderResponse, error) {
	var check checker
	id := check.orderID("order_id", r.GetOrderId())
	reason := check.required("reason", r.GetReason())
	if err := check.err(); err != nil {
		return nil, err
	}
	still, err := s.operator.SkipParked(ctx, id, reason)
	return &comandav1.SkipParkedOrderResponse{Parked: parked(still)}, err
}

func parked(p *projections.Parked) *comandav1.ParkedOrder {
	if p == nil {
		return nil
	}
	return &comandav1.ParkedOrder{
		OrderId: string(p.Order), Partition: uint32(p.Partition), Sequence: p.Sequence, Why: p.Why, //nolint:gosec // at most 256
	}
}
