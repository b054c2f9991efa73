package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/timeline"
)

// benchReadCmd measures the views' answers.
type benchReadCmd struct {
	benchFlags
	benchLogFlags

	Clients  []int         `help:"Numbers of readers." default:"1,2"`
	Duration time.Duration `help:"Length of one measurement." default:"2s"`
}

var readColumns = []bench.Column{
	{Title: "what", Of: "what"},
	{Title: "readers", Of: "clients"},
	{Title: "answers/s", Of: bench.PerSecond},
	{Title: "p50", Of: bench.P50},
	{Title: "p99", Of: bench.P99},
	{Title: "failed", Of: bench.Failed},
	{Title: "raw/s", Of: bench.RawPerSecond},
	{Title: "ratio", Of: bench.Ratio},
}

// readBench reads the views of one log in this process: no transport, no decoding
// by a client. Every answer is of an order picked at random.
type readBench struct {
	*app

	ids    []domain.OrderID
	tenant domain.TenantID
	lists  []string // tokens of pages, by reader: each reads on where it was
}

// listed is how many orders a page of a list has.
const listed = 100

// Run makes the log and its views, or takes those that are there.
func (c *benchReadCmd) Run(ctx context.Context, out *stdio) error {
	return c.inDir(func(dir string) (err error) {
		data, made, err := c.prepare(ctx, dir, out)
		if err != nil {
			return err
		}
		report := c.report("read", data, out.now())
		report.Settings.Sync, report.Settings.LogMade = syncMode(false), made
		report.Settings.RoundSeconds = c.Duration.Seconds()
		b := new(readBench)
		if err := b.open(ctx, data, out, &report.Settings); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.stack.stop(ctx)) }()
		for _, clients := range c.Clients {
			rows, err := bench.Rotate(ctx, c.Rounds, b.contenders(clients, c.Duration, report.Settings.LogPartitions))
			if err != nil {
				return err
			}
			for i := range rows[1:] {
				rows[i+1].Against(&rows[0])
			}
			report.Rows = append(report.Rows, rows...)
		}
		return c.print(out, report, readColumns, report.Rows)
	})
}

func (b *readBench) open(ctx context.Context, data string, out *stdio, settings *bench.Settings) error {
	var err error
	cmd := &serveCmd{DataDir: data, NATSListen: natsnode.None, LogLevel: "error"}
	b.app, err = openBenchLog(ctx, cmd, out, func(a *app) []func(context.Context) error {
		a.offline = true
		return []func(context.Context) error{a.startNode, a.openViews, a.openLog, a.startViews, a.awaitViews}
	})
	if err != nil {
		return err
	}
	js, err := jetstream.New(b.node.Conn())
	if err == nil {
		_, err = describeLog(ctx, js, settings)
	}
	if err == nil {
		err = b.pick()
	}
	if err != nil {
		return errors.Join(err, b.stack.stop(ctx))
	}
	return nil
}

// pick remembers the ids of all orders.
func (b *readBench) pick() error {
	view := orders.New(b.views.file)
	err := view.Orders(func(id domain.OrderID) error {
		b.ids = append(b.ids, domain.OrderID(string(id)))
		return nil
	})
	if err != nil || len(b.ids) == 0 {
		return errors.Join(err, domain.Errorf(domain.NotFound, "bench: the log has %d orders", len(b.ids)))
	}
	row, _, err := view.Get(b.ids[0])
	b.tenant = domain.TenantID(row.GetTenant())
	return err
}

func (b *readBench) contenders(clients int, d time.Duration, partitions int) []bench.Contender {
	b.lists = make([]string, clients)
	var out []bench.Contender
	for _, one := range []struct {
		what string
		read func(client int, id domain.OrderID) error
	}{
		{whatRaw, b.raw}, {"order", b.order}, {"history", b.history}, {"list", b.list},
	} {
		out = append(out, bench.Contender{What: one.what, Partitions: partitions, Round: func(ctx context.Context) (bench.Result, error) {
			return bench.Drive(ctx, b.now, bench.Load{Clients: clients, Duration: d}, func(_ context.Context, client, _ int) string {
				if err := one.read(client, b.ids[rand.IntN(len(b.ids))]); err != nil { //nolint:gosec // which order does not matter
					return err.Error()
				}
				return ""
			}), nil
		}})
	}
	return out
}

// raw reads an order's row from the file and looks at nothing in it.
func (b *readBench) raw(_ int, id domain.OrderID) error {
	return b.views.file.View(func(tx *kv.Tx) error {
		if tx.Bucket("orders", "rows").Get([]byte(id)) == nil {
			return errMissing
		}
		return nil
	})
}

var errMissing = errors.New("missing")

func (b *readBench) order(_ int, id domain.OrderID) error {
	_, found, err := orders.New(b.views.file).Get(id)
	if err == nil && !found {
		err = errMissing
	}
	return err
}

func (b *readBench) history(_ int, id domain.OrderID) error {
	events, err := timeline.New(b.views.file).History(id)
	if err == nil && len(events) == 0 {
		err = errMissing
	}
	return err
}

// list reads a page of the approved orders, one page after another.
func (b *readBench) list(client int, _ domain.OrderID) error {
	rows, next, err := orders.New(b.views.file).List(
		orders.Filter{Tenant: b.tenant, Statuses: []domain.Status{domain.StatusApproved}}, orders.Page{Size: listed, Token: b.lists[client]})
	b.lists[client] = next
	if err == nil && len(rows) == 0 && next != "" {
		err = errMissing
	}
	return err
}
