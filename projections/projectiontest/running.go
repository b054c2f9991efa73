package projectiontest

import (
	"bytes"
	"context"
	"io"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
)

// Keeper keeps a file of what a log says, as views and their runner do, and an index
// beside them.
type Keeper interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
	Wait(ctx context.Context, position domain.Position) error
	Dump(w io.Writer) error
	Discard() error
	Close() error
}

// kept is views and their file.
type kept struct {
	*projections.Runner
	*projections.File
}

var _ Keeper = (*kept)(nil)

// Running is a Keeper that a test runs. It is stopped and closed with the test.
type Running struct {
	keeper Keeper
	t      testing.TB
	log    projections.Log
	cancel context.CancelFunc
	ended  chan error
	closed bool
}

func running(tb testing.TB, log projections.Log, keeper Keeper) *Running {
	tb.Helper()
	f := &Running{keeper: keeper, t: tb, log: log}
	tb.Cleanup(f.Close)
	return f
}

func (f *Running) start() {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	f.cancel = cancel
	f.ended = make(chan error, 1)
	go func() { f.ended <- f.keeper.Run(ctx) }()
	f.t.Cleanup(f.Stop)
}

// Wait returns when the file holds all that is in the log now.
func (f *Running) Wait() {
	f.t.Helper()
	head, err := f.log.Head(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.keeper.Wait(f.t.Context(), head); err != nil {
		f.t.Fatal(err)
	}
}

// Dump is what the file holds.
func (f *Running) Dump() []byte {
	f.t.Helper()
	var out bytes.Buffer
	if err := f.keeper.Dump(&out); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

// Stop ends what runs, which must have gone well. The file stays open.
func (f *Running) Stop() {
	f.t.Helper()
	if f.cancel == nil {
		return
	}
	f.cancel()
	f.cancel = nil
	if err := <-f.ended; err != nil {
		f.t.Errorf("keep the file: %v", err)
	}
}

// Kill closes the file of what was stopped, without what only memory holds.
func (f *Running) Kill() {
	f.t.Helper()
	f.closed = true
	if err := f.keeper.Discard(); err != nil {
		f.t.Error(err)
	}
}

// Close closes the file of what was stopped.
func (f *Running) Close() {
	f.t.Helper()
	if f.closed {
		return
	}
	f.closed = true
	if err := f.keeper.Close(); err != nil {
		f.t.Error(err)
	}
}
