package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Recorder records one fact on terms.
type Recorder interface {
	RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, terms order.Terms) (domain.Outcome, error)
}

// recordedType is what the raw part of a fact that came with RecordFact holds.
const recordedType = `application/x-protobuf; messageType="comanda.v1.RecordFactRequest"`

// RecordFact implements [comandav1.OrderServiceServer].
func (s *orderService) RecordFact(ctx context.Context, req *comandav1.RecordFactRequest) (*comandav1.RecordFactResponse, error) {
	fact, err := factOf(req.GetFact())
	if err != nil {
		return nil, err
	}
	identity, err := s.identify(ctx, req)
	if err != nil {
		return nil, err
	}
	fact.Key, fact.Provider = req.GetRequestId(), identity.Provider
	fact.Account, fact.ProviderOrderID = identity.Account, identity.ProviderOrderID
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode a request: %w", err)
	}
	out, err := s.recorder.RecordOn(ctx, domain.Message{
		Source: domain.SourceAPI, Tenant: identity.Tenant, Account: identity.Account, Provider: identity.Provider,
		ContentType: recordedType, Body: body, ReceivedAt: s.clock().UTC(), Cause: causeOf(ctx, req),
	}, fact, order.Terms{Revision: req.ExpectedRevision, OneFact: true})
	if err != nil {
		if domain.KindOf(err) == domain.Exhausted { // the order is full, which no waiting mends
			err = domain.Errorf(domain.Refused, "%w", err)
		}
		return nil, prefixed("fact", err)
	}
	answer := &comandav1.RecordFactResponse{
		OrderId: string(out.OrderID), EventId: string(out.EventID), Revision: out.Revision, Verdict: wire.Verdict(out.Verdict),
		Status: wire.Status(out.Status), Position: out.Position.String(),
	}
	if out.Verdict == domain.VerdictDuplicate {
		answer.Verdict, answer.Duplicate = wire.Verdict(out.First), true
	}
	return answer, nil
}

// factOf is the fact of a request, without order and key.
func factOf(n *comandav1.NewFact) (domain.Fact, error) {
	var check checker
	fact, ok := wire.FromNewFact(n)
	if !ok {
		check.violate("fact.kind", "is required")
	}
	if at := n.GetOccurredAt(); at != nil {
		if at.CheckValid() != nil {
			check.violate("fact.occurred_at", "must be a time of the years 1 to 9999")
		}
		fact.OccurredText = at.AsTime().Format(time.RFC3339Nano)
	}
	return fact, check.err()
}

// identify is the order that a request is about.
func (s *orderService) identify(ctx context.Context, req *comandav1.RecordFactRequest) (domain.Identity, error) {
	if named := req.GetSourceOrder(); named != nil {
		return s.sources.identity(ctx, named)
	}
	var check checker
	id := check.orderID("order_id", req.GetOrderId())
	if err := check.err(); err != nil {
		return domain.Identity{}, err
	}
	row, err := s.surely(ctx, id)
	if err != nil {
		return domain.Identity{}, err
	}
	return domain.Identity{
		Tenant: domain.TenantID(row.GetTenant()), Provider: row.GetProvider(),
		Account: row.GetAccount(), ProviderOrderID: row.GetProviderOrderId(),
	}, nil
}

// surely is the order, also one that the views do not know yet but the log holds.
func (s *orderService) surely(ctx context.Context, id domain.OrderID) (*comandav1.Order, error) {
	if err := s.await(ctx, domain.Position{}); err != nil {
		return nil, err
	}
	row, found, err := s.orders.Get(id)
	if err == nil && !found {
		if err = s.awaitPast(ctx, domain.Position{}, true); err == nil {
			row, found, err = s.orders.Get(id)
		}
	}
	if err != nil {
		return nil, err
	}
	if !found || !allowed(ctx, row) {
		return nil, notFound(orderResource, string(id))
	}
	return row, nil
}

// causeOf says by whose doing: the call's caller, and who that speaks for.
func causeOf(ctx context.Context, req *comandav1.RecordFactRequest) domain.Cause {
	cause := domain.Cause{RequestID: req.GetRequestId(), Actor: access.From(ctx).Caller(), Reason: req.GetReason()}
	if actor := req.GetActor(); actor != "" {
		cause.Actor += "/" + actor
	}
	cause.Traceparent, cause.Tracestate = intake.Trace(
		metadata.ValueFromIncomingContext(ctx, "traceparent"), metadata.ValueFromIncomingContext(ctx, "tracestate"))
	return cause
}
