package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// viewsCmd operates the views of a running server.
type viewsCmd struct {
	Status   viewsStatusCmd   `cmd:"" help:"Show each view's version, position, lag and file size, and a build that goes on."`
	Rebuild  viewsRebuildCmd  `cmd:"" help:"Build the views, or the customer index, anew from the log, beside what serves, and promote that; or go on with a build of the views that was cancelled."`
	Promote  viewsPromoteCmd  `cmd:"" help:"Put a build that waits in the place of the views."`
	Rollback viewsRollbackCmd `cmd:"" help:"Bring back the views that the last promotion replaced."`
	Cancel   viewsCancelCmd   `cmd:"" help:"End a build, for 'views rebuild' to go on with."`
	Parked   viewsParkedCmd   `cmd:"" help:"List the orders whose events reach no view, and why."`
	Retry    viewsRetryCmd    `cmd:"" help:"Read a parked order's events again."`
	Skip     viewsSkipCmd     `cmd:"" help:"Leave the event at which an order is parked out of the views, and go on."`
}

// views has use speak to the server's ViewService.
func (f *clientFlags) views(ctx context.Context, use func(context.Context, comandav1.ViewServiceClient) error) error {
	return f.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := f.unary(ctx)
		defer cancel()
		return use(ctx, comandav1.NewViewServiceClient(conn))
	})
}

type viewsStatusCmd struct {
	clientFlags

	Output string `short:"o" enum:"table,json" default:"table" help:"Output format: table or json."`
}

// Run asks once.
func (c *viewsStatusCmd) Run(ctx context.Context, io *stdio) error {
	return c.views(ctx, func(ctx context.Context, client comandav1.ViewServiceClient) error {
		status, err := client.GetViewStatus(ctx, &comandav1.GetViewStatusRequest{})
		if err != nil {
			return err
		}
		if c.Output == formatJSON {
			text, err := messageJSON(status)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(io.out, text)
			return err
		}
		return printStatus(io, status)
	})
}

func printStatus(io *stdio, status *comandav1.GetViewStatusResponse) error {
	type v = *comandav1.ViewStatus
	p := newPrinter(io.out, formatTable, []column[v]{
		{name: "view", text: v.GetName},
		{name: "version", text: func(m v) string { return strconv.FormatUint(uint64(m.GetVersion()), 10) }},
		{name: "lag_events", text: func(m v) string { return strconv.FormatUint(m.GetLagEvents(), 10) }},
		{name: "lag_seconds", text: func(m v) string { return strconv.FormatFloat(m.GetLagSeconds(), 'f', 3, 64) }},
		{name: "file_bytes", text: func(m v) string { return strconv.FormatUint(m.GetFileBytes(), 10) }},
		{name: "position", text: v.GetPosition},
	})
	for _, m := range status.GetViews() {
		if err := p.print(m); err != nil {
			return err
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if why := status.GetOutdated(); why != "" {
		if _, err := fmt.Fprintf(io.out, "the views stand still until a build takes their place: %s\n", why); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(io.out, "parked orders: %d\nprevious views: %s\nbuild: %s\n",
		status.GetParkedOrders(), orNone(bytesText(status.GetPreviousBytes())), orNone(buildText(status.GetBuild(), io.now())))
	if c := status.GetCancelled(); c != nil && err == nil {
		rebuild := "goes on with it"
		if c.GetUnreadable() {
			rebuild = "begins anew"
		}
		_, err = fmt.Fprintf(io.out, "cancelled build: %s; 'comanda views rebuild' %s, 'comanda views cancel --discard' removes it\n", cancelledText(c), rebuild)
	}
	for _, m := range status.GetViews() {
		if err == nil && m.GetBuild() != nil {
			_, err = fmt.Fprintf(io.out, "build of %s: %s\n", m.GetName(), buildText(m.GetBuild(), io.now()))
		}
	}
	return err
}

// cancelledText is how far a build was when it was cancelled.
func cancelledText(c *comandav1.CancelledViewBuild) string {
	switch {
	case c.GetUnreadable():
		return fmt.Sprintf("what it has read cannot be read again, %d bytes", c.GetFileBytes())
	case c.GetTotal() == 0:
		return fmt.Sprintf("whole, %d bytes", c.GetFileBytes())
	}
	return fmt.Sprintf("%d %% of %d events read, %d bytes", percent(c.GetRead(), c.GetTotal()), c.GetTotal(), c.GetFileBytes())
}

// resumedText is what a build says that was told to go on with a cancelled one.
func resumedText(c *comandav1.CancelledViewBuild) string {
	if c.GetUnreadable() {
		return "begins anew; of the cancelled build: " + cancelledText(c)
	}
	return "goes on with the cancelled build: " + cancelledText(c)
}

// bytesText is "" for nothing.
func bytesText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes", n)
}

// buildText is a build on one line; "" for none.
func buildText(b *comandav1.ViewBuild, now time.Time) string {
	if b == nil {
		return ""
	}
	text := fmt.Sprintf("%d began %s, ", b.GetNumber(), timeText(b.GetBeganAt()))
	switch {
	case b.GetOutcome() != "":
		text += b.GetOutcome()
		if b.GetDetail() != "" {
			text += ": " + b.GetDetail()
		}
		return text
	case b.GetCaughtUp() && b.GetPromoting():
		text += "is being promoted"
	case b.GetCaughtUp():
		text += "waits for 'comanda views promote'"
	default:
		events, total := buildDone(b)
		seconds := max(now.Sub(b.GetBeganAt().AsTime()).Seconds(), time.Millisecond.Seconds())
		text += fmt.Sprintf("%d %% of %d events, %.0f/s", percent(events, total), total, float64(events)/seconds)
	}
	return text + fmt.Sprintf(", %d bytes, position %s", b.GetFileBytes(), orNone(b.GetPosition()))
}

// buildDone counts an event when it is read and when it is folded.
func buildDone(b *comandav1.ViewBuild) (events, total uint64) {
	return (b.GetRead() + b.GetFolded()) / 2, b.GetTotal()
}

// watchFlags are of commands that begin a build, or have it do something.
type watchFlags struct {
	clientFlags

	beside bool // of the customer index, not of the views

	Detach bool `help:"Do not wait: 'views status' says how far it is."`
}

// watch begins with begin, and shows the build until it has ended or waits.
func (c *watchFlags) watch(ctx context.Context, io *stdio, begin func(context.Context, comandav1.ViewServiceClient) (uint64, error)) error {
	return c.with(func(conn *grpc.ClientConn) error {
		client := comandav1.NewViewServiceClient(conn)
		number, err := begin(ctx, client)
		if err != nil {
			return err
		}
		if c.Detach {
			_, err := fmt.Fprintf(io.out, "build %d goes on\n", number)
			return err
		}
		b, err := c.await(ctx, io, client, number)
		if err != nil {
			return err
		}
		if b.GetOutcome() != "promoted" && b.GetOutcome() != "" {
			return domain.Errorf(domain.Internal, "build %s", buildText(b, io.now()))
		}
		_, err = fmt.Fprintf(io.out, "build %s\n", buildText(b, io.now()))
		return err
	})
}

// lookEvery is the time between two questions how far a build is.
const lookEvery = 100 * time.Millisecond

func (c *watchFlags) await(ctx context.Context, io *stdio, client comandav1.ViewServiceClient, number uint64) (*comandav1.ViewBuild, error) {
	p := newProgress(io)
	p.doing = "building"
	defer p.done()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		b, err := c.build(ctx, client, c.beside)
		if err != nil {
			return nil, err
		}
		if b.GetNumber() != number {
			return nil, domain.Errorf(domain.NotFound, "build %d: the server knows only build %d", number, b.GetNumber())
		}
		if b.GetOutcome() != "" || (b.GetCaughtUp() && !b.GetPromoting()) {
			return b, nil
		}
		events, total := buildDone(b)
		p.show(&comandav1.VerifyProgress{Events: events, Total: total})
		select {
		case <-tick.C:
		case <-ctx.Done():
			_, _ = fmt.Fprintf(io.err, "build %d goes on; 'comanda views cancel' ends it\n", number)
			return nil, ctx.Err()
		}
	}
}

// build is the build of the views, or that beside them: of the customer index.
func (f *clientFlags) build(ctx context.Context, client comandav1.ViewServiceClient, beside bool) (*comandav1.ViewBuild, error) {
	ctx, cancel := f.unary(ctx)
	defer cancel()
	status, err := client.GetViewStatus(ctx, &comandav1.GetViewStatusRequest{})
	if !beside {
		return status.GetBuild(), err
	}
	for _, m := range status.GetViews() {
		if m.GetBuild() != nil { // only the customer index has one
			return m.GetBuild(), err
		}
	}
	return nil, err
}

type viewsRebuildCmd struct {
	watchFlags

	NoPromote bool `xor:"what" help:"Keep the build up to date beside the views until 'views promote'."`
	Anew      bool `help:"Remove a build that was cancelled, and begin from the beginning of the log."`
	Customers bool `xor:"what" help:"Build the customer index, not the views: what it keeps of who was erased is gone after."`
}

// Run begins a build and waits for it.
func (c *viewsRebuildCmd) Run(ctx context.Context, io *stdio) error {
	c.beside = c.Customers
	return c.watch(ctx, io, func(ctx context.Context, client comandav1.ViewServiceClient) (uint64, error) {
		r, err := client.RebuildViews(ctx, &comandav1.RebuildViewsRequest{Hold: c.NoPromote, Anew: c.Anew, Customers: c.Customers})
		if resumed := r.GetResumed(); resumed != nil && err == nil {
			_, err = fmt.Fprintln(io.out, resumedText(resumed))
		}
		return r.GetNumber(), err
	})
}

type viewsPromoteCmd struct{ watchFlags }

// Run promotes the build and waits for it.
func (c *viewsPromoteCmd) Run(ctx context.Context, io *stdio) error {
	return c.watch(ctx, io, func(ctx context.Context, client comandav1.ViewServiceClient) (uint64, error) {
		r, err := client.PromoteViews(ctx, &comandav1.PromoteViewsRequest{})
		return r.GetNumber(), err
	})
}

type viewsRollbackCmd struct{ watchFlags }

// Run brings the previous views back and waits for it.
func (c *viewsRollbackCmd) Run(ctx context.Context, io *stdio) error {
	return c.watch(ctx, io, func(ctx context.Context, client comandav1.ViewServiceClient) (uint64, error) {
		r, err := client.RollbackViews(ctx, &comandav1.RollbackViewsRequest{})
		return r.GetNumber(), err
	})
}

type viewsCancelCmd struct {
	clientFlags

	Customers bool `help:"The build of the customer index, not that of the views: it is always removed."`
	Discard   bool `help:"Remove the build, or the one that was cancelled before."`
}

// Run cancels the build, and waits until it has ended: as long as it takes to write down what it
// has read.
func (c *viewsCancelCmd) Run(ctx context.Context, io *stdio) error {
	return c.with(func(conn *grpc.ClientConn) error {
		client := comandav1.NewViewServiceClient(conn)
		number, err := c.end(ctx, client)
		if err != nil {
			return err
		}
		if number == 0 {
			_, err = fmt.Fprintln(io.out, "the cancelled build is removed")
			return err
		}
		b, err := c.await(ctx, client, number)
		if err != nil {
			return err
		}
		text, err := endedText(b, number, io.now())
		if err != nil {
			return err
		}
		if c.Discard {
			text += " and removed"
		}
		_, err = fmt.Fprintln(io.out, text)
		return err
	})
}

func (c *viewsCancelCmd) end(ctx context.Context, client comandav1.ViewServiceClient) (number uint64, err error) {
	ctx, cancel := c.unary(ctx)
	defer cancel()
	r, err := client.CancelViewBuild(ctx, &comandav1.CancelViewBuildRequest{Discard: c.Discard, Customers: c.Customers})
	return r.GetNumber(), err
}

// await gives the build when it goes on no more, or one that began after it.
func (c *viewsCancelCmd) await(ctx context.Context, client comandav1.ViewServiceClient, number uint64) (*comandav1.ViewBuild, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		b, err := c.build(ctx, client, c.Customers)
		if err != nil || b.GetNumber() != number || b.GetOutcome() != "" {
			return b, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// endedText is what became of the build of that number, which was to be cancelled. It is an error
// when that is another thing, or when b, which is what the server tells of, is another build.
func endedText(b *comandav1.ViewBuild, number uint64, now time.Time) (string, error) {
	switch {
	case b.GetNumber() != number:
		return "", domain.Errorf(domain.NotFound, "build %d has ended; how, only the server's log says by now", number)
	case b.GetOutcome() == "promoted":
		return "", domain.Errorf(domain.Refused, "build %d was promoted before it could be cancelled; 'comanda views rollback' brings back the views before", number)
	case b.GetOutcome() != "cancelled":
		return "", domain.Errorf(domain.Internal, "build %s", buildText(b, now))
	default:
		return fmt.Sprintf("build %d is cancelled", number), nil
	}
}

type viewsParkedCmd struct {
	clientFlags
	outputFlag
}

// Run lists them.
func (c *viewsParkedCmd) Run(ctx context.Context, io *stdio) error {
	type o = *comandav1.ParkedOrder
	p := newPrinter(io.out, c.Output, []column[o]{
		{name: "order_id", text: o.GetOrderId},
		{name: "partition", text: func(m o) string { return strconv.FormatUint(uint64(m.GetPartition()), 10) }},
		{name: "sequence", text: func(m o) string { return strconv.FormatUint(m.GetSequence(), 10) }},
		{name: "why", text: o.GetWhy},
	})
	return c.views(ctx, func(ctx context.Context, client comandav1.ViewServiceClient) error {
		list, err := client.ListParkedOrders(ctx, &comandav1.ListParkedOrdersRequest{})
		if err != nil {
			return err
		}
		for _, m := range list.GetOrders() {
			if err := p.print(m); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

type viewsRetryCmd struct {
	clientFlags

	Order string `arg:"" help:"Order id, as 'views parked' has it."`
}

// Run retries.
func (c *viewsRetryCmd) Run(ctx context.Context, io *stdio) error {
	return c.views(ctx, func(ctx context.Context, client comandav1.ViewServiceClient) error {
		r, err := client.RetryParkedOrder(ctx, &comandav1.RetryParkedOrderRequest{OrderId: c.Order})
		if err != nil {
			return err
		}
		return freed(io.out, c.Order, r.GetParked())
	})
}

type viewsSkipCmd struct {
	clientFlags

	Order  string `arg:"" help:"Order id, as 'views parked' has it."`
	Reason string `required:"" help:"Why the event is left out; 'comanda verify' reports it."`
}

// Run skips.
func (c *viewsSkipCmd) Run(ctx context.Context, io *stdio) error {
	return c.views(ctx, func(ctx context.Context, client comandav1.ViewServiceClient) error {
		r, err := client.SkipParkedOrder(ctx, &comandav1.SkipParkedOrderRequest{OrderId: c.Order, Reason: c.Reason})
		if err != nil {
			return err
		}
		return freed(io.out, c.Order, r.GetParked())
	})
}

// freed says what came of a parked order; it is refused when it is parked still.
func freed(out io.Writer, order string, still *comandav1.ParkedOrder) error {
	if still != nil {
		return domain.Errorf(domain.Refused, "%s is parked: partition %d sequence %d: %s", order, still.GetPartition(), still.GetSequence(), still.GetWhy())
	}
	_, err := fmt.Fprintf(out, "%s is in the views\n", order)
	return err
}
