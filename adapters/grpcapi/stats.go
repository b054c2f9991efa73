package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/provider"
	"comanda.internal/projections/stats"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// statsService answers from the views.
type statsService struct {
	comandav1.UnimplementedStatsServiceServer

	stats Stats
	reads
}

// GetFunnel implements [comandav1.StatsServiceServer].
func (s *statsService) GetFunnel(ctx context.Context, req *comandav1.GetFunnelRequest) (*comandav1.GetFunnelResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Funnel)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetFunnelResponse{Rows: rows}, nil
}

// GetApproval implements [comandav1.StatsServiceServer].
func (s *statsService) GetApproval(ctx context.Context, req *comandav1.GetApprovalRequest) (*comandav1.GetApprovalResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Approval)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetApprovalResponse{Rows: rows}, nil
}

// GetTransitions implements [comandav1.StatsServiceServer].
func (s *statsService) GetTransitions(ctx context.Context, req *comandav1.GetTransitionsRequest) (*comandav1.GetTransitionsResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Transitions)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetTransitionsResponse{Rows: rows}, nil
}

// GetVerdicts implements [comandav1.StatsServiceServer].
func (s *statsService) GetVerdicts(ctx context.Context, req *comandav1.GetVerdictsRequest) (*comandav1.GetVerdictsResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Verdicts)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetVerdictsResponse{Rows: rows}, nil
}

// GetDwell implements [comandav1.StatsServiceServer].
func (s *statsService) GetDwell(ctx context.Context, req *comandav1.GetDwellRequest) (*comandav1.GetDwellResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Dwell)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetDwellResponse{Rows: rows}, nil
}

// GetMoney implements [comandav1.StatsServiceServer].
func (s *statsService) GetMoney(ctx context.Context, req *comandav1.GetMoneyRequest) (*comandav1.GetMoneyResponse, error) {
	rows, err := counted(ctx, s, req.GetQuery(), Stats.Money)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetMoneyResponse{Rows: rows}, nil
}

// counted checks what is asked, waits for the views and reads.
func counted[M any](ctx context.Context, s *statsService, asked *comandav1.StatsQuery, read func(Stats, stats.Query) ([]M, error)) ([]M, error) {
	var check checker
	q := stats.Query{
		Tenant: check.tenant(asked.GetTenant()), Within: access.From(ctx).Tenants(), Source: check.source(asked.GetSource()), Method: asked.GetMethod(),
		From: check.timeOf("from", asked.GetFrom()), To: check.timeOf("to", asked.GetTo()), By: check.by(asked.GetBy()),
	}
	if q.Method != "" && !provider.IsWord(q.Method) {
		check.violate("method", "must be a word, as pix or card")
	}
	position := check.position("min_position", asked.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	return read(s.stats, q)
}

// timeOf is the zero time for nil.
func (c *checker) timeOf(field string, t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if !t.IsValid() {
		c.violate(field, "must be a time of the years 1 to 9999")
	}
	return t.AsTime()
}

func (c *checker) by(dimensions []comandav1.StatsDimension) (by stats.By) {
	for _, d := range dimensions {
		switch d {
		case comandav1.StatsDimension_STATS_DIMENSION_HOUR:
			by.Hour = true
		case comandav1.StatsDimension_STATS_DIMENSION_DAY:
			by.Day = true
		case comandav1.StatsDimension_STATS_DIMENSION_TENANT:
			by.Tenant = true
		case comandav1.StatsDimension_STATS_DIMENSION_SOURCE:
			by.Source = true
		case comandav1.StatsDimension_STATS_DIMENSION_METHOD:
			by.Method = true
		case comandav1.StatsDimension_STATS_DIMENSION_UNSPECIFIED:
			fallthrough
		default:
			c.violate("by", "must be dimensions of StatsDimension, and not UNSPECIFIED")
			return by
		}
	}
	if by.Hour && by.Day {
		c.violate("by", "must not have both hour and day")
	}
	return by
}
