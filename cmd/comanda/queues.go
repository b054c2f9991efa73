package main

import (
	"context"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// conflictsCmd reads open conflicts.
type conflictsCmd struct {
	List conflictsListCmd `cmd:"" help:"List the events that their orders' facts contradict, the last recorded first."`
}

// attentionCmd reads what an operator should see.
type attentionCmd struct {
	List attentionListCmd `cmd:"" help:"List all that an operator should see, the last recorded first."`
}

// queueFlags are those of both lists.
type queueFlags struct {
	clientFlags
	outputFlag

	Tenant      string `help:"Only this merchant's."`
	Limit       int    `help:"At most so many (0: all)." default:"100"`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

type conflictsListCmd struct{ queueFlags }

// Run pages through ListConflicts.
func (c *conflictsListCmd) Run(ctx context.Context, io *stdio) error {
	return c.list(ctx, io, func(
		ctx context.Context, client comandav1.QueueServiceClient, size int32, token string,
	) ([]*comandav1.QueueItem, string, error) {
		page, err := client.ListConflicts(ctx, &comandav1.ListConflictsRequest{
			Tenant: c.Tenant, MinPosition: c.MinPosition, PageSize: size, PageToken: token,
		})
		return page.GetItems(), page.GetNextPageToken(), err
	})
}

type attentionListCmd struct {
	queueFlags

	Kind []string `help:"Only items of one of these kinds (conflict, held_back, overpaid, …)."`
}

// Run pages through ListAttention.
func (c *attentionListCmd) Run(ctx context.Context, io *stdio) error {
	return c.list(ctx, io, func(
		ctx context.Context, client comandav1.QueueServiceClient, size int32, token string,
	) ([]*comandav1.QueueItem, string, error) {
		page, err := client.ListAttention(ctx, &comandav1.ListAttentionRequest{
			Tenant: c.Tenant, Kinds: c.Kind, MinPosition: c.MinPosition, PageSize: size, PageToken: token,
		})
		return page.GetItems(), page.GetNextPageToken(), err
	})
}

func (c *queueFlags) list(ctx context.Context, io *stdio, read func(
	ctx context.Context, client comandav1.QueueServiceClient, size int32, token string,
) ([]*comandav1.QueueItem, string, error),
) error {
	p := newPrinter(io.out, c.Output, queueColumns())
	return c.with(func(conn *grpc.ClientConn) error {
		client := comandav1.NewQueueServiceClient(conn)
		return pages(c.Limit, p, func(size int32, token string) ([]*comandav1.QueueItem, string, error) {
			ctx, cancel := c.unary(ctx)
			defer cancel()
			return read(ctx, client, size, token)
		})
	})
}

func queueColumns() []column[*comandav1.QueueItem] {
	type i = *comandav1.QueueItem
	return []column[i]{
		{name: "recorded_at", text: func(m i) string { return timeText(m.GetRecordedAt()) }},
		{name: "kind", text: i.GetKind},
		{name: "tenant", text: i.GetTenant},
		{name: "order_id", text: i.GetOrderId},
		{name: "event_id", text: i.GetEventId},
		{name: "fact_kind", text: func(m i) string { return wire.Word(m.GetFactKind()) }},
		{name: "verdict", text: func(m i) string { return wire.Word(m.GetVerdict()) }},
		{name: "status", text: func(m i) string { return wire.Word(m.GetStatus()) }},
		{name: "source", text: i.GetSource},
		{name: "provider_order_id", text: i.GetProviderOrderId},
		{name: "reference", text: i.GetReference},
	}
}
