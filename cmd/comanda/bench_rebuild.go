package main

import (
	"context"
	"errors"
	"sync/atomic"

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
}

// Run makes the log, or takes the one that is there, and builds views of it in turns.
func (c *benchRebuildCmd) Run(ctx context.Context, out *stdio) error {
	return readLog(ctx, out, whatRebuild, &c.benchFlags, &c.benchLogFlags, rebuildColumns, func(b *replayBench) []bench.Contender {
		return b.contenders([]reading{
			{whatRaw, b.raw},
			{"follow", b.follow},
			{whatFold, b.fold},
			{whatRebuild, b.rebuild},
			{"rebuild_all", func(ctx context.Context) error { return b.rebuildOf(ctx, proof.Views) }},
		})
	}, func(rows []bench.Row) {
		fold := rowsOf(rows, whatFold)[0].Figures[bench.PerSecond]
		for i := range rows {
			if fold > 0 {
				rows[i].Figures[figureFoldRatio] = rows[i].Figures[bench.PerSecond] / fold
			}
		}
	})
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
