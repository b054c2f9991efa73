package grpcapi

import (
	"errors"
	"fmt"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"comanda.internal/adapters/grpcapi/access"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// needs is the one table of what each method needs. A method without a row is nobody's,
// and no server starts with one.
//
// Whole stands where an answer cannot be parted by tenant: the views as files, and
// checks and what-ifs that read all of the log.
var needs = map[string]access.Need{
	comandav1.OrderService_GetOrder_FullMethodName:        access.Scoped(access.OrdersRead),
	comandav1.OrderService_ListOrders_FullMethodName:      access.Scoped(access.OrdersRead),
	comandav1.OrderService_GetOrderHistory_FullMethodName: access.Scoped(access.OrdersRead),
	comandav1.OrderService_BatchGetOrders_FullMethodName:  access.Scoped(access.OrdersRead),
	comandav1.OrderService_ExplainOrder_FullMethodName:    access.Scoped(access.OrdersRead),
	comandav1.OrderService_WaitOrder_FullMethodName:       access.Scoped(access.OrdersRead),
	comandav1.OrderService_RecordFact_FullMethodName:      access.Scoped(access.FactsWrite),

	comandav1.PurchaseService_GetPurchase_FullMethodName:   access.Scoped(access.OrdersRead),
	comandav1.PurchaseService_ListPurchases_FullMethodName: access.Scoped(access.OrdersRead),
	comandav1.PurchaseService_WaitPurchase_FullMethodName:  access.Scoped(access.OrdersRead),

	comandav1.SourceService_GetSource_FullMethodName:   access.Scoped(access.OrdersRead),
	comandav1.SourceService_ListSources_FullMethodName: access.Scoped(access.OrdersRead),

	comandav1.QueueService_ListConflicts_FullMethodName: access.Scoped(access.OrdersRead),
	comandav1.QueueService_ListAttention_FullMethodName: access.Scoped(access.OrdersRead),

	comandav1.StatsService_GetFunnel_FullMethodName:      access.Scoped(access.OrdersRead),
	comandav1.StatsService_GetApproval_FullMethodName:    access.Scoped(access.OrdersRead),
	comandav1.StatsService_GetTransitions_FullMethodName: access.Scoped(access.OrdersRead),
	comandav1.StatsService_GetVerdicts_FullMethodName:    access.Scoped(access.OrdersRead),
	comandav1.StatsService_GetDwell_FullMethodName:       access.Scoped(access.OrdersRead),
	comandav1.StatsService_GetMoney_FullMethodName:       access.Scoped(access.OrdersRead),

	comandav1.EventService_Subscribe_FullMethodName:  access.Scoped(access.EventsRead),
	comandav1.EventService_ReadEvents_FullMethodName: access.Scoped(access.EventsRead),
	comandav1.EventService_ListEvents_FullMethodName: access.Scoped(access.EventsRead),

	comandav1.EventService_Consume_FullMethodName:            access.Scoped(access.EventsRead),
	comandav1.EventService_CreateGroup_FullMethodName:        access.Whole(access.Admin),
	comandav1.EventService_ListGroups_FullMethodName:         access.Whole(access.Admin),
	comandav1.EventService_SeekGroup_FullMethodName:          access.Whole(access.Admin),
	comandav1.EventService_DeleteGroup_FullMethodName:        access.Whole(access.Admin),
	comandav1.EventService_ListParkedEvents_FullMethodName:   access.Whole(access.Admin),
	comandav1.EventService_ReplayParkedEvents_FullMethodName: access.Whole(access.Admin),

	comandav1.ViewService_Verify_FullMethodName:           access.Whole(access.Admin),
	comandav1.ViewService_GetViewStatus_FullMethodName:    access.Whole(access.Admin),
	comandav1.ViewService_RebuildViews_FullMethodName:     access.Whole(access.Admin),
	comandav1.ViewService_PromoteViews_FullMethodName:     access.Whole(access.Admin),
	comandav1.ViewService_CancelViewBuild_FullMethodName:  access.Whole(access.Admin),
	comandav1.ViewService_RollbackViews_FullMethodName:    access.Whole(access.Admin),
	comandav1.ViewService_ListParkedOrders_FullMethodName: access.Whole(access.Admin),
	comandav1.ViewService_RetryParkedOrder_FullMethodName: access.Whole(access.Admin),
	comandav1.ViewService_SkipParkedOrder_FullMethodName:  access.Whole(access.Admin),

	comandav1.MachineService_Replay_FullMethodName: access.Whole(access.Admin),

	healthv1.Health_Check_FullMethodName: access.Open(),
	healthv1.Health_List_FullMethodName:  access.Known(),
	healthv1.Health_Watch_FullMethodName: access.Known(),

	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      access.Known(),
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: access.Known(),
}

// checkNeeds holds the table to the methods that a server has.
func checkNeeds(services map[string]grpc.ServiceInfo) error {
	var errs []error
	registered := map[string]bool{}
	for service, info := range services {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			registered[method] = true
			if _, ok := needs[method]; !ok {
				errs = append(errs, fmt.Errorf("%s has no row in the table of what methods need", method))
			}
		}
	}
	for method := range needs {
		if !registered[method] {
			errs = append(errs, fmt.Errorf("%s has a row in the table of what methods need, and is not served", method))
		}
	}
	return errors.Join(errs...)
}
