package celfilter

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"google.golang.org/protobuf/types/known/timestamppb"

	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// field is a variable of a condition.
type field struct {
	kind  *cel.Type
	value func(o *comandav1.Order) any
}

func text(of func(*comandav1.Order) string) field {
	return field{cel.StringType, func(o *comandav1.Order) any { return of(o) }}
}

func texts(of func(*comandav1.Order) []string) field {
	return field{cel.ListType(cel.StringType), func(o *comandav1.Order) any { return of(o) }}
}

func truth(of func(*comandav1.Order) bool) field {
	return field{cel.BoolType, func(o *comandav1.Order) any { return of(o) }}
}

func number(of func(*comandav1.Order) int64) field {
	return field{cel.IntType, func(o *comandav1.Order) any { return of(o) }}
}

// sum may be unknown, which is null.
func sum(of func(*comandav1.Order) *int64) field {
	return field{cel.NullableType(cel.IntType), func(o *comandav1.Order) any {
		if n := of(o); n != nil {
			return *n
		}
		return types.NullValue
	}}
}

// moment may be unknown, which is null.
func moment(of func(*comandav1.Order) *timestamppb.Timestamp) field {
	return field{cel.TimestampType, func(o *comandav1.Order) any {
		if at := of(o); at != nil {
			return at.AsTime()
		}
		return types.NullValue
	}}
}

// fields are those of an order, by the names that they have in JSON.
func fields() map[string]field {
	type order = *comandav1.Order
	return map[string]field{
		"order_id":          text(order.GetOrderId),
		"tenant":            text(order.GetTenant),
		"source":            text(order.GetSource),
		"provider":          text(order.GetProvider),
		"account":           text(order.GetAccount),
		"provider_order_id": text(order.GetProviderOrderId),
		"reference":         text(order.GetReference),
		"status":            text(func(o order) string { return wire.Word(o.GetStatus()) }),
		"currency":          text(order.GetCurrency),
		"dispute":           text(order.GetDispute),
		"method":            text(order.GetMethod),
		"phase":             text(order.GetPhase),
		"reason":            text(order.GetReason),
		"detail":            text(order.GetDetail),
		"custom_event":      text(order.GetCustomEvent),

		"revision":     number(func(o order) int64 { return int64(o.GetRevision()) }), //nolint:gosec // at most 1,000
		"installments": number(func(o order) int64 { return int64(o.GetInstallments()) }),

		"total":    sum(func(o order) *int64 { return o.Total }),
		"paid":     sum(func(o order) *int64 { return o.Paid }),
		"refunded": sum(func(o order) *int64 { return o.Refunded }),
		"freight":  sum(func(o order) *int64 { return o.Freight }),
		"discount": sum(func(o order) *int64 { return o.Discount }),

		"started_at":        moment(order.GetStartedAt),
		"abandoned_at":      moment(order.GetAbandonedAt),
		"approved_at":       moment(order.GetApprovedAt),
		"updated_at":        moment(order.GetUpdatedAt),
		"recorded_at":       moment(order.GetRecordedAt),
		"first_recorded_at": moment(order.GetFirstRecordedAt),

		"refund_requested": truth(order.GetRefundRequested),
		"gap":              truth(order.GetGap),
		needsAttention:     truth(func(o order) bool { return len(o.GetAttention())+len(o.GetConflicts()) > 0 }),

		"conflicts":         texts(order.GetConflicts),
		"held_back":         texts(order.GetHeldBack),
		"payment_ids":       texts(order.GetPaymentIds),
		"former_references": texts(order.GetFormerReferences),
		"flags":             texts(order.GetFlags),
		"attention": texts(func(o order) []string {
			kinds := make([]string, len(o.GetAttention()))
			for i, a := range o.GetAttention() {
				kinds[i] = a.GetKind()
			}
			return kinds
		}),

		"utm":   {cel.MapType(cel.StringType, cel.StringType), func(o order) any { return o.GetUtm() }},
		"items": {cel.ListType(cel.ObjectType("comanda.v1.Item")), func(o order) any { return o.GetItems() }},
	}
}

// needsAttention is true of an order that an operator should see.
const needsAttention = "needs_attention"

// row is an order as a condition sees it.
type row struct {
	fields map[string]field
	order  *comandav1.Order
}

// ResolveName implements [cel.Activation].
func (r row) ResolveName(name string) (any, bool) {
	f, ok := r.fields[name]
	if !ok {
		return nil, false
	}
	return f.value(r.order), true
}

// Parent implements [cel.Activation].
func (row) Parent() cel.Activation { return nil }
