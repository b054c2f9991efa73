package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore/natsnode"
)

// benchLogFlags name the log that a bench reads: one that is there, or one to make.
type benchLogFlags struct {
	Log        string `help:"Data directory of the log: reused when it holds one, else made there and kept. Default: one below --dir." type:"path"`
	Events     int    `help:"Events of a log that is made." default:"200000"`
	Partitions int    `help:"Partitions of a log that is made." default:"1"`
}

// prepare makes the log and its views, unless they are there, and answers its data
// directory. No server runs on it then.
func (f *benchLogFlags) prepare(ctx context.Context, dir string, out *stdio) (data string, made bool, err error) {
	data = f.Log
	if data == "" {
		data = filepath.Join(dir, "log")
	}
	if f.Events < 1 {
		return "", false, usagef("--events: at least 1")
	}
	_, err = os.Stat(filepath.Join(data, natsDir))
	if !errors.Is(err, os.ErrNotExist) {
		return data, false, err
	}
	return data, true, f.makeAside(ctx, data, out)
}

// makeAside makes the log under its name when it is whole, so that half of one is never reused.
func (f *benchLogFlags) makeAside(ctx context.Context, data string, out *stdio) (err error) {
	if err := vacant(data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(data), 0o700); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(filepath.Dir(data), filepath.Base(data)+".making-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }() // nothing is left of it after the rename
	cmd := &serveCmd{DataDir: aside, Partitions: f.Partitions, NATSListen: natsnode.None, LogLevel: "error", UnsafeNoFsync: true}
	orders, err := f.make(ctx, cmd, out)
	if err != nil {
		return err
	}
	if err := natsnode.SyncAll(aside); err != nil { // it was made without fsync
		return err
	}
	if err := ignoreNotExist(os.Remove(data)); err != nil { // only an empty one can be
		return err
	}
	_, _ = fmt.Fprintf(out.err, "made a log of %d events of %d orders in %s\n", f.Events, orders, data)
	return os.Rename(aside, data)
}

func (f *benchLogFlags) make(ctx context.Context, cmd *serveCmd, out *stdio) (orders int, err error) {
	show := statusLine(out.err)
	defer show("")
	a, err := openBenchLog(ctx, cmd, out, func(a *app) []func(context.Context) error {
		return []func(context.Context) error{a.startNode, a.openVault, a.openViews, a.openLog}
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.stack.stop(ctx)) }()
	orders, err = bench.Fill(ctx, bench.FillConfig{
		Log: a.log, Vault: a.vault, Machine: order.Default(), Events: f.Events, Until: out.now(),
		Progress: func(events int) { show(fmt.Sprintf("making a log: %d of %d events", events, f.Events)) },
	})
	if err != nil {
		return 0, err
	}
	show("building its views")
	if err := a.startViews(ctx); err != nil {
		return 0, err
	}
	return orders, a.awaitViews(ctx)
}

// awaitViews waits until the views hold the log.
func (a *app) awaitViews(ctx context.Context) error {
	select {
	case <-a.views.runner.Ready():
		return nil
	case err := <-a.stack.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openBenchLog runs some of the steps of a server's start on a data directory.
func openBenchLog(ctx context.Context, cmd *serveCmd, out *stdio, steps func(*app) []func(context.Context) error) (*app, error) {
	cfg, err := cmd.configured()
	if err != nil {
		return nil, err
	}
	a := newApp(cmd, cfg, out)
	for _, step := range steps(a) {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.stack.stop(ctx))
		}
	}
	return a, nil
}

// describeLog puts into the settings what the log on this connection holds.
func describeLog(ctx context.Context, js jetstream.JetStream, s *bench.Settings) (bench.Stored, error) {
	stored, err := bench.LogOf(ctx, js)
	s.LogEvents, s.LogOrders, s.LogPartitions = stored.Events, stored.Orders, stored.Partitions
	s.PayloadBytes = stored.MessageBytes()
	return stored, err
}
