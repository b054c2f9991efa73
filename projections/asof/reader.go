package asof

import (
	"context"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Reader reads the past from the views. It is safe for concurrent use.
type Reader struct {
	reader    projections.Reader
	orders    *orders.View
	purchases *purchases.View
	timeline  *timeline.View
}

// New reads from the views that reader gives.
func New(reader projections.Reader) *Reader {
	return &Reader{reader: reader, orders: orders.New(reader), purchases: purchases.New(reader), timeline: timeline.New(reader)}
}

// Order is an order as it was; false when there was none yet.
func (r *Reader) Order(ctx context.Context, id domain.OrderID, m Moment) (row *comandav1.Order, found bool, err error) {
	err = r.reader.View(func(tx *kv.Tx) error {
		s, err := r.state(ctx, tx, id, m)
		if s != nil {
			row = orders.Row(id, s.Source, s)
		}
		return err
	})
	return row, row != nil && err == nil, err
}

// Orders is a page of [orders.View.ListPast].
func (r *Reader) Orders(ctx context.Context, filter orders.Filter, m Moment, page orders.Page) (rows []*comandav1.Order, next string, err error) {
	return r.orders.ListPast(filter, orders.Past{
		Until: m.until(), Written: m.written(),
		Order: func(tx *kv.Tx, now *comandav1.Order) (*comandav1.Order, error) {
			if m.kind == known && !now.GetRecordedAt().AsTime().After(m.at) {
				return now, ctx.Err() // nothing was recorded of it since
			}
			id := domain.OrderID(now.GetOrderId())
			s, err := r.state(ctx, tx, id, m)
			if s == nil {
				return nil, err
			}
			return orders.Row(id, s.Source, s), err
		},
	}, page)
}

// Purchase is a purchase as it was; false when no order had the reference.
func (r *Reader) Purchase(ctx context.Context, tenant domain.TenantID, reference string, m Moment) (*comandav1.Purchase, bool, error) {
	return r.purchases.GetPast(tenant, reference, r.past(ctx, m))
}

// Purchases is a page of [purchases.View.ListPast].
func (r *Reader) Purchases(
	ctx context.Context, filter purchases.Filter, m Moment, page purchases.Page,
) (found []*comandav1.Purchase, next string, err error) {
	return r.purchases.ListPast(filter, r.past(ctx, m), page)
}

func (r *Reader) past(ctx context.Context, m Moment) purchases.Past {
	return purchases.Past{
		Until: m.until(), Written: m.written(),
		Order: func(tx *kv.Tx, id domain.OrderID) (*order.State, error) { return r.state(ctx, tx, id, m) },
	}
}

// state is the order as it was; nil when there was none yet. A call that nobody waits
// for any more ends here.
func (r *Reader) state(ctx context.Context, tx *kv.Tx, id domain.OrderID, m Moment) (*order.State, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	events, err := r.timeline.Events(tx, id)
	if err != nil {
		return nil, err
	}
	s, err := m.fold(events)
	if err != nil {
		return nil, fmt.Errorf("order %s as it was: %w", id, err)
	}
	return s, nil
}
