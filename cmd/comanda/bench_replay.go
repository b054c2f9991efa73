package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"comanda.internal/adapters/export"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/stream"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// benchReplayCmd measures what reads the whole log.
type benchReplayCmd struct {
	benchFlags
	benchLogFlags
}

var replayColumns = []bench.Column{
	{Title: "what", Of: "what"},
	{Title: "events/s", Of: bench.PerSecond},
	{Title: "time", Of: "elapsed_ms"},
	{Title: "failed", Of: bench.Failed},
	{Title: "raw/s", Of: bench.RawPerSecond},
	{Title: "ratio", Of: bench.Ratio},
}

// replayBench reads one log on which no server runs.
type replayBench struct {
	*app

	dir    string // for views that are built anew
	js     jetstream.JetStream
	stored bench.Stored
}

// Run makes the log, or takes the one that is there, and reads it in turns.
func (c *benchReplayCmd) Run(ctx context.Context, out *stdio) error {
	return readLog(ctx, out, "replay", &c.benchFlags, &c.benchLogFlags, replayColumns, func(b *replayBench) []bench.Contender {
		return b.contenders([]reading{
			{whatRaw, b.raw},
			{"follow", b.follow},
			{"verify_log", b.verifyLog},
			{"verify_views", b.verifyViews},
			{whatRebuild, b.rebuild},
			{"export", b.export},
		})
	}, nil)
}

// readLog has contenders, of which the first is raw, read a log in turns. more, unless it
// is nil, adds to the report's rows.
func readLog(
	ctx context.Context, out *stdio, name string, c *benchFlags, logFlags *benchLogFlags, columns []bench.Column,
	contenders func(b *replayBench) []bench.Contender, more func(rows []bench.Row),
) error {
	return c.inDir(func(dir string) (err error) {
		data, made, err := logFlags.prepare(ctx, dir, out)
		if err != nil {
			return err
		}
		report := c.report(name, data, out.now())
		report.Settings.Sync, report.Settings.LogMade = syncMode(false), made
		b := &replayBench{dir: dir}
		if err := b.open(ctx, data, out, &report.Settings); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.stack.stop(ctx)) }()
		if report.Rows, err = bench.Rotate(ctx, c.Rounds, contenders(b)); err != nil {
			return err
		}
		for i := range report.Rows[1:] {
			report.Rows[i+1].Against(&report.Rows[0])
		}
		if more != nil {
			more(report.Rows)
		}
		return c.print(out, report, columns, report.Rows)
	})
}

func (b *replayBench) open(ctx context.Context, data string, out *stdio, settings *bench.Settings) error {
	var err error
	cmd := &serveCmd{DataDir: data, NATSListen: natsnode.None, LogLevel: "error"}
	b.app, err = openBenchLog(ctx, cmd, out, func(a *app) []func(context.Context) error {
		a.offline = true
		return []func(context.Context) error{a.startNode, a.openViews, a.openLog, a.startViews, a.awaitViews}
	})
	if err != nil {
		return err
	}
	conn, err := b.node.Connect("bench")
	if err == nil {
		b.js, err = jetstream.New(conn)
	}
	if err == nil {
		b.stored, err = describeLog(ctx, b.js, settings)
	}
	if err != nil {
		return errors.Join(err, b.stack.stop(ctx))
	}
	return nil
}

// reading is one way to read the whole log.
type reading struct {
	what string
	read func(ctx context.Context) error
}

func (b *replayBench) contenders(all []reading) []bench.Contender {
	var out []bench.Contender
	for _, one := range all {
		out = append(out, bench.Contender{What: one.what, Partitions: b.stored.Partitions, Round: func(ctx context.Context) (bench.Result, error) {
			return costly(ctx, b.now, b.stored.Events, one.read)
		}})
	}
	return out
}

// raw reads every message of every partition, and nothing of what is in it.
func (b *replayBench) raw(ctx context.Context) error {
	head, err := b.log.Head(ctx)
	if err != nil {
		return err
	}
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for p := range b.log.Partitions() {
		reader := stream.NewReader(b.js, eventstore.OrdersStream(p), slog.New(slog.DiscardHandler))
		group.Go(func() error {
			return reader.Scan(ctx, 0, head.At(p), nil, func(ms []stream.Message) error {
				read.Add(int64(len(ms)))
				return nil
			})
		})
	}
	return errors.Join(group.Wait(), b.all(read.Load()))
}

// follow reads and decodes every event.
func (b *replayBench) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for p := range b.log.Partitions() {
		group.Go(func() error {
			return b.log.Follow(ctx, p, 0, func(events []domain.Recorded) error {
				if read.Add(int64(len(events))) == int64(b.stored.Events) {
					cancel() // it would go on with what comes
				}
				return nil
			})
		})
	}
	return errors.Join(group.Wait(), b.all(read.Load()))
}

// verifyLog proves the log without its views.
func (b *replayBench) verifyLog(ctx context.Context) error {
	report, err := b.log.Verify(ctx, eventstore.VerifyOptions{})
	if err != nil {
		return err
	}
	return b.sound(report.Events, report.ProblemCount)
}

// verifyViews is what comanda verify does.
func (b *replayBench) verifyViews(ctx context.Context) error {
	report, err := b.verifier().Verify(ctx, grpcapi.Check{}, func(*comandav1.VerifyProgress) error { return nil })
	if err != nil {
		return err
	}
	return b.sound(report.GetEvents(), report.GetProblemCount())
}

// rebuild makes orders and timelines anew.
func (b *replayBench) rebuild(ctx context.Context) error {
	return b.rebuildOf(ctx, func(r projections.Reader) (projections.Facts, []projections.Projection) {
		return timeline.New(r), []projections.Projection{orders.New(r)}
	})
}

// rebuildOf makes views anew, in a file of their own.
func (b *replayBench) rebuildOf(
	ctx context.Context, of func(projections.Reader) (projections.Facts, []projections.Projection),
) (err error) {
	dir, err := os.MkdirTemp(b.dir, "views-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file, err := projections.Open(filepath.Join(dir, viewsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	facts, views := of(file)
	runner, err := projections.New(b.cfg.Views, projections.Deps{
		Log: b.log, Machine: order.Default(), Clock: b.now, Logger: b.logger, Building: heap.building,
	}, file, facts, views...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	select {
	case <-runner.Ready():
		cancel()
		return <-done
	case err := <-done:
		return err
	}
}

// export writes the events as Parquet, in a directory of its own.
func (b *replayBench) export(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(b.dir, "export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	head, err := b.log.Head(ctx)
	if err != nil {
		return err
	}
	m, err := export.Directory(ctx, dir, export.Config{
		Log: b.log, Identity: b.log.Identity(), Epoch: b.log.Epoch(), Head: head, Machine: order.Default(),
		Format: export.FormatParquet, Tables: []string{export.TableEvents},
	})
	if err != nil {
		return err
	}
	return b.all(m.Rows(export.TableEvents))
}

func (b *replayBench) sound(events, problems uint64) error {
	if problems > 0 {
		return domain.Errorf(domain.Corrupt, "bench: the log has %d problems; comanda verify names them", problems)
	}
	return b.all(int64(events)) //nolint:gosec // a count
}

// all refuses a figure for less than the whole log.
func (b *replayBench) all(events int64) error {
	if events != int64(b.stored.Events) {
		return domain.Errorf(domain.Internal, "bench: read %d events of %d", events, b.stored.Events)
	}
	return nil
}
