package main

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

type ordersWaitCmd struct {
	clientFlags
	outputFlag

	ID              string `arg:"" optional:"" help:"The order's id, as ord_…; none: as the flags name it."`
	Source          string `help:"With --provider-order-id: the source whose order it is."`
	ProviderOrderID string `help:"The order's id at its provider, with --source."`
	Tenant          string `help:"With --reference: the merchant."`
	Reference       string `help:"The merchant's reference, with --tenant: any of its orders."`

	Status   []string      `help:"Until it is in one of these statuses."`
	Revision uint64        `help:"Until it has this revision or a later one."`
	Settled  bool          `help:"Until it is no longer none, started or pending."`
	For      time.Duration `help:"Wait so long, at most 5m." default:"30s"`
}

// Run waits for an order and prints it. One that is not so when the time is up is
// printed, too, and the exit code says so.
func (c *ordersWaitCmd) Run(ctx context.Context, io *stdio) error {
	req := &comandav1.WaitOrderRequest{
		MinRevision: c.Revision, Settled: c.Settled, Timeout: durationpb.New(c.For), View: comandav1.OrderView_ORDER_VIEW_FULL,
	}
	var err error
	if req.Statuses, err = parseStatuses(c.Status); err != nil {
		return err
	}
	switch {
	case c.ID != "":
		req.Order = &comandav1.WaitOrderRequest_OrderId{OrderId: c.ID}
	case c.Source != "" && c.ProviderOrderID != "":
		req.Order = &comandav1.WaitOrderRequest_SourceOrder{SourceOrder: &comandav1.SourceOrder{Source: c.Source, ProviderOrderId: c.ProviderOrderID}}
	case c.Tenant != "" && c.Reference != "":
		req.Order = &comandav1.WaitOrderRequest_TenantReference{TenantReference: &comandav1.TenantReference{Tenant: c.Tenant, Reference: c.Reference}}
	default:
		return usagef("say which order: its id, or --source and --provider-order-id, or --tenant and --reference")
	}
	return c.with(func(conn *grpc.ClientConn) error {
		if c.Timeout > 0 {
			c.Timeout += c.For
		}
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewOrderServiceClient(conn).WaitOrder(ctx, req)
		if err != nil {
			return err
		}
		if answer.GetOrder() != nil {
			if err := printOne(io.out, c.Output, orderColumns(), answer.GetOrder()); err != nil {
				return err
			}
		}
		if !answer.GetMet() {
			return domain.Errorf(domain.Unavailable, "the order was not so within %s", c.For)
		}
		return nil
	})
}
