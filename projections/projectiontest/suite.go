package projectiontest

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"comanda.internal/domain/order"
	"comanda.internal/projections"
)

// Views makes the projections under test: the facts and what is built on them.
type Views func(r projections.Reader) (projections.Facts, []projections.Projection)

// Of the script that the suite uses.
const (
	suiteSeed       = 1
	suitePartitions = 4
	suiteOrders     = 40
	suiteEvents     = 400
)

// Run holds views to the promises of package projections.
func Run(t *testing.T, views Views) {
	t.Helper()
	if d, doomed := Doomed(t); doomed {
		die(t, views, d)
	}
	s := NewScript(suitePartitions)
	s.Fill(t, suiteSeed, suiteOrders, suiteEvents)
	want := rebuilt(t, s, views, projections.Config{})
	if len(want) == 0 {
		t.Fatal("the views hold nothing")
	}
	t.Run("every batch boundary gives the same bytes", func(t *testing.T) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // reproducible on purpose
			cut := s.Copy()
			cut.Cut = func(n int) int { return 1 + r.IntN(min(n, 40)) }
			same(t, want, rebuilt(t, cut, views, EachBatch))
		}
	})
	t.Run("applied twice is applied once", func(t *testing.T) {
		twice := s.Copy()
		twice.Twice = true
		twice.Cut = func(n int) int { return min(n, 7) }
		same(t, want, rebuilt(t, twice, views, EachBatch))
	})
	t.Run("orders in memory and orders that are not fold alike", func(t *testing.T) {
		small := EachBatch
		small.CacheFacts = 1
		cut := s.Copy()
		cut.Cut = func(n int) int { return min(n, 11) }
		same(t, want, rebuilt(t, cut, views, small))
	})
	t.Run("live equals rebuilt", func(t *testing.T) {
		growing := NewScript(suitePartitions)
		follower := Start(t, filepath.Join(t.TempDir(), "views.db"), growing, views, projections.Config{Interval: time.Nanosecond})
		growing.Fill(t, suiteSeed, suiteOrders, suiteEvents)
		follower.Wait()
		same(t, want, follower.Dump())
	})
	t.Run("built at once equals followed", func(t *testing.T) {
		for _, twice := range []bool{false, true} {
			cut := s.Copy()
			cut.Twice = twice
			cut.Cut = func(n int) int { return min(n, 17) }
			same(t, want, rebuilt(t, cut, views, AtOnce))
		}
	})
	t.Run("stopped anywhere and started again equals never stopped", func(t *testing.T) {
		interrupted(t, s, views, EachBatch, want)
	})
	t.Run("stopped anywhere in a build and started again equals never stopped", func(t *testing.T) {
		interrupted(t, s, views, AtOnce, want)
	})
	t.Run("killed at any point and started again equals never killed", func(t *testing.T) { killedAnywhere(t, views) })
	t.Run("no personal data is in the file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "views.db")
		follower := Start(t, path, s, views, projections.Config{})
		follower.Wait()
		follower.Stop()
		follower.Close()
		noPersonalData(t, path)
	})
}

// interrupted ends the runner at its first batch, its second and so on, and
// starts it again on the same file. Every other time the process ends there, and
// with it what the file does not hold yet.
func interrupted(t *testing.T, s *Script, views Views, cfg projections.Config, want []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "views.db")
	for n := range 20 {
		broken := s.Copy()
		ctx, cancel := context.WithCancel(t.Context())
		batches := 0
		broken.Cut = func(left int) int {
			if batches++; batches > n {
				cancel()
			}
			return min(left, 3)
		}
		cfg.FlushBytes = 1 + 10_000*(n%3) // at every batch, and now and then
		f := open(t, path, broken, views, cfg, nil)
		go func() {
			select {
			case <-f.Runner.Ready(): // the end of the script
				cancel()
			case <-ctx.Done():
			}
		}()
		if err := f.Runner.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n%2 == 0 {
			f.Kill()
		}
		f.Close()
	}
	follower := Start(t, path, s, views, projections.Config{})
	follower.Wait()
	same(t, want, follower.Dump())
}

func noPersonalData(t *testing.T, path string) {
	t.Helper()
	stored, err := os.ReadFile(path) //nolint:gosec // the test's own file
	if err != nil {
		t.Fatal(err)
	}
	for _, canary := range []string{CanaryName, CanaryEmail} {
		if bytes.Contains(stored, []byte(canary)) {
			t.Errorf("the file holds %q", canary)
		}
	}
	if !bytes.Contains(stored, []byte("A-1")) {
		t.Error("the file does not even hold provider order ids: the search is wrong")
	}
}

// rebuilt is the dump of views that were built from the whole of s.
func rebuilt(t *testing.T, s *Script, views Views, cfg projections.Config) []byte {
	t.Helper()
	follower := Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, cfg)
	follower.Wait()
	follower.Stop()
	return follower.Dump()
}

func same(t *testing.T, want, got []byte) {
	t.Helper()
	if !bytes.Equal(want, got) {
		t.Errorf("the views hold other bytes: %d lines in all, want %d", bytes.Count(got, []byte("\n")), bytes.Count(want, []byte("\n")))
	}
}

// AtOnce builds the views of whatever is in the log at the start.
var AtOnce = projections.Config{BuildFrom: 1}

// EachBatch commits every batch of a log by itself.
var EachBatch = projections.Config{MaxBatch: 1}

// Follower is a file of views and its runner. It is stopped and closed with the test.
type Follower struct {
	Path   string
	File   *projections.File
	Runner *projections.Runner

	t      testing.TB
	log    projections.Log
	cancel context.CancelFunc
	ended  chan error
	closed bool
}

// Start opens the file at path and runs views on it.
func Start(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config) *Follower {
	tb.Helper()
	return start(tb, path, log, views, cfg, nil)
}

func start(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config, at func(projections.Point)) *Follower {
	tb.Helper()
	f := open(tb, path, log, views, cfg, at)
	ctx, cancel := context.WithCancel(tb.Context())
	f.cancel = cancel
	f.ended = make(chan error, 1)
	go func() { f.ended <- f.Runner.Run(ctx) }()
	tb.Cleanup(f.Stop)
	return f
}

func open(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config, at func(projections.Point)) *Follower {
	tb.Helper()
	file, err := projections.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Follower{Path: path, File: file, t: tb, log: log}
	tb.Cleanup(f.Close)
	facts, others := views(file)
	f.Runner, err = projections.New(cfg, projections.Deps{
		Log: log, Machine: order.Default(), Clock: time.Now, //nolint:forbidigo // a test's
		Logger: slog.New(slog.DiscardHandler), At: at,
	}, file, facts, others...)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// Wait returns when the views hold all that is in the log now.
func (f *Follower) Wait() {
	f.t.Helper()
	head, err := f.log.Head(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Runner.Wait(f.t.Context(), head); err != nil {
		f.t.Fatal(err)
	}
}

// Dump is what the file holds.
func (f *Follower) Dump() []byte {
	f.t.Helper()
	var out bytes.Buffer
	if err := f.File.Dump(&out); err != nil {
		f.t.Fatal(err)
	}
	return out.Bytes()
}

// Stop ends the runner, which must have gone well. The file stays open.
func (f *Follower) Stop() {
	f.t.Helper()
	if f.cancel == nil {
		return
	}
	f.cancel()
	f.cancel = nil
	if err := <-f.ended; err != nil {
		f.t.Errorf("run the views: %v", err)
	}
}

// Kill closes the file of a runner that was stopped, without what only memory holds.
func (f *Follower) Kill() {
	f.t.Helper()
	f.closed = true
	if err := f.File.Discard(); err != nil {
		f.t.Error(err)
	}
}

// Close closes the file of a runner that was stopped.
func (f *Follower) Close() {
	f.t.Helper()
	if f.closed {
		return
	}
	f.closed = true
	if err := f.File.Close(); err != nil {
		f.t.Error(err)
	}
}
