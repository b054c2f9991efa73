package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// verifyCmd proves a log and its views.
type verifyCmd struct {
	Server    string `help:"gRPC address of the server. Default: the one that runs on --data-dir." placeholder:"HOST:PORT"`
	DataDir   string `help:"Data directory: of a running server, or to be opened when none runs." default:"./comanda-data" type:"path"`
	Config    string `help:"Configuration file of the server that does not run." type:"path"`
	NATSURL   string `name:"nats-url" help:"NATS server of the server that does not run."`
	Since     string `help:"Prove only what comes after this position, against what is before it. Default: everything." placeholder:"POSITION"`
	Customers bool   `help:"Also prove the index of customers, which opens the personal data of every event; not with --since. Takes longer than all the rest."`
	KeyFile   string `type:"path" help:"Key-encryption key of the server that does not run, for --customers; none: the data directory's." placeholder:"FILE"`
	Output    string `short:"o" enum:"table,json" default:"table" help:"Output format: table or json."`

	credentialFlags
}

// Run asks the server that runs on the data directory, since it holds the files;
// without one it opens them itself.
func (c *verifyCmd) Run(ctx context.Context, out *stdio) error {
	since, err := domain.ParsePosition(c.Since)
	if err != nil {
		return usagef("--since: %v", err)
	}
	if c.Customers && c.Since != "" {
		return usagef("--customers proves the whole index: not together with --since")
	}
	progress := newProgress(out)
	report, err := c.ask(ctx, progress.show)
	if c.Server == "" && exitCode(err) == exitUnavailable && !answered(err) {
		serve := &serveCmd{DataDir: c.DataDir, Config: c.Config, NATSURL: c.NATSURL, KeyFile: c.KeyFile, LogLevel: "error"}
		report, err = verifyOffline(ctx, serve, out, grpcapi.Check{Since: since, Customers: c.Customers}, progress.show)
	}
	progress.done()
	if err != nil {
		return err
	}
	if err := c.print(out.out, report); err != nil {
		return err
	}
	if n := report.GetProblemCount(); n > 0 {
		return domain.Errorf(domain.Corrupt, "verify: %d problems", n)
	}
	return nil
}

// ask has the running server verify. Unavailable: none runs.
func (c *verifyCmd) ask(
	ctx context.Context, show func(*comandav1.VerifyProgress),
) (report *comandav1.VerifyReport, err error) {
	flags := clientFlags{Server: c.Server, DataDir: c.DataDir, credentialFlags: c.credentialFlags}
	err = flags.with(func(conn *grpc.ClientConn) error {
		stream, err := comandav1.NewViewServiceClient(conn).Verify(ctx, &comandav1.VerifyRequest{SincePosition: c.Since, Customers: c.Customers})
		for err == nil && report == nil {
			var m *comandav1.VerifyResponse
			if m, err = stream.Recv(); err == nil {
				report = m.GetReport()
				show(m.GetProgress())
			}
		}
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Internal, "verify: the server ended without a report")
		}
		return err
	})
	return report, err
}

// answered reports whether err is what a server said: its errors have details.
func answered(err error) bool {
	s, ok := status.FromError(err)
	return ok && len(s.Proto().GetDetails()) > 0
}

func (c *verifyCmd) print(out io.Writer, report *comandav1.VerifyReport) error {
	if c.Output == formatJSON {
		text, err := messageJSON(report)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, text)
		return err
	}
	for _, p := range report.GetProblems() {
		if _, err := fmt.Fprintln(out, problemText(p)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "verified %d events of %d orders, %d view rows: %d problems\n",
		report.GetEvents(), report.GetOrders(), report.GetRowsCompared(), report.GetProblemCount())
	if customers := report.GetCustomers(); err == nil && customers != nil {
		_, err = fmt.Fprintf(out, "verified %d entries of customers up to position %q, and %d left over of people who were erased\n",
			customers.GetEntries(), customers.GetPosition(), customers.GetLeftOver())
	}
	if err == nil && report.GetPosition() != "" {
		_, err = fmt.Fprintf(out, "read up to position %s\n", report.GetPosition())
	}
	return err
}

// problemText is a problem on one line.
func problemText(p *comandav1.VerifyProblem) string {
	text := fmt.Sprintf("%s: partition %d sequence %d %s: %s", p.GetRule(), p.GetPartition(), p.GetSequence(), p.GetOrderId(), p.GetDetail())
	if p.GetThroughSequence() == 0 {
		return text
	}
	if p.GetAffectedOrders() == 0 {
		return text + "; the views know no order there"
	}
	text += "; orders: " + strings.Join(p.GetAffectedOrderIds(), " ")
	if more := p.GetAffectedOrders() - uint64(len(p.GetAffectedOrderIds())); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// exists refuses a data directory without a log: verify makes none.
func exists(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return domain.Errorf(domain.NotFound, "no log: %w", err)
	}
	return nil
}

// statusLine rewrites one line on a terminal and is silent elsewhere; "" ends it.
func statusLine(w io.Writer) func(string) {
	f, ok := w.(*os.File)
	if !ok {
		return func(string) {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func(string) {}
	}
	return func(text string) { _, _ = io.WriteString(f, "\r\033[K"+text) }
}
