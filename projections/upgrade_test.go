package projections_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/proof"
)

// renewed is the next version of the view, which reads what the one before it wrote: it
// writes a key more.
type renewed struct{ *orders.View }

var _ projections.Legible = renewed{}

func (v renewed) Version() uint32           { return v.View.Version() + 1 }
func (v renewed) Reads(version uint32) bool { return version == v.View.Version() }

var newerBucket = "newer"

func (v renewed) Apply(b *kv.Bucket, changes []projections.Change) error {
	return errors.Join(v.View.Apply(b, changes), v.mark(b, changes))
}

func (v renewed) BuildOrders(b *kv.Bucket, changes []projections.Change, put projections.Put) error {
	return errors.Join(v.View.BuildOrders(b, changes, put), v.mark(b, changes))
}

func (v renewed) mark(b *kv.Bucket, changes []projections.Change) (err error) {
	for i := range changes {
		err = errors.Join(err, b.Bucket(newerBucket).Put([]byte(changes[i].Order), []byte("1")))
	}
	return err
}

// newViews are the views of the next version of the program.
func newViews(r projections.Reader) (projections.Facts, []projections.Projection) {
	facts, others := views(r)
	others[0] = renewed{orders.New(r)}
	return facts, others
}

// slowLog waits before it is read from its beginning, until it is told to go on.
type slowLog struct {
	*projectiontest.Script

	goOn chan struct{}
	tear func() error // nil: it does not
}

func (l *slowLog) wait(ctx context.Context, after, upTo uint64) error {
	if after > 0 || upTo <= 1 {
		return nil
	}
	if l.tear != nil {
		if err := l.tear(); err != nil {
			return err
		}
	}
	select {
	case <-l.goOn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *slowLog) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	if err := l.wait(ctx, after, upTo); err != nil {
		return err
	}
	return l.Script.Scan(ctx, partition, after, upTo, handle)
}

func (l *slowLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	if err := l.wait(ctx, after, upTo); err != nil {
		return err
	}
	return l.Script.Stored(ctx, partition, after, upTo, handle)
}

// upgraded is views of the version before, as the next version of the program finds
// them: behind the log, which it may not read yet.
func upgraded(t *testing.T) (path string, log *slowLog, before []byte) {
	t.Helper()
	path = viewsPath(t)
	s := filled(t)
	before = build(t, path, s)
	s.Fill(t, 8, 20, 100)
	return path, &slowLog{Script: s, goOn: make(chan struct{})}, before
}

func TestOlderViewsAnswerUntilNewOnesAreBuilt(t *testing.T) {
	path, s, before := upgraded(t)
	f := projectiontest.Start(t, path, s, newViews, projections.Config{})
	<-f.Runner.Answering()
	if !bytes.Equal(f.Dump(), before) {
		t.Error("the older views are not as they were")
	}
	position, outdated := f.Runner.Outdated()
	if outdated == "" || position.IsZero() || !position.Equal(f.Runner.Position()) {
		t.Errorf("they stand still at %v, %q; want at %v", position, outdated, f.Runner.Position())
	}
	head, err := s.Head(t.Context())
	must(t, err)
	waited := make(chan error, 1)
	go func() { waited <- f.Runner.Wait(t.Context(), head) }()
	status, err := f.Runner.Status(t.Context())
	must(t, err)
	for status.Build == nil { // until it began
		status, err = f.Runner.Status(t.Context())
		must(t, err)
	}
	if status.Outdated == "" || status.CaughtUp || status.LagEvents == 0 || status.Build.Number != 1 || !status.Build.Wanted ||
		status.Views[1].Name != "orders" || status.Views[1].Version != orders.New(f.File).Version() {
		t.Errorf("status = %+v, the build %+v", status, status.Build)
	}
	select {
	case err := <-waited:
		t.Errorf("a position that they do not hold was not waited for: %v", err)
	case <-f.Runner.Ready():
		t.Error("they are said to have caught up")
	default:
	}
	close(s.goOn)
	<-f.Runner.Ready()
	must(t, <-waited)
	if _, outdated := f.Runner.Outdated(); outdated != "" {
		t.Error("they are still said to be outdated")
	}
	s.Fill(t, 9, 20, 100) // they follow
	f.Wait()
	if !bytes.Equal(f.Dump(), fresh(t, s.Script, newViews)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
	ended(t, f.Runner, 1, projections.Promoted)
	exists(t, path+".previous", true)
}

// fresh is a dump of views of the whole log.
func fresh(t *testing.T, s *projectiontest.Script, views projectiontest.Views) []byte {
	t.Helper()
	f := projectiontest.Start(t, viewsPath(t), s, views, projections.Config{})
	f.Wait()
	f.Stop()
	defer f.Close()
	return f.Dump()
}

// A program that is started again in its older version finds its views as it left them,
// or those that the newer one put aside.
func TestADowngradeFindsItsViewsAgain(t *testing.T) {
	for name, promoted := range map[string]bool{"while they are built": false, "after the promotion": true} {
		t.Run(name, func(t *testing.T) {
			path, s, before := upgraded(t)
			f := projectiontest.Start(t, path, s, newViews, projections.Config{})
			if promoted {
				close(s.goOn)
				<-f.Runner.Ready()
			} else {
				<-f.Runner.Answering()
			}
			f.Stop()
			f.Close()

			file := openFile(t, path)
			facts, others := views(file)
			_, err := projections.New(projections.Config{}, deps(s), file, facts, others...)
			must(t, err)
			if !bytes.Equal(dump(t, file), before) {
				t.Error("the views are not as they were")
			}
			must(t, file.Close())
			if !bytes.Equal(build(t, path, s.Script), fresh(t, s.Script, views)) {
				t.Error("the views hold other bytes than those of the whole log")
			}
		})
	}
}

// Views of a version that nobody wrote, and of a newer one, are not read.
func TestViewsThatCannotBeReadDoNotAnswer(t *testing.T) {
	path, s := viewsPath(t), filled(t)
	fill := projectiontest.Start(t, path, s, newViews, projections.Config{})
	fill.Wait()
	fill.Stop()
	fill.Close()
	runner, err := newRunner(t, path, deps(s))
	must(t, err)
	if _, outdated := runner.Outdated(); outdated != "" || !runner.Position().IsZero() {
		t.Errorf("views of a newer version answer at %v", runner.Position())
	}
	select {
	case <-runner.Answering():
		t.Error("views that were emptied answer")
	default:
	}
}

func TestAnUpgradeThatFailsIsTriedAgain(t *testing.T) {
	path, s, before := upgraded(t)
	var mu sync.Mutex
	torn := 0
	s.tear = func() error {
		mu.Lock()
		defer mu.Unlock()
		if torn++; torn <= 2 {
			return errTorn
		}
		return nil
	}
	f := projectiontest.Start(t, path, s, newViews, projections.Config{})
	b, err := f.Runner.AwaitBuild(t.Context(), 1)
	for domain.KindOf(err) == domain.NotFound { // not begun yet, or the next one is
		status, err := f.Runner.Status(t.Context())
		must(t, err)
		if status.Build != nil && status.Build.Number > 1 {
			break
		}
		b, err = f.Runner.AwaitBuild(t.Context(), 1)
		if err == nil {
			break
		}
	}
	if err == nil && !strings.Contains(b.Detail, "torn") {
		t.Errorf("the first build ended as %+v", b)
	}
	if !bytes.Equal(f.Dump(), before) {
		t.Error("the older views are not as they were")
	}
	close(s.goOn)
	<-f.Runner.Ready()
	if !bytes.Equal(f.Dump(), fresh(t, s.Script, newViews)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
	status, err := f.Runner.Status(t.Context())
	must(t, err)
	if status.Build == nil || status.Build.Number < 2 {
		t.Errorf("the build is %+v, want the third", status.Build)
	}
}

// Who cancels the build of an upgrade keeps the older views until there is another.
func TestACancelledUpgradeLeavesTheOlderViews(t *testing.T) {
	path, s, before := upgraded(t)
	f := projectiontest.Start(t, path, s, newViews, projections.Config{})
	_, err := f.Runner.CancelBuild()
	for domain.KindOf(err) == domain.NotFound { // not begun yet
		_, err = f.Runner.CancelBuild()
	}
	must(t, err)
	b, err := f.Runner.AwaitBuild(t.Context(), 1)
	must(t, err)
	if b.Outcome != projections.Cancelled || !bytes.Equal(f.Dump(), before) {
		t.Errorf("the build ended as %+v, or the older views are not as they were", b)
	}
	close(s.goOn)
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	<-f.Runner.Ready()
	if !bytes.Equal(f.Dump(), fresh(t, s.Script, newViews)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
}

func TestOlderViewsOfAnotherPastAreCorrupt(t *testing.T) {
	for name, change := range map[string]func([]domain.Recorded) []domain.Recorded{
		"a shorter log":   func(e []domain.Recorded) []domain.Recorded { return e[:1] },
		"another event":   func(e []domain.Recorded) []domain.Recorded { e[29].Hash[0]++; return e },
		"a log that grew": func(e []domain.Recorded) []domain.Recorded { return e },
	} {
		t.Run(name, func(t *testing.T) {
			s := projectiontest.NewScript(1)
			s.Fill(t, 7, 10, 60)
			s.Change(0, func(e []domain.Recorded) []domain.Recorded { return e[:30] })
			path := viewsPath(t)
			build(t, path, s)
			s.Change(0, change)
			file := openFile(t, path)
			facts, others := newViews(file)
			r, err := projections.New(projections.Config{}, deps(s), file, facts, others...)
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				select {
				case <-r.Ready():
					cancel()
				case <-ctx.Done():
				}
			}()
			if err := r.Run(ctx); (domain.KindOf(err) == domain.Corrupt) != (name != "a log that grew") {
				t.Errorf("run: %v", err)
			}
		})
	}
}

// A machine that folds otherwise is another version of every view, whose rows can be read.
func TestViewsOfAnOlderMachineAnswer(t *testing.T) {
	path, s := viewsPath(t), filled(t)
	build(t, path, s)
	oldMachine(t, path)
	f := projectiontest.Start(t, path, s, proof.Views, projections.Config{})
	<-f.Runner.Answering()
	<-f.Runner.Ready()
	ended(t, f.Runner, 1, projections.Promoted)
	if !bytes.Equal(f.Dump(), fresh(t, s, views)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
	if _, err := os.Stat(path + ".previous"); err != nil {
		t.Errorf("they were not built beside the older ones: %v", err)
	}
}

// Who only looks, and may be stopped at any time, leaves older views as they are until those
// of this version are built.
func TestWhoOnlyLooksEmptiesNoOlderViews(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	build(t, path, s)
	oldMachine(t, path)
	before, err := os.ReadFile(path)
	must(t, err)
	d := deps(s)
	d.OnlyLook = true
	file := openFile(t, path)
	facts, others := views(file)
	r, err := projections.New(projections.Config{}, d, file, facts, others...)
	must(t, err)
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
		t.Fatalf("the file is another before it is read (%v)", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	<-r.Ready()
	cancel()
	if err := <-ran; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	var now bytes.Buffer
	must(t, file.Dump(&now))
	if !bytes.Equal(now.Bytes(), fresh(t, s, views)) {
		t.Error("the views hold other bytes than those of the whole log")
	}
}
