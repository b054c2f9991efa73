package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// ordersCmd reads orders, and records what an operator knows of one.
type ordersCmd struct {
	List    ordersListCmd    `cmd:"" help:"List orders, the last recorded first."`
	Get     ordersGetCmd     `cmd:"" help:"Show one order."`
	History ordersHistoryCmd `cmd:"" help:"Show every event of one order, with its verdict."`
	Explain ordersExplainCmd `cmd:"" help:"Say why an order is where it is, and what each kind of fact would do next."`
	Wait    ordersWaitCmd    `cmd:"" help:"Wait until an order is in a status, or at a revision, also one that does not exist yet."`
	Record  ordersRecordCmd  `cmd:"" help:"Record a fact of an order; nothing is stored of one that the machine refuses."`
	Watch   ordersWatchCmd   `cmd:"" help:"Follow orders as they change."`
	Export  ordersExportCmd  `cmd:"" help:"Write the orders as they are now as files for analysts."`
}

type ordersListCmd struct {
	clientFlags
	outputFlag
	asOfFlag
	pastFlags

	Tenant    string   `help:"Only this merchant's."`
	Status    []string `help:"Only orders in one of these statuses (started, pending, approved, …)."`
	Source    string   `help:"Only orders whose first event came through this source."`
	Reference string   `help:"Only orders with this merchant reference."`
	Attention bool     `help:"Only orders that an operator should see."`

	ProviderOrderID string `help:"Only orders with this id at their provider."`

	Filter  string `help:"Only orders of which this condition in CEL is true, as 'status == \"approved\" && paid > 10000'."`
	OrderBy string `help:"recorded_at or first_recorded_at, either with ' desc' after it."`

	Customer     string `xor:"customer" help:"Only this person's orders: an e-mail address, a phone number, a CPF or a CNPJ. Others on this machine see it: rather --customer-file." placeholder:"WHO"`
	CustomerFile string `xor:"customer" help:"The same, from a file; '-': standard input." placeholder:"FILE"`

	Limit       int    `help:"At most so many (0: all)." default:"100"`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

// Run pages through ListOrders.
func (c *ordersListCmd) Run(ctx context.Context, io *stdio) error {
	req := &comandav1.ListOrdersRequest{
		Tenant: c.Tenant, Reference: c.Reference, MinPosition: c.MinPosition, Source: c.Source,
		ProviderOrderId: c.ProviderOrderID, Attention: c.Attention, Filter: c.Filter, OrderBy: c.OrderBy, View: comandav1.OrderView_ORDER_VIEW_FULL,
	}
	var err error
	if req.Customer, err = c.customer(io); err != nil {
		return err
	}
	if req.Statuses, err = parseStatuses(c.Status); err != nil {
		return err
	}
	as, err := c.moment(c.AsOf)
	if err != nil {
		return err
	}
	if as.known != nil {
		req.AsOf = &comandav1.ListOrdersRequest_AsKnownAt{AsKnownAt: as.known}
	}
	if as.occurred != nil {
		req.AsOf = &comandav1.ListOrdersRequest_AsOccurredAt{AsOccurredAt: as.occurred}
	}
	return c.with(func(conn *grpc.ClientConn) error {
		return c.list(ctx, comandav1.NewOrderServiceClient(conn), req, io)
	})
}

func (c *ordersListCmd) list(
	ctx context.Context, client comandav1.OrderServiceClient, req *comandav1.ListOrdersRequest, io *stdio,
) error {
	p := newPrinter(io.out, c.Output, orderColumns())
	return pages(c.Limit, p, func(size int32, token string) ([]*comandav1.Order, string, error) {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		req.PageSize, req.PageToken = size, token
		page, err := client.ListOrders(ctx, req)
		return page.GetOrders(), page.GetNextPageToken(), err
	})
}

// pages prints page after page until limit, or all when it is 0.
func pages[M proto.Message](limit int, p *printer[M], read func(size int32, token string) ([]M, string, error)) error {
	for token := ""; ; {
		page, next, err := read(pageSize(limit, p.count), token)
		if err != nil {
			return err
		}
		for _, m := range page {
			if err := p.print(m); err != nil {
				return err
			}
		}
		if token = next; token == "" || limit > 0 && p.count >= limit {
			return p.flush()
		}
	}
}

// pageSize is what is still wanted of limit, at most the server's own greatest page.
func pageSize(limit, have int) int32 {
	const greatest = 1000
	if limit <= 0 || limit-have > greatest {
		return greatest
	}
	return int32(limit - have) //nolint:gosec // at most 1000
}

func parseStatuses(words []string) ([]comandav1.OrderStatus, error) {
	var out []comandav1.OrderStatus
	for _, w := range words {
		s, ok := domain.ParseStatus(w)
		if !ok {
			return nil, usagef("--status %s: not a status; one of none started pending approved refused cancelled refunded chargeback", w)
		}
		out = append(out, wire.Status(s))
	}
	return out, nil
}

type ordersGetCmd struct {
	clientFlags
	outputFlag
	pastFlags

	ID          string `arg:"" help:"The order's id, as ord_…"`
	AsOf        string `xor:"past" placeholder:"TIME|REVISION" help:"Short for --as-known-at; or what we knew when the order had REVISION events."`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

// Run shows one order; as a table, a field a line.
func (c *ordersGetCmd) Run(ctx context.Context, io *stdio) error {
	req, err := c.request()
	if err != nil {
		return err
	}
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewOrderServiceClient(conn).GetOrder(ctx, req)
		if err != nil {
			return err
		}
		return printOne(io.out, c.Output, orderColumns(), answer.GetOrder())
	})
}

func (c *ordersGetCmd) request() (*comandav1.GetOrderRequest, error) {
	req := &comandav1.GetOrderRequest{OrderId: c.ID, View: comandav1.OrderView_ORDER_VIEW_FULL, MinPosition: c.MinPosition}
	if revision, ok := parseRevision(c.AsOf); ok {
		req.AsOf = &comandav1.GetOrderRequest_AsOfRevision{AsOfRevision: revision}
		return req, nil
	}
	as, err := c.moment(c.AsOf)
	if as.known != nil {
		req.AsOf = &comandav1.GetOrderRequest_AsKnownAt{AsKnownAt: as.known}
	}
	if as.occurred != nil {
		req.AsOf = &comandav1.GetOrderRequest_AsOccurredAt{AsOccurredAt: as.occurred}
	}
	return req, err
}

type ordersHistoryCmd struct {
	clientFlags
	outputFlag

	ID          string `arg:"" help:"The order's id, as ord_…"`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

// Run shows every event of one order.
func (c *ordersHistoryCmd) Run(ctx context.Context, io *stdio) error {
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewOrderServiceClient(conn).GetOrderHistory(ctx, &comandav1.GetOrderHistoryRequest{
			OrderId: c.ID, MinPosition: c.MinPosition,
		})
		if err != nil {
			return err
		}
		p := newPrinter(io.out, c.Output, eventColumns())
		for _, e := range answer.GetEvents() {
			if err := p.print(e); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

type ordersWatchCmd struct {
	clientFlags
	outputFlag

	ID    string `arg:"" optional:"" help:"The order's id; none: every order."`
	Until string `help:"End when an order comes to this status."`
}

// Run prints what moves orders from now on; of one order its history first.
func (c *ordersWatchCmd) Run(ctx context.Context, out *stdio) error {
	if c.Until != "" {
		if _, err := parseStatuses([]string{c.Until}); err != nil {
			return err
		}
	}
	start := &comandav1.SubscribeRequest{
		Start:  &comandav1.SubscribeRequest_Now_{Now: &comandav1.SubscribeRequest_Now{}},
		Filter: &comandav1.EventFilter{Verdicts: []comandav1.Verdict{comandav1.Verdict_VERDICT_APPLIED}},
	}
	if c.ID != "" {
		start.Start = &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}}
		start.Filter.OrderIds = []string{c.ID}
	}
	p := newPrinter(out.out, c.Output, eventColumns())
	return c.tail(ctx, start, p, func(m *comandav1.SubscribeResponse) (bool, error) {
		e := m.GetEvent().GetEvent()
		if e == nil {
			return false, nil
		}
		if err := p.print(e); err != nil {
			return true, err
		}
		return c.Until != "" && wire.Word(e.GetStatusTo()) == c.Until, p.live()
	})
}

// tail subscribes and hands every message to handle until it says that it is
// done, the stream ends, or ctx does, which is no error.
func (f *clientFlags) tail(
	ctx context.Context, req *comandav1.SubscribeRequest, p *printer[*comandav1.Event],
	handle func(*comandav1.SubscribeResponse) (done bool, err error),
) error {
	return f.with(func(conn *grpc.ClientConn) error {
		streamCtx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := comandav1.NewEventServiceClient(conn).Subscribe(streamCtx, req)
		if err != nil {
			return err
		}
		for done := false; !done; {
			m, err := stream.Recv()
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if done, err = handle(m); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

func orderColumns() []column[*comandav1.Order] {
	type o = *comandav1.Order
	return []column[o]{
		{name: "order_id", text: o.GetOrderId},
		{name: "tenant", text: o.GetTenant},
		{name: "provider", text: o.GetProvider},
		{name: "provider_order_id", text: o.GetProviderOrderId},
		{name: "reference", text: o.GetReference},
		{name: "status", text: func(m o) string { return wire.Word(m.GetStatus()) }},
		{name: "revision", text: func(m o) string { return strconv.FormatUint(m.GetRevision(), 10) }},
		{name: "total", text: func(m o) string { return amountText(m.Total) }},
		{name: "paid", text: func(m o) string { return amountText(m.Paid) }},
		{name: "refunded", text: func(m o) string { return amountText(m.Refunded) }},
		{name: "method", text: o.GetMethod},
		{name: "updated_at", text: func(m o) string { return timeText(m.GetUpdatedAt()) }},
		{name: "attention", text: attentionText},
	}
}

func eventColumns() []column[*comandav1.Event] {
	type e = *comandav1.Event
	return []column[e]{
		{name: "recorded_at", width: 20, text: func(m e) string { return timeText(m.GetRecordedAt()) }},
		{name: "order_id", width: 30, text: e.GetOrderId},
		{name: "revision", width: 8, text: func(m e) string { return strconv.FormatUint(m.GetRevision(), 10) }},
		{name: "kind", width: 18, text: func(m e) string { return wire.Word(m.GetKind()) }},
		{name: "verdict", width: 8, text: func(m e) string { return wire.Word(m.GetVerdict()) }},
		{name: "status_from", width: 11, text: func(m e) string { return wire.Word(m.GetStatusFrom()) }},
		{name: "status_to", width: 10, text: func(m e) string { return wire.Word(m.GetStatusTo()) }},
		{name: "effective_at", width: 20, text: func(m e) string { return timeText(m.GetEffectiveAt()) }},
		{name: "event_id", width: 26, text: e.GetEventId},
		{name: "why", text: e.GetWhy},
	}
}

// amountText is minor units as a decimal; "" when unknown.
func amountText(minor *int64) string {
	if minor == nil {
		return ""
	}
	sign, n := "", *minor
	if n < 0 {
		sign, n = "-", -n
	}
	cents := strconv.FormatInt(n%100, 10)
	return sign + strconv.FormatInt(n/100, 10) + "." + strings.Repeat("0", 2-len(cents)) + cents
}

func timeText(ts *timestamppb.Timestamp) string {
	if ts == nil {
		return ""
	}
	return ts.AsTime().Format(time.RFC3339)
}

func attentionText(o *comandav1.Order) string {
	var words []string
	if n := len(o.GetConflicts()); n > 0 {
		words = append(words, strconv.Itoa(n)+" open conflicts")
	}
	for _, a := range o.GetAttention() {
		words = append(words, a.GetKind())
	}
	return strings.Join(words, ", ")
}
