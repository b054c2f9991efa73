package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
)

// benchStartCmd measures how soon serve is ready on a log, and what it holds in memory.
type benchStartCmd struct {
	benchFlags
	benchLogFlags
}

var startColumns = []bench.Column{
	{Title: "log", Of: "what"},
	{Title: "started", Of: "mode"},
	{Title: "ready after", Of: "ready_ms"},
	{Title: "failed", Of: bench.Failed},
	{Title: "RSS", Of: "rss_bytes"},
	{Title: "Go heap", Of: "heap_bytes"},
	{Title: "RSS bytes/order", Of: "rss_bytes_per_order"},
	{Title: "heap bytes/order", Of: "heap_bytes_per_order"},
}

// startBench starts servers, one after the other.
type startBench struct {
	io     *stdio
	run    int64
	serial int
	bodies [2]*bench.Webhook
}

// How the server was stopped before a start.
const (
	afterStop = "after_stop"
	afterKill = "after_kill"
)

// Run makes the log, or takes the one that is there, and starts servers on it and
// on an empty one, in turns.
func (c *benchStartCmd) Run(ctx context.Context, out *stdio) error {
	return c.inDir(func(dir string) error {
		data, made, err := c.prepare(ctx, dir, out)
		if err != nil {
			return err
		}
		report := c.report("start", data, out.now())
		report.Settings.Sync, report.Settings.LogMade = syncMode(false), made
		b := &startBench{io: out, run: out.now().UnixMilli()}
		for i, status := range []string{"pending", "approved"} {
			if b.bodies[i], err = bench.NewWebhook(status, 0, out.now()); err != nil {
				return err
			}
		}
		if err := b.describe(ctx, data, &report.Settings); err != nil {
			return err
		}
		empty := filepath.Join(dir, "empty")
		report.Rows, err = bench.Rotate(ctx, c.Rounds, []bench.Contender{
			{What: "full", Mode: afterStop, Round: func(ctx context.Context) (bench.Result, error) { return b.start(ctx, data) }},
			{What: "full", Mode: afterKill, Round: func(ctx context.Context) (bench.Result, error) { return b.killed(ctx, data) }},
			{What: "empty", Mode: afterStop, Round: func(ctx context.Context) (bench.Result, error) { return b.start(ctx, empty) }},
		})
		if err != nil {
			return err
		}
		perOrder(report)
		return c.print(out, report, startColumns, report.Rows)
	})
}

// perOrder spreads what the full log holds more than the empty one over its orders.
func perOrder(report *bench.Report) {
	empty := &report.Rows[len(report.Rows)-1]
	for i := range report.Rows[:len(report.Rows)-1] {
		figures := report.Rows[i].Figures
		for _, of := range []string{"rss_bytes", "heap_bytes"} {
			figures[of+"_per_order"] = bench.Quotient(figures[of]-empty.Figures[of], float64(report.Settings.LogOrders))
		}
	}
}

// describe asks a first server, which is not measured, what the log holds.
func (b *startBench) describe(ctx context.Context, data string, settings *bench.Settings) (err error) {
	s, err := b.serve(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	conn, err := connectCore(s.dir)
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	_, err = describeLog(ctx, js, settings)
	return err
}

// serve starts a server that says nothing of what a kill leaves to be recovered.
func (b *startBench) serve(ctx context.Context, data string) (*benchServer, error) {
	return startBenchServer(ctx, &benchServe{dir: data, pprof: true, logLevel: "error"}, b.io)
}

// start measures one start, and stops the server.
func (b *startBench) start(ctx context.Context, data string) (r bench.Result, err error) {
	var s *benchServer
	r, err = bench.Timed(b.io.now, func() (int, error) {
		if s, err = b.serve(ctx, data); err != nil {
			return 0, err
		}
		return 1, s.awaitReady(ctx)
	})
	if s == nil {
		return r, err
	}
	if err == nil {
		r.Also = map[string]float64{"ready_ms": bench.Milliseconds(r.Elapsed)}
		err = b.memory(ctx, s, r.Also)
	}
	return r, errors.Join(err, s.stop())
}

// memory is what the server holds once its garbage is collected, and before.
func (b *startBench) memory(ctx context.Context, s *benchServer, figures map[string]float64) error {
	figures["rss_bytes"] = s.metrics(ctx, "process_resident_memory_bytes")[0]
	if err := s.collect(ctx); err != nil {
		return err
	}
	figures["heap_bytes"] = s.metrics(ctx, "go_memstats_heap_alloc_bytes")[0]
	return nil
}

// killed kills a server that was just written to, and measures the next start.
func (b *startBench) killed(ctx context.Context, data string) (bench.Result, error) {
	s, err := b.serve(ctx, data)
	if err != nil {
		return bench.Result{}, err
	}
	b.serial++
	written := driveWebhooks(ctx, b.io.now, s, &webhookDrive{
		load: bench.Load{Clients: 8, Duration: 200 * time.Millisecond}, run: b.run, serial: b.serial, bodies: b.bodies, answered: func([]byte) {},
	})
	if err := s.kill(); err != nil {
		return bench.Result{}, err
	}
	if written.Calls == 0 {
		return bench.Result{}, fmt.Errorf("bench: no webhook was taken before the kill: %v", written.Failures)
	}
	return b.start(ctx, data)
}
