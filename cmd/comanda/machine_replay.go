package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/whatif"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

type machineReplayCmd struct {
	outputFlag

	Table   string `required:"" type:"path" help:"The other table: a file in the form that 'comanda machine -o csv' prints."`
	Tenant  string `help:"Only this merchant's orders."`
	Server  string `help:"gRPC address of the server. Default: the one that runs on --data-dir." placeholder:"HOST:PORT"`
	DataDir string `help:"Data directory: of a running server, or to be opened when none runs." default:"./comanda-data" type:"path"`
	Config  string `help:"Configuration file of the server that does not run." type:"path"`
	NATSURL string `name:"nats-url" help:"NATS server of the server that does not run."`

	credentialFlags
}

// Run asks the server that runs on the data directory; without one it opens the files
// itself.
func (c *machineReplayCmd) Run(ctx context.Context, out *stdio) error {
	text, err := os.ReadFile(c.Table)
	if err != nil {
		return usagef("--table: %v", err)
	}
	other, err := otherMachine(text) //nolint:contextcheck,nolintlint // looplab is asked with a context that nobody cancels: see order.New; a partial analysis does not see it
	if err != nil {
		return usagef("--table %s: %v", c.Table, err)
	}
	p := newPrinter(out.out, c.Output, differenceColumns())
	progress := newProgress(out)
	progress.doing = "replaying"
	show := func(m *comandav1.ReplayResponse) error {
		if d := m.GetDifference(); d != nil {
			return p.print(d)
		}
		if now := out.now(); m.GetProgress() != nil && progress.due(now) {
			progress.count(now, fmt.Sprintf("%d orders, %d events", m.GetProgress().GetOrders(), m.GetProgress().GetEvents()))
		}
		return nil
	}
	report, err := c.ask(ctx, string(text), show)
	if c.Server == "" && p.count == 0 && exitCode(err) == exitUnavailable {
		report, err = c.offline(ctx, other, out, show)
	}
	progress.done()
	if err != nil {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	to := out.err // records alone go to the output
	if c.Output == formatTable {
		to = out.out
	}
	return printReplayReport(to, report)
}

func otherMachine(text []byte) (*order.Machine, error) {
	table, err := order.ParseTable(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return order.New(table)
}

// ask has the running server replay. Unavailable: none runs.
func (c *machineReplayCmd) ask(
	ctx context.Context, table string, show func(*comandav1.ReplayResponse) error,
) (report *comandav1.ReplayReport, err error) {
	flags := clientFlags{Server: c.Server, DataDir: c.DataDir, credentialFlags: c.credentialFlags}
	err = flags.with(func(conn *grpc.ClientConn) error {
		stream, err := comandav1.NewMachineServiceClient(conn).Replay(ctx, &comandav1.ReplayRequest{Table: table, Tenant: c.Tenant})
		for err == nil && report == nil {
			var m *comandav1.ReplayResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			report = m.GetReport()
			err = show(m)
		}
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Internal, "replay: the server ended without a report")
		}
		return err
	})
	return report, err
}

// offline opens the files of a data directory on which no server runs. Views that are
// behind catch up first, and are written; the log is only read.
func (c *machineReplayCmd) offline(
	ctx context.Context, other *order.Machine, out *stdio, show func(*comandav1.ReplayResponse) error,
) (report *comandav1.ReplayReport, err error) {
	tenant := domain.TenantID(c.Tenant)
	if tenant != "" && !tenant.Valid() {
		return nil, usagef("--tenant %s: must be 1 to 40 of a-z, 0-9 and -", tenant)
	}
	a, err := openOffline(ctx, &serveCmd{DataDir: c.DataDir, Config: c.Config, NATSURL: c.NATSURL, LogLevel: "error"}, out)
	if a != nil {
		defer func() { err = errors.Join(err, a.stack.stop(ctx)) }()
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-a.views.runner.Ready():
	case err := <-a.stack.failed:
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return whatif.New(a.views.file).Replay(ctx, other, tenant, show)
}

func differenceColumns() []column[*comandav1.ReplayDifference] {
	type d = *comandav1.ReplayDifference
	return []column[d]{
		{name: "order_id", text: d.GetOrderId},
		{name: "tenant", text: d.GetTenant},
		{name: "provider_order_id", text: d.GetProviderOrderId},
		{name: "status", text: func(m d) string { return wire.Word(m.GetStatus()) }},
		{name: "other_status", text: func(m d) string { return wire.Word(m.GetOtherStatus()) }},
		{name: "event_id", text: d.GetEventId},
		{name: "effective_at", text: func(m d) string { return timeText(m.GetEffectiveAt()) }},
		{name: "status_before", text: func(m d) string { return wire.Word(m.GetStatusBefore()) }},
		{name: "kind", text: func(m d) string { return wire.Word(m.GetKind()) }},
		{name: "did", text: func(m d) string { return stepText(m.GetDid()) }},
		{name: "other_did", text: func(m d) string { return stepText(m.GetOtherDid()) }},
	}
}

// stepText is a step in the table's own words, with why nothing moved.
func stepText(s *comandav1.ReplayStep) string {
	text := wire.Word(s.GetStatus())
	if s.GetGap() {
		text += "?"
	}
	if s.GetWhy() != "" {
		text += " (" + s.GetWhy() + ")"
	}
	if s.GetDispute() != "" {
		text += ", dispute " + s.GetDispute()
	}
	return text
}

// printReplayReport writes the totals by edge, and of all.
func printReplayReport(out io.Writer, r *comandav1.ReplayReport) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for i, e := range r.GetEdges() {
		if i == 0 {
			_, _ = fmt.Fprintln(w, "\nORDERS\tAT\tKIND\tDID\tOTHER_DID")
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", e.GetOrders(), wire.Word(e.GetStatusBefore()), wire.Word(e.GetKind()),
			stepText(e.GetDid()), stepText(e.GetOtherDid()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "replayed %d events of %d orders: %d differ, %d end in another status\n",
		r.GetEvents(), r.GetOrders(), r.GetDifferences(), r.GetOtherEndings())
	return err
}
