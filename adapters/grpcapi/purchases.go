package grpcapi

import (
	"context"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/purchases"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const purchaseResource = "comanda.v1.Purchase"

// purchaseService answers from the views.
type purchaseService struct {
	comandav1.UnimplementedPurchaseServiceServer

	purchases Purchases
	past      Past
	room      Room
	reads
}

// GetPurchase implements [comandav1.PurchaseServiceServer].
func (s *purchaseService) GetPurchase(ctx context.Context, req *comandav1.GetPurchaseRequest) (*comandav1.GetPurchaseResponse, error) {
	var check checker
	check.required("tenant", req.GetTenant())
	tenant := check.tenant(req.GetTenant())
	reference := check.required("reference", req.GetReference())
	position := check.position("min_position", req.GetMinPosition())
	moment, past := check.moment(req)
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.awaitPast(ctx, position, past); err != nil {
		return nil, err
	}
	purchase, found, err := s.get(ctx, tenant, reference, moment, past)
	if err != nil {
		return nil, err
	}
	if !found || !allowed(ctx, purchase) {
		return nil, notFoundThen(purchaseResource, reference, past)
	}
	return &comandav1.GetPurchaseResponse{Purchase: purchase}, nil
}

// ListPurchases implements [comandav1.PurchaseServiceServer].
func (s *purchaseService) ListPurchases(ctx context.Context, req *comandav1.ListPurchasesRequest) (*comandav1.ListPurchasesResponse, error) {
	var check checker
	filter := purchases.Filter{
		Tenant: check.tenant(req.GetTenant()), Within: access.From(ctx).Tenants(), Statuses: check.statuses("statuses", req.GetStatuses()),
	}
	page := purchases.Page{Size: pageSize(req.GetPageSize()), Token: req.GetPageToken()}
	position := check.position("min_position", req.GetMinPosition())
	moment, past := check.moment(req)
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.awaitPast(ctx, position, past); err != nil {
		return nil, err
	}
	found, next, err := s.list(ctx, filter, page, moment, past)
	if err != nil {
		return nil, err
	}
	return &comandav1.ListPurchasesResponse{Purchases: found, NextPageToken: next}, nil
}

func (s *purchaseService) get(
	ctx context.Context, tenant domain.TenantID, reference string, moment asof.Moment, past bool,
) (*comandav1.Purchase, bool, error) {
	if past {
		return s.past.Purchase(ctx, tenant, reference, moment)
	}
	return s.purchases.Get(tenant, reference)
}

func (s *purchaseService) list(
	ctx context.Context, filter purchases.Filter, page purchases.Page, moment asof.Moment, past bool,
) (found []*comandav1.Purchase, next string, err error) {
	if past {
		return s.past.Purchases(ctx, filter, moment, page)
	}
	return s.purchases.List(filter, page)
}

func (c *checker) required(field, text string) string {
	if text == "" {
		c.violate(field, "is required")
	}
	return text
}
