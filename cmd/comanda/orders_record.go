package main

import (
	"context"
	"crypto/rand"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

type ordersRecordCmd struct {
	clientFlags
	outputFlag

	Kind            string `arg:"" help:"What happened: approved, refunded, cancelled, … or resolved."`
	ID              string `arg:"" optional:"" help:"The order's id, as ord_…; none: as the flags name it."`
	Source          string `help:"With --provider-order-id: the source whose order it is; it may be new."`
	ProviderOrderID string `help:"The order's id at its provider, with --source."`

	Reason           string  `required:"" help:"Why it is recorded so, for whoever asks later. No personal data."`
	Actor            string  `help:"Who says so." env:"USER"`
	At               string  `help:"When it happened: a time, or undated. Default: now." placeholder:"TIME"`
	RequestID        string  `help:"Your id of this fact: made again with the same, the request is recorded once. Needs --at."`
	ExpectedRevision *uint64 `help:"Only if the order has this revision (0: it is new)."`

	Currency  string `help:"ISO 4217." default:"BRL"`
	Total     *int64 `help:"What the order asks, in minor units."`
	Paid      *int64 `help:"What was paid so far, in minor units."`
	Refunded  *int64 `help:"What went back so far, in minor units."`
	PaymentID string `help:"The provider's own id of the payment."`
	Method    string `help:"pix, boleto, card, …"`
	Reference string `help:"The merchant's own code for the purchase."`
	Because   string `help:"Why it was refused or cancelled, as a word: expired, payment_failed, void, fraud, …"`
	Detail    string `help:"A short word more; of resolved, the kind of the attention item."`
	Event     string `help:"Of resolved: the event it is about."`
	Action    string `help:"Of resolved: accept, reject or reopen."`
}

// Run records one fact. What the machine refuses, with what would be legal, ends with
// exit code 4, and nothing is stored.
func (c *ordersRecordCmd) Run(ctx context.Context, io *stdio) error {
	req, err := c.request(io)
	if err != nil {
		return err
	}
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewOrderServiceClient(conn).RecordFact(ctx, req)
		if err != nil {
			return err
		}
		return printOne(io.out, c.Output, recordedColumns(), answer)
	})
}

func (c *ordersRecordCmd) request(io *stdio) (*comandav1.RecordFactRequest, error) {
	req := &comandav1.RecordFactRequest{
		RequestId: c.RequestID, Reason: c.Reason, Actor: c.Actor, ExpectedRevision: c.ExpectedRevision,
	}
	switch {
	case c.ID != "":
		req.Order = &comandav1.RecordFactRequest_OrderId{OrderId: c.ID}
	case c.Source != "" && c.ProviderOrderID != "":
		req.Order = &comandav1.RecordFactRequest_SourceOrder{SourceOrder: &comandav1.SourceOrder{Source: c.Source, ProviderOrderId: c.ProviderOrderID}}
	default:
		return nil, usagef("say which order: its id, or --source and --provider-order-id")
	}
	if c.RequestID == "" {
		req.RequestId = rand.Text()
	} else if c.At == "" {
		return nil, usagef("--request-id needs --at: a repeat must say the same, and now is another time then")
	}
	var err error
	req.Fact, err = c.fact(io)
	return req, err
}

func (c *ordersRecordCmd) fact(io *stdio) (*comandav1.NewFact, error) {
	kind, ok := domain.ParseKind(c.Kind)
	if !ok || kind == domain.KindUnknown {
		return nil, usagef("%s: not a kind of fact", c.Kind)
	}
	fact := &comandav1.NewFact{
		Kind: wire.Kind(kind), Reference: c.Reference, Reason: c.Because, Detail: c.Detail,
		Payment: &comandav1.Payment{Method: c.Method, PaymentId: c.PaymentID},
	}
	if c.Total != nil || c.Paid != nil || c.Refunded != nil {
		fact.Amounts = &comandav1.Amounts{Currency: c.Currency, Total: c.Total, Paid: c.Paid, Refunded: c.Refunded}
	}
	if c.Event != "" || c.Action != "" {
		fact.Resolution = &comandav1.Resolution{EventId: c.Event, Action: c.Action}
	}
	var err error
	switch c.At {
	case "":
		fact.OccurredAt = timestamppb.New(io.now())
	case "undated":
	default:
		fact.OccurredAt, err = parseMoment("--at", c.At)
	}
	return fact, err
}

func recordedColumns() []column[*comandav1.RecordFactResponse] {
	type r = *comandav1.RecordFactResponse
	return []column[r]{
		{name: "order_id", text: r.GetOrderId},
		{name: "verdict", text: func(m r) string { return wire.Word(m.GetVerdict()) }},
		{name: "status", text: func(m r) string { return wire.Word(m.GetStatus()) }},
		{name: "revision", text: func(m r) string { return strconv.FormatUint(m.GetRevision(), 10) }},
		{name: "event_id", text: r.GetEventId},
		{name: "position", text: r.GetPosition},
		{name: "duplicate", text: func(m r) string { return strconv.FormatBool(m.GetDuplicate()) }},
	}
}
