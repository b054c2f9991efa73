package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
)

// A process that is to die finds where in its environment.
const (
	envPoint = "COMANDA_TEST_DIE_AT"
	envDir   = "COMANDA_TEST_DIE_IN"
	envRound = "COMANDA_TEST_DIE_ROUND"
)

// Doom is how this process is to end, when a test has run itself again for that.
type Doom struct {
	Point projections.Point
	Dir   string // where the views are
	Round int
}

// Doomed is false for the process that runs the tests.
func Doomed(tb testing.TB) (d Doom, doomed bool) {
	tb.Helper()
	d = Doom{Point: projections.Point(os.Getenv(envPoint)), Dir: os.Getenv(envDir)}
	if d.Point == "" {
		return d, false
	}
	if _, err := fmt.Sscan(os.Getenv(envRound), &d.Round); err != nil {
		tb.Fatal(err)
	}
	return d, true
}

// Execute runs the test again in a process of its own, which finds that it is doomed, and
// wants it to kill itself.
func (d Doom) Execute(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+name+"$") //nolint:gosec // this test
	child.Env = append(os.Environ(), envPoint+"="+string(d.Point), envDir+"="+d.Dir, envRound+"="+strconv.Itoa(d.Round))
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%s: the process ends with %v, want it to be killed there; it says:\n%s", d.Point, err, out)
	}
}

// At kills this process at its point.
func (d Doom) At() func(projections.Point) {
	var dead atomic.Bool
	return func(p projections.Point) {
		if p == d.Point && dead.CompareAndSwap(false, true) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		if dead.Load() {
			select {} // nothing is done after it
		}
	}
}

// killedAnywhere has one process after the other work on the same file and kill itself,
// each at another point. After each the file, and the build that it left, if any, are
// what the log says.
func (h *holding) killedAnywhere(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for round, point := range h.points {
		Doom{Point: point, Dir: dir, Round: round}.Execute(t)
		h.whole(t, filepath.Join(dir, "views.db"), scriptOf(t, round), point)
		if t.Failed() {
			return
		}
	}
}

// whole compares the views at path with those that were never killed.
func whole(t *testing.T, path string, s *Script, views Views, point projections.Point) {
	t.Helper()
	_, err := os.Stat(path + ".next")
	left := err == nil
	_, err = os.Stat(path + ".cancelled")
	cancelled := err == nil
	f := Start(t, path, s, views, EachBatch)
	f.Wait()
	if cancelled {
		f.build(true)
		left = true
	}
	fresh := Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projections.Config{})
	fresh.Wait()
	want := fresh.Dump()
	if string(f.Dump()) != string(want) {
		t.Errorf("%s: the views hold other bytes", point)
	}
	for left { // it is taken up by then, and becomes the views
		<-f.Runner.Ready()
		number, err := f.Runner.Promote()
		if domain.KindOf(err) == domain.NotFound {
			continue // not yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if b, err := f.Runner.AwaitBuild(t.Context(), number); err != nil || b.Outcome != projections.Promoted {
			t.Fatalf("%s: the build that was left is %+v, %v", point, b, err)
		}
		if string(f.Dump()) != string(want) {
			t.Errorf("%s: the build that was left holds other bytes", point)
		}
		break
	}
	f.Stop()
	f.Close()
}

// scriptOf is the log at the end of a round; one before has a poisoned order, too.
func scriptOf(tb testing.TB, round int) *Script {
	tb.Helper()
	s := NewScript(suitePartitions)
	s.Fill(tb, suiteSeed, suiteOrders, 100)
	bad, _ := s.Record(tb, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: "poisoned", Key: "1"})
	bad.Event.ID, bad.Event.Revision = "bad", 7
	s.Append(bad.Event)
	for n := range round + 1 {
		s.more(tb, n)
	}
	return s
}

// more is what comes within a round.
func (s *Script) more(tb testing.TB, round int) {
	tb.Helper()
	s.Fill(tb, suiteSeed+1+uint64(round), suiteOrders, 20) //nolint:gosec // not negative
}

// die does all that a runner does, and ends at the point.
func die(tb testing.TB, views Views, d Doom) {
	tb.Helper()
	at := d.At()
	path := filepath.Join(d.Dir, "views.db")
	s := scriptOf(tb, d.Round-1)
	s.Cut = func(n int) int { return min(n, 17) }
	cfg := projections.Config{MaxBatch: 1, FlushBytes: 1}
	endWithin(tb, path, s, views, cfg, at)
	f := start(tb, path, s, views, cfg, at)
	f.await(f.takenUp())
	f.cancelBuild()
	f.build(true)
	s.more(tb, d.Round) // which both follow
	f.Wait()
	f.Stop()
	f.Close()
	f = start(tb, path, s, views, cfg, at)
	f.Wait()
	<-f.Runner.Ready()
	for number := uint64(0); number == 0; {
		var err error
		if number, err = f.Runner.Promote(); err != nil && domain.KindOf(err) != domain.NotFound {
			tb.Fatal(err)
		}
		f.await(number)
	}
	if number, err := f.Runner.Rollback(); err != nil {
		tb.Fatal(err)
	} else {
		f.await(number)
	}
	parked, err := f.Runner.ParkedOrders()
	if err != nil || len(parked) != 1 {
		tb.Fatalf("parked are %v, %v", parked, err)
	}
	if _, err := f.Runner.RetryParked(tb.Context(), parked[0].Order); err != nil {
		tb.Fatal(err)
	}
	tb.Fatal("the point was not reached")
}

// endWithin ends a runner when its build has read the log.
func endWithin(tb testing.TB, path string, s *Script, views Views, cfg projections.Config, at func(projections.Point)) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	f := open(tb, path, s, views, cfg, func(p projections.Point) {
		at(p)
		if p == projections.PointBuildRead {
			cancel()
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Runner.Run(ctx) }()
	<-f.Runner.Ready()
	if _, err := f.Runner.RebuildAnew(true); err != nil {
		tb.Fatal(err)
	}
	if err := <-ended; err != nil {
		tb.Fatal(err)
	}
	f.Close()
}

// takenUp is the number of the build that an earlier process left.
func (f *Follower) takenUp() uint64 {
	f.t.Helper()
	for {
		s, err := f.Runner.Status(f.t.Context())
		if err != nil {
			f.t.Fatal(err)
		}
		if s.Build != nil && s.Build.Number > 0 {
			return s.Build.Number
		}
	}
}

// cancelBuild cancels a build that waits.
func (f *Follower) cancelBuild() {
	f.t.Helper()
	number, err := f.Runner.CancelBuild()
	for err == nil {
		var b projections.BuildStatus
		if b, err = f.Runner.AwaitBuild(f.t.Context(), number); b.Outcome == projections.Cancelled {
			return
		}
	}
	f.t.Fatal(err)
}

// build builds the views beside those that serve.
func (f *Follower) build(hold bool) {
	f.t.Helper()
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(hold)
	if err != nil {
		f.t.Fatal(err)
	}
	f.await(number)
}

func (f *Follower) await(number uint64) {
	f.t.Helper()
	if number == 0 {
		return
	}
	if b, err := f.Runner.AwaitBuild(f.t.Context(), number); err != nil || b.Outcome == projections.Failed {
		f.t.Fatalf("the build is %+v, %v", b, err)
	}
}
