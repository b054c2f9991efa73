package grpcapi

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/celfilter"
	"comanda.internal/domain"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// defaultPageSize is that of a request that names none.
const defaultPageSize = 100

const orderResource = "comanda.v1.Order"

// orderService answers from the views.
type orderService struct {
	comandav1.UnimplementedOrderServiceServer

	orders    Orders
	histories Histories
	past      Past
	recorder  Recorder
	room      Room
	filters   *celfilter.Compiler
	sources   sources
	clock     func() time.Time
	customers Customers
	reads
}

// GetOrder implements [comandav1.OrderServiceServer].
func (s *orderService) GetOrder(ctx context.Context, req *comandav1.GetOrderRequest) (*comandav1.GetOrderResponse, error) {
	var check checker
	id := check.orderID("order_id", req.GetOrderId())
	full := isFull(req.GetView())
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
	if !found || !allowed(ctx, row) {
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

// BatchGetOrders implements [comandav1.OrderServiceServer].
func (s *orderService) BatchGetOrders(ctx context.Context, req *comandav1.BatchGetOrdersRequest) (*comandav1.BatchGetOrdersResponse, error) {
	var check checker
	ids := make([]domain.OrderID, len(req.GetOrderIds()))
	for i, text := range req.GetOrderIds() {
		ids[i] = check.orderID(fmt.Sprintf("order_ids[%d]", i), text)
	}
	full := isFull(req.GetView())
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return nil, err
	}
	out := &comandav1.BatchGetOrdersResponse{}
	for _, id := range ids {
		row, found, err := s.orders.Get(id)
		if err != nil {
			return nil, err
		}
		if !found || !allowed(ctx, row) {
			out.MissingOrderIds = append(out.MissingOrderIds, string(id))
			continue
		}
		if !full {
			orders.Basic(row)
		}
		out.Orders = append(out.Orders, row)
	}
	return out, nil
}

// ListOrders implements [comandav1.OrderServiceServer].
func (s *orderService) ListOrders(ctx context.Context, req *comandav1.ListOrdersRequest) (*comandav1.ListOrdersResponse, error) {
	var check checker
	filter := orders.Filter{
		Tenant:    check.tenant(req.GetTenant()),
		Within:    access.From(ctx).Tenants(),
		Statuses:  check.statuses("statuses", req.GetStatuses()),
		Source:    check.source(req.GetSource()),
		Reference: req.GetReference(),
		Attention: req.GetAttention(),

		ProviderOrderID: req.GetProviderOrderId(),
	}
	page := orders.Page{Size: pageSize(req.GetPageSize()), Token: req.GetPageToken()}
	names := check.customer(req.GetCustomer())
	full := isFull(req.GetView())
	position := check.position("min_position", req.GetMinPosition())
	moment, past := check.moment(req)
	filter.Sort = check.orderBy("order_by", req.GetOrderBy(), past)
	s.where(ctx, &check, req.GetFilter(), &filter)
	err := check.err()
	if err != nil {
		return nil, err
	}
	if err := s.awaitPast(ctx, position, past); err != nil {
		return nil, err
	}
	if filter.Among, err = s.among(ctx, &filter, names); err != nil {
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

// where adds a condition in CEL to filter. Asked of thousands of orders, one that is within
// its cost for each may take minutes, so it is asked no more once the call has ended.
func (s *orderService) where(ctx context.Context, check *checker, text string, filter *orders.Filter) {
	if text == "" {
		return
	}
	condition, err := s.filters.Compile(text)
	if err != nil {
		for _, problem := range violationsOf(err)["filter"] {
			check.violate("filter", problem)
		}
		return
	}
	filter.Written = text
	filter.Where = func(row *comandav1.Order) (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("ask the filter of an order: %w", err)
		}
		return condition.Matches(row)
	}
	condition.Narrow(filter)
}

// orderBy is in which order a list comes: one that an index has.
func (c *checker) orderBy(field, text string, past bool) orders.Sort {
	sorts := map[string]orders.Sort{
		"":                       {},
		"recorded_at":            {By: orders.SortRecorded, Ascending: true},
		"recorded_at asc":        {By: orders.SortRecorded, Ascending: true},
		"recorded_at desc":       {By: orders.SortRecorded},
		"first_recorded_at":      {By: orders.SortFirst, Ascending: true},
		"first_recorded_at asc":  {By: orders.SortFirst, Ascending: true},
		"first_recorded_at desc": {By: orders.SortFirst},
	}
	sort, ok := sorts[text]
	switch {
	case !ok:
		c.violate(field, `must be "recorded_at", "first_recorded_at", either with " desc" after it, or empty`)
	case past && text != "" && sort != orders.Sort{By: orders.SortFirst}:
		c.violate(field, `of the past, must be "first_recorded_at desc" or empty`)
	}
	return sort
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
	_, events, err := s.history(ctx, req)
	if err != nil {
		return nil, err
	}
	return &comandav1.GetOrderHistoryResponse{Events: events}, nil
}

// history are the events of the order that a request names, by revision, at least one.
func (s *orderService) history(ctx context.Context, req interface {
	GetOrderId() string
	GetMinPosition() string
},
) (domain.OrderID, []*comandav1.Event, error) {
	var check checker
	id := check.orderID("order_id", req.GetOrderId())
	position := check.position("min_position", req.GetMinPosition())
	if err := check.err(); err != nil {
		return "", nil, err
	}
	if err := s.await(ctx, position); err != nil {
		return "", nil, err
	}
	events, err := s.histories.History(id)
	if err != nil {
		return "", nil, err
	}
	if len(events) == 0 || !allowed(ctx, events[0]) {
		return "", nil, notFound(orderResource, string(id))
	}
	return id, events, nil
}

// allowed reports whether the caller may know of what is one tenant's. Each answer
// and each event is asked about by itself.
func allowed(ctx context.Context, of interface{ GetTenant() string }) bool {
	return access.From(ctx).AllowsTenant(domain.TenantID(of.GetTenant()))
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
	case <-r.views.Answering():
	default:
		return domain.Errorf(domain.Unavailable, "the views are still reading the log")
	}
	if err := r.views.Wait(ctx, position); err != nil {
		return err
	}
	return tellOutdated(ctx, r.views)
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

func (c *checker) orderID(field, text string) domain.OrderID {
	id := domain.OrderID(text)
	switch {
	case text == "":
		c.violate(field, "is required")
	case !id.Valid():
		c.violate(field, orderIDRule)
	}
	return id
}

func (c *checker) tenant(text string) domain.TenantID {
	id := domain.TenantID(text)
	if text != "" && !id.Valid() {
		c.violate("tenant", nameRule)
	}
	return id
}

func (c *checker) source(text string) domain.SourceID {
	id := domain.SourceID(text)
	if text != "" && !id.Valid() {
		c.violate("source", nameRule)
	}
	return id
}

func (c *checker) statuses(field string, in []comandav1.OrderStatus) []domain.Status { //nolint:unparam // as all its siblings
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

// pageSize is that of a request, whose own rules bound it.
func pageSize(size int32) int { return cmp.Or(int(size), defaultPageSize) }

// isFull reports whether all of an order is asked for.
func isFull(view comandav1.OrderView) bool { return view == comandav1.OrderView_ORDER_VIEW_FULL }

func (c *checker) position(field, text string) domain.Position {
	position, err := domain.ParsePosition(text)
	if err != nil {
		c.violate(field, "must be a position from an answer of Comanda")
	}
	return position
}
