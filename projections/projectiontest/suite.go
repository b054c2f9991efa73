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
	h := holding{
		keep: func(tb testing.TB, path string, log *Script, cfg projections.Config, at func(projections.Point)) *Running {
			tb.Helper()
			return open(tb, path, log, views, cfg, at).Running
		},
		points: projections.Points(),
		whole: func(t *testing.T, path string, s *Script, point projections.Point) {
			t.Helper()
			whole(t, path, s, views, point)
		},
	}
	s, want := h.script(t)
	h.promises(t, s, want)
	t.Run("orders in memory and orders that are not fold alike", func(t *testing.T) {
		small := EachBatch
		small.CacheFacts = 1
		cut := s.Copy()
		cut.Cut = func(n int) int { return min(n, 11) }
		same(t, want, h.rebuilt(t, cut, small))
	})
	t.Run("built at once equals followed", func(t *testing.T) {
		for _, twice := range []bool{false, true} {
			cut := s.Copy()
			cut.Twice = twice
			cut.Cut = func(n int) int { return min(n, 17) }
			same(t, want, h.rebuilt(t, cut, AtOnce))
		}
	})
	t.Run("stopped anywhere in a build and started again equals never stopped", func(t *testing.T) {
		h.interrupted(t, s, AtOnce, want)
	})
}

// holding is one run of the suite, over views or an index.
type holding struct {
	keep   func(tb testing.TB, path string, log *Script, cfg projections.Config, at func(projections.Point)) *Running
	points []projections.Point
	// whole wants the file at path, which a process that was killed at point left, to become what s says.
	whole func(t *testing.T, path string, s *Script, point projections.Point)
}

// script is the one that the suite uses, and what a file of it holds.
func (h *holding) script(t *testing.T) (s *Script, want []byte) {
	t.Helper()
	s = NewScript(suitePartitions)
	s.Fill(t, suiteSeed, suiteOrders, suiteEvents)
	if want = h.rebuilt(t, s, projections.Config{}); len(want) == 0 {
		t.Fatal("the file holds nothing")
	}
	return s, want
}

// promises are those of whatever follows a log.
func (h *holding) promises(t *testing.T, s *Script, want []byte) {
	t.Helper()
	t.Run("every batch boundary gives the same bytes", func(t *testing.T) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // reproducible on purpose
			cut := s.Copy()
			cut.Cut = func(n int) int { return 1 + r.IntN(min(n, 40)) }
			same(t, want, h.rebuilt(t, cut, EachBatch))
		}
	})
	t.Run("applied twice is applied once", func(t *testing.T) {
		twice := s.Copy()
		twice.Twice = true
		twice.Cut = func(n int) int { return min(n, 7) }
		same(t, want, h.rebuilt(t, twice, EachBatch))
	})
	t.Run("live equals rebuilt", func(t *testing.T) {
		growing := NewScript(suitePartitions)
		live := h.keep(t, filepath.Join(t.TempDir(), "views.db"), growing, projections.Config{Interval: time.Nanosecond}, nil)
		live.start()
		growing.Fill(t, suiteSeed, suiteOrders, suiteEvents)
		live.Wait()
		same(t, want, live.Dump())
	})
	t.Run("stopped anywhere and started again equals never stopped", func(t *testing.T) {
		h.interrupted(t, s, EachBatch, want)
	})
	t.Run("killed at any point and started again equals never killed", func(t *testing.T) { h.killedAnywhere(t) })
	t.Run("no personal data is in the file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "views.db")
		h.rebuiltAt(t, path, s, projections.Config{}).Close()
		h.noPersonalData(t, path, s)
	})
}

// interrupted ends the runner at its first batch, its second and so on, and
// starts it again on the same file. Every other time the process ends there, and
// with it what the file does not hold yet.
func (h *holding) interrupted(t *testing.T, s *Script, cfg projections.Config, want []byte) {
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
		f := h.keep(t, path, broken, cfg, nil)
		go func() {
			select {
			case <-f.keeper.Ready(): // the end of the script
				cancel()
			case <-ctx.Done():
			}
		}()
		if err := f.keeper.Run(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n%2 == 0 {
			f.Kill()
		}
		f.Close()
	}
	same(t, want, h.rebuiltAt(t, path, s, projections.Config{}).Dump())
}

// noPersonalData searches the file; what it does find is there to show that it can.
func (h *holding) noPersonalData(t *testing.T, path string, s *Script) {
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
	for id := range s.Events() {
		if !bytes.Contains(stored, []byte(id)) {
			t.Errorf("the file does not even hold %s: the search is wrong", id)
		}
	}
}

// rebuilt is the dump of a file that was made of the whole of s.
func (h *holding) rebuilt(t *testing.T, s *Script, cfg projections.Config) []byte {
	t.Helper()
	return h.rebuiltAt(t, filepath.Join(t.TempDir(), "views.db"), s, cfg).Dump()
}

// rebuiltAt is the file at path, stopped, when it holds the whole of s.
func (h *holding) rebuiltAt(t *testing.T, path string, s *Script, cfg projections.Config) *Running {
	t.Helper()
	f := h.keep(t, path, s, cfg, nil)
	f.start()
	f.Wait()
	f.Stop()
	return f
}

func same(t *testing.T, want, got []byte) {
	t.Helper()
	if !bytes.Equal(want, got) {
		t.Errorf("the file holds other bytes: %d lines in all, want %d", bytes.Count(got, []byte("\n")), bytes.Count(want, []byte("\n")))
	}
}

// AtOnce builds the views of whatever is in the log at the start.
var AtOnce = projections.Config{BuildFrom: 1}

// EachBatch commits every batch of a log by itself.
var EachBatch = projections.Config{MaxBatch: 1}

// Follower is a file of views and its runner. It is stopped and closed with the test.
type Follower struct {
	*Running

	Path   string
	File   *projections.File
	Runner *projections.Runner
}

// Start opens the file at path and runs views on it.
func Start(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config) *Follower {
	tb.Helper()
	return start(tb, path, log, views, cfg, nil)
}

func start(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config, at func(projections.Point)) *Follower {
	tb.Helper()
	f := open(tb, path, log, views, cfg, at)
	f.start()
	return f
}

func open(tb testing.TB, path string, log projections.Log, views Views, cfg projections.Config, at func(projections.Point)) *Follower {
	tb.Helper()
	file, err := projections.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	f := &Follower{Path: path, File: file}
	kept := &kept{File: file}
	f.Running = running(tb, log, kept)
	facts, others := views(file)
	kept.Runner, err = projections.New(cfg, projections.Deps{
		Log: log, Machine: order.Default(), Clock: time.Now, //nolint:forbidigo // a test's
		Logger: slog.New(slog.DiscardHandler), At: at,
	}, file, facts, others...)
	if err != nil {
		tb.Fatal(err)
	}
	f.Runner = kept.Runner
	return f
}
