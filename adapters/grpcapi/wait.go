package grpcapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/waiting"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Room is where calls wait; [waiting.Room] is one. Who closes it ends them all, which
// must come before [Server.Stop].
type Room interface {
	Order(ctx context.Context, target waiting.Target, condition waiting.Condition) (waiting.Answer, error)
	Until(ctx context.Context, key waiting.Key, met func() (bool, error)) error
}

// How long a call waits.
const (
	defaultWait = 8 * time.Second // less than clients commonly give a call
	maxWait     = 5 * time.Minute
)

// waitOf is how long a request wants to be waited for; 0 of one that does not wait.
func waitOf(request any) time.Duration {
	r, ok := request.(interface{ GetTimeout() *durationpb.Duration })
	switch {
	case !ok:
		return 0
	case r.GetTimeout() == nil:
		return defaultWait
	default:
		return min(max(r.GetTimeout().AsDuration(), 0), maxWait)
	}
}

// waited runs wait until the request's time is up, which is no error: what it found
// by then is the answer.
func waited(ctx context.Context, request any, wait func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, waitOf(request))
	defer cancel()
	err := wait(limited)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// WaitOrder implements [comandav1.OrderServiceServer].
func (s *orderService) WaitOrder(ctx context.Context, req *comandav1.WaitOrderRequest) (*comandav1.WaitOrderResponse, error) {
	var check checker
	condition := waiting.Condition{
		Statuses: check.statuses("statuses", req.GetStatuses()), Revision: req.GetMinRevision(), Settled: req.GetSettled(),
	}
	full := isFull(req.GetView())
	position := check.position("min_position", req.GetMinPosition())
	if req.GetOrderId() != "" {
		check.orderID("order_id", req.GetOrderId())
	}
	if err := check.err(); err != nil {
		return nil, err
	}
	target, err := s.target(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	var answer waiting.Answer
	err = waited(ctx, req, func(ctx context.Context) error {
		if target.Order == "" {
			answer, err = s.room.Order(ctx, target, condition)
			return err
		}
		return s.room.Until(ctx, waiting.ByOrder(target.Order), func() (bool, error) {
			answer, err = s.look(ctx, target.Order, &condition)
			return answer.Met, err
		})
	})
	if err != nil {
		return nil, err
	}
	if answer.Order != nil && !full {
		orders.Basic(answer.Order)
	}
	return &comandav1.WaitOrderResponse{Order: answer.Order, Met: answer.Met}, nil
}

// target is what a request waits for. The orders of a merchant that the caller may
// not know of never come.
func (s *orderService) target(ctx context.Context, req *comandav1.WaitOrderRequest) (waiting.Target, error) {
	if named := req.GetSourceOrder(); named != nil {
		identity, err := s.sources.identity(ctx, named)
		return waiting.Target{Order: identity.OrderID()}, err
	}
	if of := req.GetTenantReference(); of != nil {
		tenant := domain.TenantID(of.GetTenant())
		if !access.From(ctx).AllowsTenant(tenant) {
			return waiting.Target{Order: domain.Identity{}.OrderID()}, nil
		}
		return waiting.Target{Tenant: tenant, Reference: of.GetReference()}, nil
	}
	return waiting.Target{Order: domain.OrderID(req.GetOrderId())}, nil
}

func (s *orderService) look(ctx context.Context, id domain.OrderID, condition *waiting.Condition) (waiting.Answer, error) {
	row, found, err := s.orders.Get(id)
	if err != nil || !found || !allowed(ctx, row) {
		return waiting.Answer{}, err
	}
	return waiting.Answer{Order: row, Met: condition.Met(row)}, nil
}

// WaitPurchase implements [comandav1.PurchaseServiceServer].
func (s *purchaseService) WaitPurchase(ctx context.Context, req *comandav1.WaitPurchaseRequest) (*comandav1.WaitPurchaseResponse, error) {
	var check checker
	statuses := check.statuses("statuses", req.GetStatuses())
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	tenant := domain.TenantID(req.GetTenant())
	answer := &comandav1.WaitPurchaseResponse{}
	err := waited(ctx, req, func(ctx context.Context) error {
		return s.room.Until(ctx, waiting.ByReference(tenant, req.GetReference()), func() (bool, error) {
			if !access.From(ctx).AllowsTenant(tenant) {
				return false, nil
			}
			purchase, found, err := s.purchases.Get(tenant, req.GetReference())
			if err != nil || !found {
				answer.Purchase = nil
				return false, err
			}
			status, _ := wire.FromStatus(purchase.GetStatus())
			answer.Purchase = purchase
			answer.Met = (len(statuses) == 0 || slices.Contains(statuses, status)) && (!req.GetSettled() || waiting.Settled(status))
			return answer.Met, nil
		})
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
