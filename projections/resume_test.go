package projections_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
)

// countedLog tells what is read of it to build views, and calls end, unless it is nil,
// before so many batches are handed over.
type countedLog struct {
	*projectiontest.Script

	mu   sync.Mutex
	read int // events
	left int // batches until end
	end  func(ctx context.Context)
}

func (l *countedLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	return l.Script.Stored(ctx, partition, after, upTo, func(events []domain.Stored) error {
		l.mu.Lock()
		l.read += len(events)
		l.left--
		end := l.end
		if l.left != 0 {
			end = nil
		}
		l.mu.Unlock()
		if end != nil {
			end(ctx)
		}
		return handle(events)
	})
}

// endAfter has end be called before the nth batch from now.
func (l *countedLog) endAfter(batches int, end func(ctx context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read, l.left, l.end = 0, batches, end
}

func (l *countedLog) events() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read
}

// cutOff builds the views at path from the beginning and ends that before the nth batch,
// or at the end of the log. It gives what was logged.
func cutOff(t tester, path string, l *countedLog, batches int, of projectiontest.Views) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.endAfter(batches, func(context.Context) { cancel() })
	file, err := projections.Open(path)
	must(t, err)
	var logged bytes.Buffer
	d := deps(l)
	d.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	facts, others := of(file)
	r, err := projections.New(projectiontest.AtOnce, d, file, facts, others...)
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case <-ctx.Done():
	}
	cancel()
	must(t, <-ended)
	must(t, file.Close())
	if strings.Contains(logged.String(), "follow the log instead") {
		t.Fatal(logged.String())
	}
	return logged.String()
}

// dumped is what the file at path holds.
func dumped(t tester, path string) []byte {
	t.Helper()
	file, err := projections.Open(path)
	must(t, err)
	var out bytes.Buffer
	must(t, file.Dump(&out))
	must(t, file.Close())
	return out.Bytes()
}

const never = 1 << 30 // batches

// TestABuildIsCutOffAnywhere ends the first build of a file within any batch, any number
// of times, and lets the log grow and the files of a kill come back in between.
func TestABuildIsCutOffAnywhere(t *testing.T) {
	all := t
	rapid.Check(t, func(t *rapid.T) {
		s := projectiontest.NewScript(1 + rapid.IntRange(0, 2).Draw(t, "partitions"))
		width := rapid.IntRange(1, 40).Draw(t, "width")
		s.Cut = func(n int) int { return min(n, width) }
		s.Fill(all, rapid.Uint64Range(1, 1000).Draw(t, "seed"), 20, 60)
		l := &countedLog{Script: s}
		dir := all.TempDir()
		path := filepath.Join(dir, "views.db")
		for range rapid.IntRange(1, 3).Draw(t, "ends") {
			if rapid.Bool().Draw(t, "killed") { // it leaves the files of a build that goes on
				buildKilled(t, path)
			}
			cutOff(t, path, l, rapid.IntRange(1, 30).Draw(t, "batches"), views)
			switch rapid.SampledFrom([]string{"nothing", "more", "poison"}).Draw(t, "grows") {
			case "more":
				s.Fill(all, rapid.Uint64Range(1, 1000).Draw(t, "seed"), 20, 30)
			case "poison":
				id := rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "order")
				if e, isNew := s.Record(all, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: id, Key: "1"}); isNew {
					e.Event.ID, e.Event.Revision = "bad", 7
					s.Append(e.Event)
				}
			}
		}
		cutOff(t, path, l, never, views)
		whole := filepath.Join(dir, "whole.db")
		cutOff(t, whole, l, never, views)
		if !bytes.Equal(dumped(t, path), dumped(t, whole)) {
			t.Error("the views hold other bytes than those that were built in one go")
		}
		left, err := filepath.Glob(path + ".*")
		must(t, err)
		if !slices.Equal(left, []string{path + ".seen"}) {
			t.Errorf("there are files %v beside the views", left)
		}
	})
}

// buildKilled leaves what a kill of a build that went on leaves: events, and nothing that says
// what they are of.
func buildKilled(t tester, path string) {
	t.Helper()
	if err := os.Remove(path + ".building.kept"); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	must(t, os.WriteFile(path+".building.kept.new", []byte("kept1\n"), 0o600))
}

// TestACutOffBuildReadsOnlyTheRest counts what is read of the log.
func TestACutOffBuildReadsOnlyTheRest(t *testing.T) {
	s := filled(t)
	s.Cut = func(n int) int { return min(n, 5) }
	l, path := &countedLog{Script: s}, viewsPath(t)
	cutOff(t, path, l, 15, views)
	logged := cutOff(t, path, l, never, views)
	if read := l.events(); !strings.Contains(logged, "goes on from where it was ended") || read > 40 {
		t.Errorf("%d events were read; %s", read, logged)
	}
	if !bytes.Equal(dumped(t, path), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

// TestWhatWasKeptMustFit changes what a build that was cut off is of: the next one says so
// and begins anew.
func TestWhatWasKeptMustFit(t *testing.T) {
	flip := func(suffix string, at int) func(*testing.T, string, *countedLog) {
		return func(t *testing.T, path string, _ *countedLog) {
			t.Helper()
			text, err := os.ReadFile(path + ".building" + suffix)
			must(t, err)
			text[(len(text)+at)%len(text)] ^= 1
			must(t, os.WriteFile(path+".building"+suffix, text, 0o600))
		}
	}
	truncate := func(suffix string, by int) func(*testing.T, string, *countedLog) {
		return func(t *testing.T, path string, _ *countedLog) {
			t.Helper()
			text, err := os.ReadFile(path + ".building" + suffix)
			must(t, err)
			must(t, os.WriteFile(path+".building"+suffix, text[:len(text)-by], 0o600))
		}
	}
	for _, c := range []struct {
		name, says string
		views      projectiontest.Views
		change     func(t *testing.T, path string, l *countedLog)
	}{
		{"an event is another", "not those that were written", views, flip(".events", 7)},
		{"the last event is another", "not those that were written", views, flip(".events", -1)},
		{"events are cut off", "bytes of events", views, truncate(".events", 1)},
		{"the events are gone", "bytes of events", views, func(t *testing.T, path string, _ *countedLog) {
			t.Helper()
			must(t, os.Remove(path+".building.events"))
		}},
		{"what says so is another", "damaged", views, flip(".kept", -9)},
		{"its sum is another", "damaged", views, flip(".kept", 9)},
		{"it has another form", "damaged", views, flip(".kept", 0)},
		{"what says so is cut off", "damaged", views, truncate(".kept", 3)},
		{"a view has another version", "views have another version", newViews, func(*testing.T, string, *countedLog) {}},
		{"the machine has another version", "machine has another version", views, func(t *testing.T, path string, _ *countedLog) {
			t.Helper()
			must(t, projections.KeptByMachine(path+".building", 0))
		}},
		{"the log is another", "another log", views, func(t *testing.T, path string, l *countedLog) {
			t.Helper()
			must(t, os.Remove(path))
			l.Name = "another"
		}},
		{"the log was restored", "restored", views, func(_ *testing.T, _ string, l *countedLog) { l.Restores++ }},
		{"the log is shorter", "went backwards", views, func(_ *testing.T, _ string, l *countedLog) {
			l.Change(0, func(events []domain.Recorded) []domain.Recorded { return events[:10] })
		}},
		{"the log holds another event", "went backwards", views, func(_ *testing.T, _ string, l *countedLog) {
			l.Change(0, func(events []domain.Recorded) []domain.Recorded {
				for i := range events {
					events[i].Hash[0] ^= 1
				}
				return events
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := filled(t)
			s.Cut = func(n int) int { return min(n, 5) }
			l, path := &countedLog{Script: s}, viewsPath(t)
			cutOff(t, path, l, 12, views)
			exists(t, path+".building.kept", true)
			c.change(t, path, l)
			logged := cutOff(t, path, l, never, c.views)
			if !strings.Contains(logged, "begins anew") || !strings.Contains(logged, c.says) {
				t.Errorf("logged: %s", logged)
			}
			if !bytes.Equal(dumped(t, path), fresh(t, s, c.views)) {
				t.Error("the views hold other bytes")
			}
		})
	}
}

// cancelWithin begins a build and cancels it before the nth batch.
func cancelWithin(t *testing.T, f *projectiontest.Follower, l *countedLog, batches int) {
	t.Helper()
	l.endAfter(batches, func(ctx context.Context) {
		if _, err := f.Runner.CancelBuild(); err != nil {
			t.Error(err)
		}
		<-ctx.Done() // which the operator's word brings about
	})
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Cancelled)
}

// TestACancelledBuildIsResumed cancels at each batch, in this process and for the next one.
func TestACancelledBuildIsResumed(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	s.Fill(t, 50, 40, 300)
	s.Cut = func(n int) int { return min(n, 5) }
	l := &countedLog{Script: s}
	f := projectiontest.Start(t, path, l, views, projections.Config{})
	<-f.Runner.Ready()
	for n := range 8 {
		cancelWithin(t, f, l, 2+n%3)
		exists(t, path+".next", false)
		status, err := f.Runner.Status(t.Context())
		must(t, err)
		if c := status.Cancelled; c == nil || c.Read == 0 || c.Read >= c.Total || c.FileBytes == 0 || status.Build.Outcome != projections.Cancelled {
			t.Errorf("cancelled: %+v, %+v", c, status.Build)
		}
		s.Fill(t, 20+uint64(n), 10, 10)
		if n%3 == 0 {
			f.Wait()
			f.Stop()
			f.Close()
			f = projectiontest.Start(t, path, l, views, projections.Config{})
			<-f.Runner.Ready()
			if _, err := f.Runner.CancelBuild(); domain.KindOf(err) != domain.NotFound {
				t.Errorf("a start takes it up: %v", err)
			}
		}
	}
	l.endAfter(never, nil)
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	if b := ended(t, f.Runner, number, projections.Promoted); uint64(l.events()) >= b.Progress.Total {
		t.Errorf("%d events were read of %d", l.events(), b.Progress.Total)
	}
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
	exists(t, path+".next.building.kept", false)
	exists(t, path+".next.building.events", false)
	exists(t, path+".cancelled", false)
}

// TestWhatEndsACancelledBuild removes it by every way but to go on with it.
func TestWhatEndsACancelledBuild(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *projectiontest.Follower){
		"discard": func(t *testing.T, f *projectiontest.Follower) {
			t.Helper()
			number, err := f.Runner.DiscardBuild()
			must(t, err)
			if number != 0 {
				t.Errorf("the build %d goes on", number)
			}
			if _, err := f.Runner.DiscardBuild(); domain.KindOf(err) != domain.NotFound {
				t.Errorf("discard nothing: %v", err)
			}
		},
		"anew": func(t *testing.T, f *projectiontest.Follower) {
			t.Helper()
			number, err := f.Runner.RebuildAnew(false)
			must(t, err)
			ended(t, f.Runner, number, projections.Promoted)
		},
		"rollback": func(t *testing.T, f *projectiontest.Follower) {
			t.Helper()
			number, err := f.Runner.Rollback()
			must(t, err)
			ended(t, f.Runner, number, projections.Promoted)
		},
		"skip": func(t *testing.T, f *projectiontest.Follower) {
			t.Helper()
			parked, err := f.Runner.ParkedOrders()
			must(t, err)
			_, err = f.Runner.SkipParked(t.Context(), parked[0].Order, "made by hand")
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, path := filled(t), viewsPath(t)
			bad := s.Events()[firstOrder(s)][0]
			bad.ID, bad.Revision = "bad", 999
			s.Append(bad)
			s.Cut = func(n int) int { return min(n, 10) }
			l := &countedLog{Script: s}
			f := projectiontest.Start(t, path, l, views, projections.Config{})
			<-f.Runner.Ready()
			number, err := f.Runner.Rebuild(false) // to have something to go back to
			must(t, err)
			ended(t, f.Runner, number, projections.Promoted)
			cancelWithin(t, f, l, 4)
			exists(t, path+".cancelled", true)
			l.endAfter(never, nil)
			end(t, f)
			for _, suffix := range []string{".cancelled", ".next.building.kept", ".next.building.events"} {
				exists(t, path+suffix, false)
			}
			if status, err := f.Runner.Status(t.Context()); err != nil || status.Cancelled != nil {
				t.Errorf("status: %+v, %v", status.Cancelled, err)
			}
			if number, err = f.Runner.Rebuild(false); err == nil {
				ended(t, f.Runner, number, projections.Promoted)
			}
			must(t, err)
			f.Wait()
			if name != "skip" && !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
				t.Error("the views hold other bytes")
			}
		})
	}
}

// TestAWholeBuildThatIsCancelledIsResumed keeps one that waits.
func TestAWholeBuildThatIsCancelledIsResumed(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	l := &countedLog{Script: s}
	f := projectiontest.Start(t, path, l, views, projections.Config{})
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(true)
	must(t, err)
	ended(t, f.Runner, number, "")
	_, err = f.Runner.CancelBuild()
	must(t, err)
	for b, err := f.Runner.AwaitBuild(t.Context(), number); b.Outcome == ""; b, err = f.Runner.AwaitBuild(t.Context(), number) {
		must(t, err) // it is held until then, and ends after it
	}
	ended(t, f.Runner, number, projections.Cancelled)
	exists(t, path+".cancelled", true)
	s.Fill(t, 9, 10, 10)
	l.endAfter(never, nil)
	number, err = f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	if read := l.events(); read != 0 {
		t.Errorf("%d events were read to build it", read)
	}
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

// TestACancelledBuildThatCannotBeRead begins anew, and is not called whole before.
func TestACancelledBuildThatCannotBeRead(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	s.Cut = func(n int) int { return min(n, 5) }
	l := &countedLog{Script: s}
	f := projectiontest.Start(t, path, l, views, projections.Config{})
	<-f.Runner.Ready()
	cancelWithin(t, f, l, 3)
	if c := f.Runner.CancelledBuild(); c.Unreadable || c.Read == 0 {
		t.Errorf("cancelled: %+v", c)
	}
	must(t, os.Truncate(path+".next.building.kept", 9))
	if c := f.Runner.CancelledBuild(); !c.Unreadable || c.Total != 0 || c.Read != 0 {
		t.Errorf("damaged: %+v", c)
	}
	l.endAfter(never, nil)
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	if b := ended(t, f.Runner, number, projections.Promoted); uint64(l.events()) != b.Progress.Total {
		t.Errorf("%d events were read of %d", l.events(), b.Progress.Total)
	}
}

// TestACancelledBuildThatCannotBeKeptHasFailed lets something else have its name, which
// cannot be removed either.
func TestACancelledBuildThatCannotBeKeptHasFailed(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*projections.Runner) (uint64, error)
		says string
	}{
		"cancel":  {(*projections.Runner).CancelBuild, "(cancelled): rename"},
		"discard": {(*projections.Runner).DiscardBuild, "remove"},
	} {
		t.Run(name, func(t *testing.T) {
			path := viewsPath(t)
			f := projectiontest.Start(t, path, filled(t), views, projections.Config{})
			<-f.Runner.Ready()
			number, err := f.Runner.Rebuild(true)
			must(t, err)
			ended(t, f.Runner, number, "")
			must(t, os.MkdirAll(path+".cancelled/x", 0o700))
			_, err = c.end(f.Runner)
			must(t, err)
			for b, err := f.Runner.AwaitBuild(t.Context(), number); b.Outcome == ""; b, err = f.Runner.AwaitBuild(t.Context(), number) {
				must(t, err) // it is held until then, and ends after it
			}
			if b := ended(t, f.Runner, number, projections.Failed); !strings.Contains(b.Detail, c.says) {
				t.Errorf("detail: %s", b.Detail)
			}
		})
	}
}

// TestTwiceCutOffOfPartitions lets partitions grow between two ends of a build.
func TestTwiceCutOffOfPartitions(t *testing.T) {
	s := projectiontest.NewScript(2)
	s.Cut = func(n int) int { return min(n, 50) }
	s.Fill(t, 1, 1200, 2000)
	l := &countedLog{Script: s}
	dir := t.TempDir()
	path := filepath.Join(dir, "views.db")
	for i := range 3 {
		cutOff(t, path, l, []int{30, 12, 12}[i], views)
		exists(t, path+".building.kept", true)
		s.Fill(t, 10+uint64(i), 600, 900)
	}
	t.Log(cutOff(t, path, l, never, views))
	whole := filepath.Join(dir, "whole.db")
	cutOff(t, whole, l, never, views)
	if a, b := dumped(t, path), dumped(t, whole); !bytes.Equal(a, b) {
		t.Errorf("the views hold other bytes: %d, %d", len(a), len(b))
	}
}
