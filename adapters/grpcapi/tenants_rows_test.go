package grpcapi_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// tenantRows are all methods, in all ways to ask for what is of somebody.
func tenantRows() []tenantRow {
	return slices.Concat(orderRows(), purchaseRows(), listRows(), statsRows(), eventRows())
}

func orderRows() []tenantRow {
	farAway := timestamppb.New(time.Now().Add(time.Hour))
	id := func(tenant string) string { return orderOf(domain.TenantID(tenant), merchants[tenant]) }
	order := func(req *comandav1.GetOrderRequest) func(*asking) []proto.Message {
		return point(func(a *asking, tenant string) (*comandav1.GetOrderResponse, error) {
			req.OrderId, req.View = id(tenant), comandav1.OrderView_ORDER_VIEW_FULL
			return a.orders.GetOrder(a.ctx, req)
		})
	}
	wait := func(fill func(req *comandav1.WaitOrderRequest, tenant string)) func(*asking) []proto.Message {
		return point(func(a *asking, tenant string) (*comandav1.WaitOrderResponse, error) {
			req := &comandav1.WaitOrderRequest{Timeout: durationpb.New(time.Millisecond)}
			fill(req, tenant)
			return a.orders.WaitOrder(a.ctx, req)
		})
	}
	of := func(tenant string) *comandav1.SourceOrder {
		return &comandav1.SourceOrder{Source: tenant + "-checkout", ProviderOrderId: identity(merchants[tenant]).ProviderOrderID}
	}
	record := func(fill func(req *comandav1.RecordFactRequest, tenant string)) func(*asking) []proto.Message {
		return point(func(a *asking, tenant string) (*comandav1.RecordFactResponse, error) {
			req := ofOrder(0, fmt.Sprintf("%s-%s-%s", a.as, a.tenant, tenant), domain.KindDetails)
			fill(req, tenant)
			return a.orders.RecordFact(a.ctx, req)
		})
	}
	return []tenantRow{
		{comandav1.OrderService_GetOrder_FullMethodName, "now", order(&comandav1.GetOrderRequest{})},
		{comandav1.OrderService_GetOrder_FullMethodName, "as known", order(&comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsKnownAt{AsKnownAt: farAway}})},
		{comandav1.OrderService_GetOrder_FullMethodName, "as of a revision", order(&comandav1.GetOrderRequest{AsOf: &comandav1.GetOrderRequest_AsOfRevision{AsOfRevision: 1}})},
		{comandav1.OrderService_BatchGetOrders_FullMethodName, "", func(a *asking) (told []proto.Message) {
			req := &comandav1.BatchGetOrdersRequest{View: comandav1.OrderView_ORDER_VIEW_FULL}
			for _, tenant := range a.tenants() {
				req.OrderIds = append(req.OrderIds, id(tenant))
			}
			got, err := a.orders.BatchGetOrders(a.ctx, req)
			must(a.t, err)
			for _, order := range got.GetOrders() { // of the others it says only that they are missing
				told = append(told, order)
			}
			return told
		}},
		{comandav1.OrderService_GetOrderHistory_FullMethodName, "", point(func(a *asking, tenant string) (*comandav1.GetOrderHistoryResponse, error) {
			return a.orders.GetOrderHistory(a.ctx, &comandav1.GetOrderHistoryRequest{OrderId: id(tenant)})
		})},
		{comandav1.OrderService_ExplainOrder_FullMethodName, "", point(func(a *asking, tenant string) (*comandav1.ExplainOrderResponse, error) {
			return a.orders.ExplainOrder(a.ctx, &comandav1.ExplainOrderRequest{OrderId: id(tenant)})
		})},
		{comandav1.OrderService_WaitOrder_FullMethodName, "by id", wait(func(req *comandav1.WaitOrderRequest, tenant string) {
			req.Order = &comandav1.WaitOrderRequest_OrderId{OrderId: id(tenant)}
		})},
		{comandav1.OrderService_WaitOrder_FullMethodName, "by source", wait(func(req *comandav1.WaitOrderRequest, tenant string) {
			req.Order = &comandav1.WaitOrderRequest_SourceOrder{SourceOrder: of(tenant)}
		})},
		{comandav1.OrderService_WaitOrder_FullMethodName, "by reference", wait(func(req *comandav1.WaitOrderRequest, tenant string) {
			req.Order = &comandav1.WaitOrderRequest_TenantReference{TenantReference: &comandav1.TenantReference{Tenant: tenant, Reference: referenceOf(tenant)}}
		})},
		{comandav1.OrderService_RecordFact_FullMethodName, "by id", record(func(req *comandav1.RecordFactRequest, tenant string) { ofID(id(tenant))(req) })},
		{comandav1.OrderService_RecordFact_FullMethodName, "by source", record(func(req *comandav1.RecordFactRequest, tenant string) {
			req.Order = &comandav1.RecordFactRequest_SourceOrder{SourceOrder: of(tenant)}
			req.RequestId += "-source"
		})},
	}
}

func referenceOf(tenant string) string { return fmt.Sprintf("EX%d", merchants[tenant]/2) }

func purchaseRows() []tenantRow {
	farAway := timestamppb.New(time.Now().Add(time.Hour))
	purchase := func(req *comandav1.GetPurchaseRequest) func(*asking) []proto.Message {
		return point(func(a *asking, tenant string) (*comandav1.GetPurchaseResponse, error) {
			req.Tenant, req.Reference = tenant, referenceOf(tenant)
			return a.purchases.GetPurchase(a.ctx, req)
		})
	}
	list := func(req *comandav1.ListPurchasesRequest) func(*asking) []proto.Message {
		return paged(func(a *asking, token string) (*comandav1.ListPurchasesResponse, error) {
			req.Tenant, req.PageSize, req.PageToken = a.tenant, 1, token
			return a.purchases.ListPurchases(a.ctx, req)
		})
	}
	return []tenantRow{
		{comandav1.PurchaseService_GetPurchase_FullMethodName, "now", purchase(&comandav1.GetPurchaseRequest{})},
		{comandav1.PurchaseService_GetPurchase_FullMethodName, "of the past", purchase(&comandav1.GetPurchaseRequest{AsOf: &comandav1.GetPurchaseRequest_AsOccurredAt{AsOccurredAt: farAway}})},
		{comandav1.PurchaseService_ListPurchases_FullMethodName, "now", list(&comandav1.ListPurchasesRequest{})},
		{comandav1.PurchaseService_ListPurchases_FullMethodName, "of the past", list(&comandav1.ListPurchasesRequest{AsOf: &comandav1.ListPurchasesRequest_AsKnownAt{AsKnownAt: farAway}})},
		{comandav1.PurchaseService_WaitPurchase_FullMethodName, "", point(func(a *asking, tenant string) (*comandav1.WaitPurchaseResponse, error) {
			return a.purchases.WaitPurchase(a.ctx, &comandav1.WaitPurchaseRequest{
				Tenant: tenant, Reference: referenceOf(tenant), Timeout: durationpb.New(time.Millisecond),
			})
		})},
	}
}

func listRows() []tenantRow {
	farAway := timestamppb.New(time.Now().Add(time.Hour))
	orders := func(req *comandav1.ListOrdersRequest) func(*asking) []proto.Message {
		return paged(func(a *asking, token string) (*comandav1.ListOrdersResponse, error) {
			req.Tenant, req.PageSize, req.PageToken = a.tenant, 1, token
			return a.orders.ListOrders(a.ctx, req)
		})
	}
	return []tenantRow{
		{comandav1.OrderService_ListOrders_FullMethodName, "now", orders(&comandav1.ListOrdersRequest{})},
		{comandav1.OrderService_ListOrders_FullMethodName, "of the past", orders(&comandav1.ListOrdersRequest{AsOf: &comandav1.ListOrdersRequest_AsOccurredAt{AsOccurredAt: farAway}})},
		{comandav1.OrderService_ListOrders_FullMethodName, "by a condition", orders(&comandav1.ListOrdersRequest{Filter: "paid > 0"})},
		{comandav1.OrderService_ListOrders_FullMethodName, "by customer", orders(&comandav1.ListOrdersRequest{Customer: "12ABC34501DE35"})},
		{comandav1.QueueService_ListConflicts_FullMethodName, "", paged(func(a *asking, token string) (*comandav1.ListConflictsResponse, error) {
			return a.queues.ListConflicts(a.ctx, &comandav1.ListConflictsRequest{Tenant: a.tenant, PageSize: 1, PageToken: token})
		})},
		{comandav1.QueueService_ListAttention_FullMethodName, "", paged(func(a *asking, token string) (*comandav1.ListAttentionResponse, error) {
			return a.queues.ListAttention(a.ctx, &comandav1.ListAttentionRequest{Tenant: a.tenant, PageSize: 1, PageToken: token})
		})},
		{comandav1.SourceService_GetSource_FullMethodName, "", point(func(a *asking, tenant string) (*comandav1.GetSourceResponse, error) {
			return a.sources.GetSource(a.ctx, &comandav1.GetSourceRequest{Source: tenant + "-checkout"})
		})},
		{comandav1.SourceService_ListSources_FullMethodName, "", func(a *asking) []proto.Message {
			got, err := a.sources.ListSources(a.ctx, &comandav1.ListSourcesRequest{Tenant: a.tenant})
			must(a.t, err)
			return []proto.Message{got}
		}},
	}
}

func statsRows() []tenantRow {
	var rows []tenantRow
	for method, ask := range counts {
		rows = append(rows, tenantRow{method, "", func(a *asking) []proto.Message {
			m, err := ask(a.ctx, a.guarded, &comandav1.StatsQuery{
				Tenant: a.tenant, By: []comandav1.StatsDimension{comandav1.StatsDimension_STATS_DIMENSION_TENANT},
			})
			must(a.t, err)
			return []proto.Message{m}
		}})
	}
	return rows
}

// counts are the methods of counts.
var counts = map[string]func(context.Context, *guarded, *comandav1.StatsQuery) (proto.Message, error){
	comandav1.StatsService_GetFunnel_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetFunnel(ctx, &comandav1.GetFunnelRequest{Query: q})
	},
	comandav1.StatsService_GetApproval_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetApproval(ctx, &comandav1.GetApprovalRequest{Query: q})
	},
	comandav1.StatsService_GetTransitions_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetTransitions(ctx, &comandav1.GetTransitionsRequest{Query: q})
	},
	comandav1.StatsService_GetVerdicts_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetVerdicts(ctx, &comandav1.GetVerdictsRequest{Query: q})
	},
	comandav1.StatsService_GetDwell_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetDwell(ctx, &comandav1.GetDwellRequest{Query: q})
	},
	comandav1.StatsService_GetMoney_FullMethodName: func(ctx context.Context, g *guarded, q *comandav1.StatsQuery) (proto.Message, error) {
		return g.stats.GetMoney(ctx, &comandav1.GetMoneyRequest{Query: q})
	},
}

func eventRows() []tenantRow {
	return []tenantRow{
		{comandav1.EventService_Subscribe_FullMethodName, "", func(a *asking) []proto.Message {
			ctx, cancel := context.WithCancel(a.ctx)
			defer cancel()
			stream, err := a.events.Subscribe(ctx, with(fromBeginning(), a.filter()))
			must(a.t, err)
			return streamed(a, stream.Recv, func(m *comandav1.SubscribeResponse) bool { return m.GetCaughtUp() != nil })
		}},
		{comandav1.EventService_ReadEvents_FullMethodName, "", func(a *asking) []proto.Message {
			stream, err := a.events.ReadEvents(a.ctx, &comandav1.ReadEventsRequest{Filter: a.filter()})
			must(a.t, err)
			return streamed(a, stream.Recv, func(*comandav1.ReadEventsResponse) bool { return false })
		}},
		{comandav1.EventService_ListEvents_FullMethodName, "", paged(func(a *asking, token string) (*comandav1.ListEventsResponse, error) {
			return a.events.ListEvents(a.ctx, &comandav1.ListEventsRequest{Filter: a.filter(), PageSize: 5, PageToken: token})
		})},
		{comandav1.EventService_Consume_FullMethodName, "", (*asking).consumed},
	}
}
