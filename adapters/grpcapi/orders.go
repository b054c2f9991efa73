package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Page sizes of ListOrders.
const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

const orderResource = "comanda.v1.Order"

// orderService answers from the views.
type orderService struct {
	comandav1.UnimplementedOrderServiceServer

	orders    Orders
	histories Histories
	past      Past
	customers Customers
	reads
}

// GetOrder implements [comandav1.OrderServiceServer].
func (s *orderService) GetOrder(ctx context.Context, req *comandav1.GetOrderRequest) (*comandav1.GetOrderResponse, error) {
	var check checker
	id := check.orderID("order_id", req.GetOrderId())
	full := check.view("view", req.GetView())
	position := check.position("min_position", req.GetMinPosition())
	moment, past := check.moment(req)
	if at, ok := req.GetAsOf().(*comandav1.GetOrderRequest_AsOfRevision); ok {
		moment, past = asof.Revision(at.AsOfRevision), true
	}
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.awaitPast(ctx, position, past); err != nil {
		return nil, err
	}
	row, found, err := s.get(ctx, id, moment, past)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFoundThen(orderResource, string(id), past)
	}
	if !full {
		orders.Basic(row)
	}
	return &comandav1.GetOrderResponse{Order: row}, nil
}

func (s *orderService) get(ctx context.Context, id domain.OrderID, moment asof.Moment, past bool) (*comandav1.Order, bool, error) {
	if past {
		return s.past.Order(ctx, id, moment)
	}
	return s.orders.Get(id)
}

// ListOrders implements [comandav1.OrderServiceServer].
func (s *orderService) ListOrders(ctx context.Context, req *comandav1.ListOrdersRequest) (*comandav1.ListOrdersResponse, error) {
	var check checker
	filter := orders.Filter{
		Tenant:    check.tenant(req.GetTenant()),
		Statuses:  check.statuses("statuses", req.GetStatuses()),
		Source:    check.source(req.GetSource()),
		Reference: req.GetReference(),
		Attention: req.GetAttention(),

		ProviderOrderID: req.GetProviderOrderId(),
	}
	page := orders.Page{Size: check.pageSize("page_size", req.GetPageSize()), Token: req.GetPageToken()}
	names := check.customer(req.GetCustomer())
	full := check.view("view", req.GetView())
	position := check.position("min_position", req.GetMinPosition())
	moment, past := check.moment(req)
	err := check.err()
	if err != nil {
		return nil, err
	}
	if err := s.awaitPast(ctx, position, past); err != nil {
		return nil, err
	}
	if filter.Among, err = s.among(ctx, filter.Tenant, names); err != nil {
		return nil, err
	}
	rows, next, err := s.list(ctx, filter, page, moment, past)
	if err != nil {
		return nil, err
	}
	if !full {
		for _, row := range rows {
			orders.Basic(row)
		}
	}
	return &comandav1.ListOrdersResponse{Orders: rows, NextPageToken: next}, nil
}

func (s *orderService) list(
	ctx context.Context, filter orders.Filter, page orders.Page, moment asof.Moment, past bool,
) (rows []*comandav1.Order, next string, err error) {
	if past {
		return s.past.Orders(ctx, filter, moment, page)
	}
	return s.orders.List(filter, page)
}

// GetOrderHistory implements [comandav1.OrderServiceServer].
func (s *orderService) GetOrderHistory(ctx context.Context, req *comandav1.GetOrderHistoryRequest) (*comandav1.GetOrderHistoryResponse, error) {
	var check checker
	id := check.orderID("order_id", req.GetOrderId())
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	events, err := s.histories.History(id)
	if err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, notFound(orderResource, string(id))
	}
	return &comandav1.GetOrderHistoryResponse{Events: events}, nil
}

// reads is what every service that answers from the views waits with.
type reads struct {
	views Views
	log   Log
}

// awaitPast is await; who asks of the past also waits until the views hold all that
// was recorded before the call, of which some may be of the moment asked for.
func (r *reads) awaitPast(ctx context.Context, position domain.Position, past bool) error {
	if past {
		head, err := r.log.Head(ctx)
		if err != nil {
			return fmt.Errorf("read the head of the log: %w", err)
		}
		if err := r.await(ctx, head); err != nil {
			return err
		}
	}
	return r.await(ctx, position)
}

// await refuses while the views are being built, for an order that they do not
// know yet may well exist; then it waits for position.
func (r *reads) await(ctx context.Context, position domain.Position) error {
	select {
	case <-r.views.Ready():
	default:
		return domain.Errorf(domain.Unavailable, "the views are still reading the log")
	}
	return r.views.Wait(ctx, position)
}

// checker collects the violations of a request's fields.
type checker struct{ fields map[string][]string }

func (c *checker) violate(field, rule string) {
	if c.fields == nil {
		c.fields = map[string][]string{}
	}
	c.fields[field] = append(c.fields[field], rule)
}

// err is of kind Invalid and has all violations; nil when there are none.
func (c *checker) err() error {
	if len(c.fields) == 0 {
		return nil
	}
	err := domain.Errorf(domain.Invalid, "the request is not valid")
	err.Fields = c.fields
	return err
}

// pastRequest is one that may ask of the past.
type pastRequest interface {
	GetAsKnownAt() *timestamppb.Timestamp
	GetAsOccurredAt() *timestamppb.Timestamp
}

// moment is as of when a request asks; false: as of now.
func (c *checker) moment(req pastRequest) (m asof.Moment, past bool) {
	for _, as := range []struct {
		field string
		at    *timestamppb.Timestamp
		of    func(time.Time) asof.Moment
	}{
		{"as_known_at", req.GetAsKnownAt(), asof.KnownAt}, {"as_occurred_at", req.GetAsOccurredAt(), asof.OccurredAt},
	} {
		if as.at == nil {
			continue
		}
		if as.at.CheckValid() != nil {
			c.violate(as.field, "must be a time of the years 1 to 9999")
		}
		m, past = as.of(as.at.AsTime()), true
	}
	return m, past
}

func (c *checker) orderID(field, text string) domain.OrderID { //nolint:unparam // as all its siblings
	id := domain.OrderID(text)
	switch {
	case text == "":
		c.violate(field, "is required")
	case !id.Valid():
		c.violate(field, `must be "ord_" and 26 characters of a-z and 2-7`)
	}
	return id
}

func (c *checker) tenant(text string) domain.TenantID {
	id := domain.TenantID(text)
	if text != "" && !id.Valid() {
		c.violate("tenant", "must be 1 to 40 of a-z, 0-9 and -")
	}
	return id
}

func (c *checker) source(text string) domain.SourceID {
	id := domain.SourceID(text)
	if text != "" && !id.Valid() {
		c.violate("source", "must be 1 to 40 of a-z, 0-9 and -")
	}
	return id
}

func (c *checker) statuses(field string, in []comandav1.OrderStatus) []domain.Status {
	out := make([]domain.Status, 0, len(in))
	for _, s := range in {
		status, ok := wire.FromStatus(s)
		if !ok {
			c.violate(field, "must be statuses of OrderStatus, and not UNSPECIFIED")
			break
		}
		out = append(out, status)
	}
	return out
}

func (c *checker) pageSize(field string, size int32) int {
	switch {
	case size == 0:
		return defaultPageSize
	case size < 0 || size > maxPageSize:
		c.violate(field, "must be 1 to 1000, or 0 for 100")
	}
	return int(size)
}

// view reports whether all of an order is asked for.
func (c *checker) view(field string, view comandav1.OrderView) bool {
	switch view {
	case comandav1.OrderView_ORDER_VIEW_UNSPECIFIED, comandav1.OrderView_ORDER_VIEW_BASIC:
		return false
	case comandav1.OrderView_ORDER_VIEW_FULL:
		return true
	default:
		c.violate(field, "must be ORDER_VIEW_BASIC or ORDER_VIEW_FULL")
		return false
	}
}

func (c *checker) position(field, text string) domain.Position {
	position, err := domain.ParsePosition(text)
	if err != nil {
		c.violate(field, "must be a position from an answer of Comanda")
	}
	return position
}
