package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/proof"
)

// benchRebuildCmd measures how fast views are built from the log.
type benchRebuildCmd struct {
	benchFlags
	benchLogFlags

	Only string `help:"Measure one of them alone, once, in this process: raw, follow, fold, rebuild or rebuild_all. Otherwise each round is a process of its own." enum:",raw,follow,fold,rebuild,rebuild_all" default:""`
}

// figureFoldRatio is a build beside replay, decoding and fold.
const figureFoldRatio = "fold_ratio"

const whatFold = "fold"

var rebuildColumns = []bench.Column{
	{Title: "what", Of: "what"},
	{Title: "events/s", Of: bench.PerSecond},
	{Title: "time", Of: "elapsed_ms"},
	{Title: "failed", Of: bench.Failed},
	{Title: "of raw", Of: bench.Ratio},
	{Title: "of fold", Of: figureFoldRatio},
	{Title: "CPU/event", Of: figureCPU},
	{Title: "peak memory", Of: figureMemory},
	{Title: "peak RSS", Of: figureRSS},
}

// Run makes the log, or takes the one that is there, and builds views of it in turns.
func (c *benchRebuildCmd) Run(ctx context.Context, out *stdio) error {
	if c.Only != "" {
		return c.alone(ctx, out)
	}
	return c.inDir(func(dir string) error {
		data, made, err := c.prepare(ctx, dir, out)
		if err != nil {
			return err
		}
		report := c.report(whatRebuild, data, out.now())
		var contenders []bench.Contender
		for _, one := range (*replayBench)(nil).rebuilds() {
			contenders = append(contenders, bench.Contender{What: one.what, Round: func(ctx context.Context) (bench.Result, error) {
				return c.apart(ctx, one.what, data, dir, report, out)
			}})
		}
		if report.Rows, err = bench.Rotate(ctx, c.Rounds, contenders); err != nil {
			return err
		}
		report.Settings.LogMade, report.Settings.Rounds = made, c.Rounds
		rows := report.Rows
		fold := rowsOf(rows, whatFold)[0].Figures[bench.PerSecond]
		for i := range rows {
			rows[i].Partitions = report.Settings.LogPartitions
			rows[i].Figures[figureFoldRatio] = bench.Quotient(rows[i].Figures[bench.PerSecond], fold)
		}
		for i := range rows[1:] {
			rows[i+1].Against(&rows[0])
		}
		return c.print(out, report, rebuildColumns, rows)
	})
}

// rebuilds are a replay and what does more of what a build of views does; b is used when they are read.
func (b *replayBench) rebuilds() []reading {
	return []reading{
		{whatRaw, b.raw},
		{"follow", b.follow},
		{whatFold, b.fold},
		{whatRebuild, b.rebuild},
		{"rebuild_all", func(ctx context.Context) error { return b.rebuildOf(ctx, proof.Views) }},
	}
}

// alone measures one of them.
func (c *benchRebuildCmd) alone(ctx context.Context, out *stdio) error {
	return readLog(ctx, out, whatRebuild, &c.benchFlags, &c.benchLogFlags, rebuildColumns, func(b *replayBench) []bench.Contender {
		return b.contenders(slices.DeleteFunc(b.rebuilds(), func(one reading) bool { return one.what != c.Only }))
	}, nil)
}

// apart measures one of them in a process of its own, so that its memory is not what others left
// behind, and notes in the report what the log holds.
func (c *benchRebuildCmd) apart(ctx context.Context, what, data, dir string, report *bench.Report, out *stdio) (bench.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return bench.Result{}, err
	}
	child := exec.CommandContext(ctx, self, "bench", "rebuild", "--only", what, "--log", data, "--dir", dir, "--rounds", "1", "-o", "json") //nolint:gosec // this program itself
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second
	child.Stderr = out.err
	printed, err := child.Output()
	if err != nil {
		return bench.Result{}, fmt.Errorf("bench: %s in a process of its own: %w", what, err)
	}
	var one bench.Report
	if err := json.Unmarshal(printed, &one); err != nil || len(one.Rows) != 1 {
		return bench.Result{}, domain.Errorf(domain.Internal, "bench: %s in a process of its own printed %d rows: %w", what, len(one.Rows), err)
	}
	report.Settings = one.Settings
	return bench.Result{Failures: one.Rows[0].Failures, Also: one.Rows[0].Figures}, nil
}

// foldOrders are the orders that a fold remembers at a time; a log that bench made has
// some 2,000 open.
const foldOrders = 50_000

// fold reads and decodes every event, and folds every order once: what a build of views
// does at least.
func (b *replayBench) fold(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for p := range b.log.Partitions() {
		f := &benchFold{histories: map[domain.OrderID]*order.History{}}
		group.Go(func() error {
			err := b.log.Follow(ctx, p, 0, func(events []domain.Recorded) error {
				if err := f.add(events); err != nil {
					return err
				}
				if read.Add(int64(len(events))) == int64(b.stored.Events) {
					cancel() // it would go on with what comes
				}
				return nil
			})
			f.forget(len(f.known))
			return err
		})
	}
	return errors.Join(group.Wait(), b.all(read.Load()))
}

// benchFold folds an order when it is forgotten.
type benchFold struct {
	histories map[domain.OrderID]*order.History
	known     []domain.OrderID // the first that was seen first
}

func (f *benchFold) add(events []domain.Recorded) error {
	for i := range events {
		e := &events[i].Event
		h := f.histories[e.OrderID]
		if e.Revision != h.Revision()+1 {
			return domain.Errorf(domain.Refused, "bench: the events of %s are too far apart for the fold that views are compared with", e.OrderID)
		}
		if h == nil {
			f.known = append(f.known, e.OrderID)
		}
		var err error
		if f.histories[e.OrderID], err = h.With(e); err != nil {
			return err
		}
	}
	f.forget(len(f.known) - foldOrders)
	return nil
}

func (f *benchFold) forget(n int) {
	for i := range max(n, 0) {
		_ = order.Default().Fold(f.histories[f.known[i]])
		delete(f.histories, f.known[i])
	}
	f.known = f.known[max(n, 0):]
}
