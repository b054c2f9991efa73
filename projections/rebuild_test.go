package projections_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/projectiontest"
)

// ended waits for a build, and wants it to end as it should.
func ended(t *testing.T, r *projections.Runner, number uint64, outcome string) projections.BuildStatus {
	t.Helper()
	s, err := r.AwaitBuild(t.Context(), number)
	must(t, err)
	if s.Outcome != outcome {
		t.Fatalf("the build %d ended as %q (%s), want %q", number, s.Outcome, s.Detail, outcome)
	}
	return s
}

func exists(t *testing.T, path string, want bool) {
	t.Helper()
	if _, err := os.Stat(path); (err == nil) != want {
		t.Errorf("%s is there: %v; want %v", path, err, want)
	}
}

// Readers and a writer go on during a rebuild: no reader sees less than before, and
// what comes of it is what a view built of the whole log is.
func TestRebuiltEqualsLive(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		last := 0
		for {
			select {
			case <-done:
				return
			default:
			}
			n := 0
			must(t, f.File.View(func(tx *kv.Tx) error {
				return tx.Bucket("timeline", "events").ForEach(func(_, _ []byte) error { n++; return nil })
			}))
			if n < last {
				t.Errorf("%d events after %d", n, last)
			}
			last = n
		}
	})
	others.Go(func() {
		for seed := range uint64(20) {
			s.Fill(t, 100+seed, 40, 20)
		}
	})
	for range 3 {
		number, err := f.Runner.Rebuild(false)
		must(t, err)
		ended(t, f.Runner, number, projections.Promoted)
	}
	close(done)
	others.Wait()
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
	exists(t, path+".next", false)
	exists(t, path+".previous", true)
}

func TestABuildIsHeldPromotedAndRolledBack(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	if _, err := f.Runner.Rollback(); domain.KindOf(err) != domain.NotFound {
		t.Errorf("roll back to nothing: %v", err)
	}
	if _, err := f.Runner.Promote(); domain.KindOf(err) != domain.NotFound {
		t.Errorf("promote nothing: %v", err)
	}
	number, err := f.Runner.Rebuild(true)
	must(t, err)
	if held := ended(t, f.Runner, number, ""); !held.CaughtUp || held.Progress.Folded != held.Progress.Total {
		t.Errorf("held: %+v", held)
	}
	if _, err := f.Runner.Rebuild(false); domain.KindOf(err) != domain.Refused {
		t.Errorf("a second build: %v", err)
	}
	s.Fill(t, 9, 10, 50) // which both follow
	_, err = f.Runner.Promote()
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	s.Fill(t, 10, 10, 50) // which the one that was replaced does not know
	f.Wait()
	number, err = f.Runner.Rollback()
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
}

// TestARollbackThatCannotBeginChangesNothing lets a cancelled build be one that cannot be
// removed: the views before stay what they are, and are no candidate.
func TestARollbackThatCannotBeginChangesNothing(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	must(t, os.MkdirAll(path+".cancelled/x", 0o700))
	if _, err := f.Runner.Rollback(); err == nil {
		t.Error("it was rolled back")
	}
	exists(t, path+".previous", true)
	exists(t, path+".next", false)
	must(t, os.RemoveAll(path+".cancelled"))
	number, err = f.Runner.Rollback()
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
}

func TestADiscardedBuildLeavesNothing(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(true)
	must(t, err)
	ended(t, f.Runner, number, "")
	_, err = f.Runner.DiscardBuild()
	must(t, err)
	// It is held until then, and ends after it.
	for s, err := f.Runner.AwaitBuild(t.Context(), number); s.Outcome == ""; s, err = f.Runner.AwaitBuild(t.Context(), number) {
		must(t, err)
	}
	ended(t, f.Runner, number, projections.Cancelled)
	left, err := filepath.Glob(path + "*")
	must(t, err)
	if !slices.Equal(left, []string{path, path + ".seen"}) {
		t.Errorf("there are files %v", left)
	}
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

// A process that ends leaves a build to the next one, which does not promote it by
// itself.
func TestABuildGoesOnAfterARestart(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(true)
	must(t, err)
	ended(t, f.Runner, number, "")
	f.Stop()
	f.Close()
	exists(t, path+".next", true)
	must(t, os.Link(path, path+".previous")) // a kill within the promotion leaves it

	f = projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	status, err := f.Runner.Status(t.Context())
	must(t, err)
	for status.Build == nil { // until it looked
		status, err = f.Runner.Status(t.Context())
		must(t, err)
	}
	ended(t, f.Runner, status.Build.Number, "")
	exists(t, path+".previous", false)
	s.Fill(t, 9, 10, 50)
	_, err = f.Runner.Promote()
	must(t, err)
	ended(t, f.Runner, status.Build.Number, projections.Promoted)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

// tornLog breaks off whoever reads it from the beginning while torn says so.
type tornLog struct {
	*projectiontest.Script

	mu   sync.Mutex
	torn bool
}

func (l *tornLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	l.mu.Lock()
	torn := l.torn
	l.mu.Unlock()
	if torn {
		return errTorn
	}
	return l.Script.Stored(ctx, partition, after, upTo, handle)
}

func TestABuildThatFailsKeepsTheViews(t *testing.T) {
	s, path := &tornLog{Script: filled(t)}, viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	<-f.Runner.Ready()
	s.mu.Lock()
	s.torn = true
	s.mu.Unlock()
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	if failed := ended(t, f.Runner, number, projections.Failed); !strings.Contains(failed.Detail, "torn") {
		t.Errorf("detail = %q", failed.Detail)
	}
	exists(t, path+".next", false)
	s.Fill(t, 9, 10, 50)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s.Script)) {
		t.Error("the views hold other bytes")
	}
}
