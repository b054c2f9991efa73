package projectiontest

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
)

// Beside is an index that follows the log in a file of its own, beside the views, and can
// be built anew.
type Beside interface {
	Keeper
	Rebuild() (number uint64, err error)
	AwaitBuild(ctx context.Context, number uint64) (projections.BuildStatus, error)
}

// awaited waits for an index that is being made, too.
type awaited struct{ Beside }

// Wait implements [Keeper].
func (a awaited) Wait(ctx context.Context, position domain.Position) error {
	select {
	case <-a.Ready():
		return a.Beside.Wait(ctx, position)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Index is an index under test.
type Index struct {
	// Open opens the file at path. Of cfg it needs to heed nothing but FlushBytes.
	Open func(tb testing.TB, path string, log *Script, cfg projections.Config, at func(projections.Point)) Beside
	// Points are those of its work, and Opened is the one where the file of a build is there.
	Points []projections.Point
	Opened projections.Point
}

// RunIndex holds an index to the promises of package projections that are not of views alone.
func RunIndex(t *testing.T, index Index) {
	t.Helper()
	if d, doomed := Doomed(t); doomed {
		index.die(t, d)
	}
	h := holding{points: index.Points, keep: index.keep}
	h.whole = func(t *testing.T, path string, s *Script, point projections.Point) {
		t.Helper()
		f := h.keep(t, path, s, projections.Config{}, nil)
		f.start()
		f.Wait()
		want := h.rebuilt(t, s, projections.Config{})
		if string(f.Dump()) != string(want) {
			t.Errorf("%s: the index holds other bytes", point)
		}
		f.rebuild() // or go on with what was left
		if string(f.Dump()) != string(want) {
			t.Errorf("%s: the build holds other bytes", point)
		}
		f.Stop()
		f.Close()
	}
	s, want := h.script(t)
	h.promises(t, s, want)
	t.Run("built beside equals followed", func(t *testing.T) {
		growing := s.Copy()
		var mu sync.Mutex
		rounds := 0
		grow := func(projections.Point) { // whatever is done, more comes meanwhile
			mu.Lock()
			defer mu.Unlock()
			if rounds++; rounds < 20 {
				growing.more(t, rounds)
			}
		}
		f := h.keep(t, filepath.Join(t.TempDir(), "views.db"), growing, projections.Config{}, grow)
		f.start()
		f.rebuild()
		mu.Lock()
		rounds = 20
		mu.Unlock()
		f.Wait()
		live := f.Dump()
		same(t, h.rebuilt(t, growing, projections.Config{}), live)
		f.rebuild()
		same(t, live, f.Dump())
	})
}

// rebuild waits until a build has taken the place of the index, one that an earlier
// process left, if any.
func (f *Running) rebuild() {
	f.t.Helper()
	b := f.beside()
	<-b.Ready()
	number, err := b.Rebuild()
	switch domain.KindOf(err) {
	case domain.Refused:
		number = 1 // is under way
	default:
		if err != nil {
			f.t.Fatal(err)
		}
	}
	built, err := b.AwaitBuild(f.t.Context(), number)
	if err != nil || built.Outcome != projections.Promoted {
		f.t.Fatalf("the build is %+v, %v", built, err)
	}
}

func (index *Index) keep(tb testing.TB, path string, log *Script, cfg projections.Config, at func(projections.Point)) *Running {
	tb.Helper()
	return running(tb, log, awaited{index.Open(tb, path, log, cfg, at)})
}

// die does all that an index does, and ends at the point.
func (index *Index) die(tb testing.TB, d Doom) {
	tb.Helper()
	path := filepath.Join(d.Dir, "views.db")
	s := scriptOf(tb, d.Round-1)
	s.Cut = func(n int) int { return min(n, 17) }
	at, opened, goOn := d.At(), make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() {
		close(opened)
		<-goOn
	})
	cfg := projections.Config{FlushBytes: 1}
	f := index.keep(tb, path, s, cfg, func(p projections.Point) {
		if at(p); p == index.Opened {
			once()
		}
	})
	f.start()
	<-f.keeper.Ready()
	if _, err := f.beside().Rebuild(); err != nil {
		tb.Fatal(err)
	}
	<-opened
	f.cancel() // leaves the build
	close(goOn)
	f.Stop()
	f.Close()
	f = index.keep(tb, path, s, cfg, at)
	f.start()
	s.more(tb, d.Round) // which the build follows, too
	f.rebuild()
	f.Wait()
	f.Stop()
	f.Close()
	tb.Fatal("the point was not reached")
}

func (f *Running) beside() Beside {
	f.t.Helper()
	b, ok := f.keeper.(Beside)
	if !ok {
		f.t.Fatal("this cannot be built beside itself")
	}
	return b
}
