package grpcapi

import (
	"context"

	"comanda.internal/projections/purchases"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const purchaseResource = "comanda.v1.Purchase"

// purchaseService answers from the views.
type purchaseService struct {
	comandav1.UnimplementedPurchaseServiceServer

	purchases Purchases
	reads
}

// GetPurchase implements [comandav1.PurchaseServiceServer].
func (s *purchaseService) GetPurchase(ctx context.Context, req *comandav1.GetPurchaseRequest) (*comandav1.GetPurchaseResponse, error) {
	var check checker
	check.required("tenant", req.GetTenant())
	tenant := check.tenant(req.GetTenant())
	reference := check.required("reference", req.GetReference())
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	purchase, found, err := s.purchases.Get(tenant, reference)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound(purchaseResource, reference)
	}
	return &comandav1.GetPurchaseResponse{Purchase: purchase}, nil
}

// ListPurchases implements [comandav1.PurchaseServiceServer].
func (s *purchaseService) ListPurchases(ctx context.Context, req *comandav1.ListPurchasesRequest) (*comandav1.ListPurchasesResponse, error) {
	var check checker
	filter := purchases.Filter{
		Tenant: check.tenant(req.GetTenant()), Statuses: check.statuses("statuses", req.GetStatuses()),
	}
	page := purchases.Page{Size: check.pageSize("page_size", req.GetPageSize()), Token: req.GetPageToken()}
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	found, next, err := s.purchases.List(filter, page)
	if err != nil {
		return nil, err
	}
	return &comandav1.ListPurchasesResponse{Purchases: found, NextPageToken: next}, nil
}

func (c *checker) required(field, text string) string {
	if text == "" {
		c.violate(field, "is required")
	}
	return text
}
