package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

type ordersExplainCmd struct {
	clientFlags
	outputFlag

	ID          string `arg:"" help:"The order's id, as ord_…"`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

// Run says why an order is where it is: as a table, in sentences; as CSV, a fact a line.
func (c *ordersExplainCmd) Run(ctx context.Context, io *stdio) error {
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewOrderServiceClient(conn).ExplainOrder(ctx, &comandav1.ExplainOrderRequest{
			OrderId: c.ID, MinPosition: c.MinPosition,
		})
		switch {
		case err != nil:
			return err
		case c.Output == formatTable:
			return printExplanation(io.out, answer)
		case c.Output != formatCSV:
			return printOne[*comandav1.ExplainOrderResponse](io.out, c.Output, nil, answer)
		}
		p := newPrinter(io.out, c.Output, explainedColumns())
		for _, f := range answer.GetFacts() {
			if err := p.print(f); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

func printExplanation(out io.Writer, answer *comandav1.ExplainOrderResponse) error {
	o := answer.GetOrder()
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // Flush has the error
	line("%s, %s's %s at %s, is %s at revision %d.", o.GetOrderId(), o.GetTenant(), o.GetProviderOrderId(), o.GetProvider(),
		wire.Word(o.GetStatus()), o.GetRevision())
	line("\nIts facts, in the order of time:")
	for _, f := range answer.GetFacts() {
		line("%d.\t%s\t%s", f.GetRevision(), f.GetEventId(), f.GetText())
	}
	line("\nWhat a fact of now would do:")
	for _, n := range answer.GetNext() {
		would := wire.Word(n.GetVerdict())
		switch {
		case n.GetVerdict() == comandav1.Verdict_VERDICT_APPLIED:
			would += ": " + wire.Word(n.GetStatusTo())
		case n.GetVerdict() == comandav1.Verdict_VERDICT_CONFLICT:
			would = "refused: " + n.GetWhy()
		case n.GetWhy() != "":
			would += ": " + n.GetWhy()
		}
		line("%s\t%s", wire.Word(n.GetKind()), would)
	}
	return w.Flush()
}

func explainedColumns() []column[*comandav1.ExplainedFact] {
	type f = *comandav1.ExplainedFact
	return []column[f]{
		{name: "effective_at", text: func(m f) string { return timeText(m.GetEffectiveAt()) }},
		{name: "revision", text: func(m f) string { return strconv.FormatUint(m.GetRevision(), 10) }},
		{name: "event_id", text: f.GetEventId},
		{name: "kind", text: func(m f) string { return wire.Word(m.GetKind()) }},
		{name: "verdict", text: func(m f) string { return wire.Word(m.GetVerdict()) }},
		{name: "why", text: f.GetWhy},
		{name: "part", text: f.GetPart},
		{name: "part_why", text: f.GetPartWhy},
		{name: "status_before", text: func(m f) string { return wire.Word(m.GetStatusBefore()) }},
		{name: "status_after", text: func(m f) string { return wire.Word(m.GetStatusAfter()) }},
		{name: "text", text: f.GetText},
	}
}
