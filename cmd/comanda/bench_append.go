package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/eventstore"
)

// benchAppendCmd measures the log alone: the recorder, which decides, seals and
// appends, and a publisher that does nothing but publish.
type benchAppendCmd struct {
	benchFlags

	Partitions   []int         `help:"Numbers of partitions." default:"1,2,4,8,16"`
	Clients      []int         `help:"Numbers of clients." default:"1,16,64,256,1000"`
	BatchFrom    []int         `help:"Queues from which the log makes batches: 0 as configured, -1 never." default:"-1,0"`
	Duration     time.Duration `help:"Length of one measurement." default:"3s"`
	Replicas     int           `help:"1: a server in this process; 3: three of them, replicated." enum:"1,3" default:"1"`
	UnsafeNoSync bool          `name:"unsafe-no-fsync" help:"Measure without fsync on both sides: says nothing of a durable log."`
}

var appendColumns = []bench.Column{
	{Title: "partitions", Of: "partitions"},
	{Title: "clients", Of: "clients"},
	{Title: "batches", Of: "mode"},
	{Title: "events/s", Of: bench.PerSecond},
	{Title: "p50", Of: bench.P50},
	{Title: "p99", Of: bench.P99},
	{Title: "failed", Of: bench.Failed},
	{Title: "raw/s", Of: bench.RawPerSecond},
	{Title: "raw p99", Of: bench.RawP99},
	{Title: "ratio", Of: bench.Ratio},
	{Title: "p99 ratio", Of: bench.P99Ratio},
	{Title: "to best raw", Of: "best_raw_ratio"},
}

// Run measures one number of partitions after the other, each on a server of its own.
func (c *benchAppendCmd) Run(ctx context.Context, out *stdio) error {
	for _, n := range c.Partitions {
		if !eventstore.ValidPartitions(n) {
			return usagef("--partitions: a power of two up to 256, not %d", n)
		}
	}
	return c.inDir(func(dir string) error {
		report := c.report("append", dir, out.now())
		s := &report.Settings
		s.Sync, s.Replicas, s.RoundSeconds = syncMode(c.UnsafeNoSync), c.Replicas, c.Duration.Seconds()
		for _, partitions := range c.Partitions {
			rows, size, err := c.partition(ctx, filepath.Join(dir, "append-"+strconv.Itoa(partitions)), partitions, out)
			if err != nil {
				return err
			}
			report.Rows, s.PayloadBytes = append(report.Rows, rows...), size
		}
		againstBest(report.Rows)
		return c.print(out, report, appendColumns, rowsOf(report.Rows, whatComanda))
	})
}

// againstBest compares each of Comanda's rows with the best raw one of as many
// clients over all partitions, as DESIGN's section 13 defines raw.
func againstBest(rows []bench.Row) {
	for i := range rows {
		r := &rows[i]
		if r.What != whatComanda {
			continue
		}
		raw := slices.DeleteFunc(rowsOf(rows, whatRaw), func(raw bench.Row) bool { return raw.Clients != r.Clients })
		r.Figures["best_raw_ratio"] = bench.Quotient(r.Figures[bench.PerSecond], bench.Best(raw).Figures[bench.PerSecond])
	}
}

// partition measures every number of clients on one number of partitions.
func (c *benchAppendCmd) partition(ctx context.Context, dir string, partitions int, out *stdio) (rows []bench.Row, size int, err error) {
	site, err := openAppendSite(ctx, c, dir, partitions, out)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, site.close(ctx)) }()
	for _, clients := range c.Clients {
		_, _ = fmt.Fprintf(out.err, "%d partitions, %d clients, %d replicas, fsync %s\n", partitions, clients, c.Replicas, syncMode(c.UnsafeNoSync))
		contenders := []bench.Contender{{
			What: whatRaw, Partitions: partitions,
			Round: func(ctx context.Context) (bench.Result, error) {
				return site.raw.Round(ctx, out.now, clients, c.Duration), nil
			},
		}}
		for i, from := range c.BatchFrom {
			contenders = append(contenders, bench.Contender{
				What: whatComanda, Mode: batchMode(from), Partitions: partitions,
				Round: func(ctx context.Context) (bench.Result, error) {
					return site.round(ctx, site.recorders[i], clients, c.Duration), nil
				},
			})
		}
		measured, err := bench.Rotate(ctx, c.Rounds, contenders)
		if err != nil {
			return nil, 0, err
		}
		for i := range measured[1:] {
			measured[i+1].Against(&measured[0])
		}
		rows = append(rows, measured...)
	}
	return rows, site.size, nil
}

func batchMode(from int) string {
	switch from {
	case eventstore.BatchNever:
		return "never"
	case 0:
		return "as configured"
	default:
		return "from " + strconv.Itoa(from)
	}
}
