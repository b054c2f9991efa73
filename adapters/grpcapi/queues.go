package grpcapi

import (
	"context"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/projections/queue"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// queueService answers from the views.
type queueService struct {
	comandav1.UnimplementedQueueServiceServer

	conflicts, attention Queue
	reads
}

// ListConflicts implements [comandav1.QueueServiceServer].
func (s *queueService) ListConflicts(ctx context.Context, req *comandav1.ListConflictsRequest) (*comandav1.ListConflictsResponse, error) {
	items, next, err := s.list(ctx, s.conflicts, req, nil)
	if err != nil {
		return nil, err
	}
	return &comandav1.ListConflictsResponse{Items: items, NextPageToken: next}, nil
}

// ListAttention implements [comandav1.QueueServiceServer].
func (s *queueService) ListAttention(ctx context.Context, req *comandav1.ListAttentionRequest) (*comandav1.ListAttentionResponse, error) {
	items, next, err := s.list(ctx, s.attention, req, req.GetKinds())
	if err != nil {
		return nil, err
	}
	return &comandav1.ListAttentionResponse{Items: items, NextPageToken: next}, nil
}

// queueRequest is what both lists are asked for with.
type queueRequest interface {
	GetTenant() string
	GetPageSize() int32
	GetPageToken() string
	GetMinPosition() string
}

func (s *queueService) list(
	ctx context.Context, of Queue, req queueRequest, kinds []string,
) (items []*comandav1.QueueItem, next string, err error) {
	var check checker
	filter := queue.Filter{Tenant: check.tenant(req.GetTenant()), Within: access.From(ctx).Tenants(), Kinds: kinds}
	page := queue.Page{Size: pageSize(req.GetPageSize()), Token: req.GetPageToken()}
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, "", err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, "", err
	}
	return of.List(filter, page)
}
