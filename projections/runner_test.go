package projections_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/proof"
	"comanda.internal/projections/timeline"
)

func TestAnEmptyLogIsReadyAtOnce(t *testing.T) {
	f := projectiontest.Start(t, viewsPath(t), projectiontest.NewScript(4), views, projections.Config{})
	<-f.Runner.Ready()
	if got := f.Runner.Position(); !got.IsZero() {
		t.Errorf("position = %v, want the beginning", got)
	}
}

func TestReadyMeansThatAllOfTheLogIsThere(t *testing.T) {
	s := filled(t)
	f := projectiontest.Start(t, viewsPath(t), s, views, projections.Config{})
	<-f.Runner.Ready()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Runner.Position(); !got.Equal(head) {
		t.Errorf("position = %v, want %v", got, head)
	}
}

func TestWaitReadsOnesOwnWrites(t *testing.T) {
	s := filled(t)
	f := projectiontest.Start(t, viewsPath(t), s, views, projections.Config{})
	f.Wait()
	for n := range 5 {
		written, ok := s.Record(t, "loja", domain.Fact{
			Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: "mine", Key: strings.Repeat("k", n+1),
		})
		if !ok {
			t.Fatal("a duplicate")
		}
		if err := f.Runner.Wait(t.Context(), written.Position()); err != nil {
			t.Fatal(err)
		}
		row, found, err := orders.New(f.File).Get(written.Event.OrderID)
		if err != nil || !found || row.GetRevision() < written.Event.Revision {
			t.Fatalf("order = %v, %v, %v; want revision %d", row, found, err, written.Event.Revision)
		}
	}
}

func TestWaitEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		f := projectiontest.Start(t, viewsPath(t), projectiontest.NewScript(2), views, projections.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Runner.Wait(ctx, domain.Position{}.With(1, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want the context's", err)
		}
	})
	t.Run("at a partition that the log does not have", func(t *testing.T) {
		f := projectiontest.Start(t, viewsPath(t), projectiontest.NewScript(2), views, projections.Config{})
		if err := f.Runner.Wait(t.Context(), domain.Position{}.With(2, 1)); domain.KindOf(err) != domain.Invalid {
			t.Errorf("error = %v, want one of kind invalid", err)
		}
	})
	t.Run("with the runner", func(t *testing.T) {
		f := projectiontest.Start(t, viewsPath(t), projectiontest.NewScript(2), views, projections.Config{})
		f.Stop()
		if err := f.Runner.Wait(t.Context(), domain.Position{}.With(1, 1)); domain.KindOf(err) != domain.Unavailable {
			t.Errorf("error = %v, want one of kind unavailable", err)
		}
	})
}

func TestALogThatWentBackwardsIsNoticed(t *testing.T) {
	spoil := map[string]func(*projectiontest.Script){
		"an event is gone": func(s *projectiontest.Script) {
			s.Change(1, func(events []domain.Recorded) []domain.Recorded { return events[:len(events)-1] })
		},
		"all events are gone": func(s *projectiontest.Script) {
			s.Change(1, func([]domain.Recorded) []domain.Recorded { return nil })
		},
		"another event is in the last one's place": func(s *projectiontest.Script) {
			s.Change(1, func(events []domain.Recorded) []domain.Recorded {
				events[len(events)-1].Hash[0] ^= 1
				return events
			})
		},
		"another event is in its place, and more came": func(s *projectiontest.Script) {
			s.Change(0, func(events []domain.Recorded) []domain.Recorded {
				events[len(events)-1].Hash[31] ^= 0x80
				more := events[len(events)-1]
				more.Sequence++
				return append(events, more)
			})
		},
	}
	for name, change := range spoil {
		t.Run(name, func(t *testing.T) {
			path, s := viewsPath(t), filled(t)
			build(t, path, s)
			change(s)
			runner, err := newRunner(t, path, deps(s))
			if err != nil {
				t.Fatal(err)
			}
			err = runner.Run(t.Context())
			if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "went backwards") {
				t.Errorf("error = %v, want one of kind corrupt that says so", err)
			}
			select {
			case <-runner.Ready():
				t.Error("the views call themselves ready")
			default:
			}
		})
	}
}

func TestAnotherLogIsRefused(t *testing.T) {
	path, s := viewsPath(t), filled(t)
	build(t, path, s)
	s.Name = "another"
	if _, err := newRunner(t, path, deps(s)); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("error = %v, want one of kind corrupt", err)
	}
}

func TestFewerPartitionsAreRefused(t *testing.T) {
	path := viewsPath(t)
	build(t, path, filled(t))
	if _, err := newRunner(t, path, deps(projectiontest.NewScript(1))); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("error = %v, want one of kind corrupt", err)
	}
}

func TestAFileThatIsInUseOrNoneOfOurs(t *testing.T) {
	path := viewsPath(t)
	openFile(t, path)
	if _, err := projections.Open(path); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("in use: error = %v, want one of kind unavailable", err)
	}
	path = viewsPath(t)
	if err := os.WriteFile(path, []byte(strings.Repeat("no views here ", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := projections.Open(path); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("of something else: error = %v, want one of kind corrupt", err)
	}
}

func TestTheFileDeletedGivesTheSameContent(t *testing.T) {
	path, s := viewsPath(t), filled(t)
	before := build(t, path, s)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(build(t, path, s))); diff != "" {
		t.Errorf("rebuilt (-before +after):\n%s", diff)
	}
}

// renumbered is a view of another version.
type renumbered struct{ *orders.View }

func (renumbered) Version() uint32 { return 99 }

func TestAnotherVersionRebuildsTheFile(t *testing.T) {
	path, s := viewsPath(t), filled(t)
	before := build(t, path, s)
	newer := func(r projections.Reader) (projections.Facts, []projections.Projection) {
		return timeline.New(r), []projections.Projection{renumbered{orders.New(r)}}
	}
	file := openFile(t, path)
	facts, others := newer(file)
	runner, err := projections.New(projections.Config{}, deps(s), file, facts, others...)
	if err != nil {
		t.Fatal(err)
	}
	if got := runner.Position(); !got.IsZero() {
		t.Errorf("position of the emptied file = %v", got)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(build(t, path, s))); diff != "" {
		t.Errorf("back at the first version (-before +after):\n%s", diff)
	}
}

func TestAnOrderWhoseEventsDoNotFitIsParked(t *testing.T) {
	s := filled(t)
	clean := build(t, viewsPath(t), s)
	poison, _ := s.Record(t, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: "poisoned", Key: "1"})
	alone := build(t, viewsPath(t), s)
	bad := poison.Event
	bad.ID, bad.Revision = "bad", 7
	s.Append(bad)
	later := poison.Event
	later.ID, later.Revision = "later", 2
	s.Append(later)
	if string(clean) == string(alone) {
		t.Fatal("the order's good event reached no view")
	}

	path := viewsPath(t)
	registry := prometheus.NewRegistry()
	d := deps(s)
	d.Registerer = registry
	runner, err := newRunner(t, path, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	<-runner.Ready()
	if got := gauge(t, registry, "comanda_projections_parked_orders"); got != 1 {
		t.Errorf("parked orders = %v, want 1", got)
	}
	if got := gauge(t, registry, "comanda_projections_lag_events"); got != 0 {
		t.Errorf("lag = %v events, want 0", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestAParkedOrderStaysParkedAndTheOthersAreAsEver(t *testing.T) {
	s := filled(t)
	poison, _ := s.Record(t, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: "poisoned", Key: "1"})
	bad := poison.Event
	bad.ID, bad.Revision = "bad", 7
	s.Append(bad)
	path := viewsPath(t)
	build(t, path, s)
	next := poison.Event
	next.ID, next.Revision = "next", 2 // would fit
	s.Append(next)
	s.Fill(t, 8, 10, 20)
	inSteps := build(t, path, s)

	whole := viewsPath(t)
	if diff := cmp.Diff(string(build(t, whole, s)), string(inSteps)); diff != "" {
		t.Errorf("in one batch, and in steps:\n%s", diff)
	}
	var parked []domain.OrderID
	file := openFile(t, path)
	err := file.Snapshot(func(snap *projections.Snapshot) error {
		for id, events := range s.Events() {
			row, found, err := orders.New(snap).Get(id)
			if err != nil {
				return err
			}
			want := uint64(len(events))
			if id == poison.Event.OrderID {
				want = 1
			}
			if !found || row.GetRevision() != want {
				t.Errorf("order %s has revision %d, want %d", id, row.GetRevision(), want)
			}
		}
		return snap.Parked(func(id domain.OrderID, why string) {
			parked = append(parked, id)
			if !strings.Contains(why, "revision 7 after 1") {
				t.Errorf("why = %q", why)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]domain.OrderID{poison.Event.OrderID}, parked); diff != "" {
		t.Errorf("parked (-want +got):\n%s", diff)
	}
}

// failing is a view whose first transactions fail after half of their work.
type failing struct {
	*orders.View

	left atomic.Int32
}

func (f *failing) Apply(b *kv.Bucket, changes []projections.Change) error {
	if f.left.Add(-1) >= 0 {
		return errors.Join(f.View.Apply(b, changes[:len(changes)/2]), errors.New("no space left on device"))
	}
	return f.View.Apply(b, changes)
}

func TestATransactionThatFailsLeavesNothingAndIsTriedAgain(t *testing.T) {
	s := filled(t)
	want := build(t, viewsPath(t), s)
	view := new(failing)
	view.left.Store(2)
	f := projectiontest.Start(t, viewsPath(t), s, func(r projections.Reader) (projections.Facts, []projections.Projection) {
		facts, others := proof.Views(r)
		for i := range others {
			if o, ok := others[i].(*orders.View); ok {
				view.View, others[i] = o, view
			}
		}
		return facts, others
	}, projections.Config{})
	f.Wait()
	if left := view.left.Load(); left >= 0 {
		t.Fatal("no transaction failed")
	}
	if diff := cmp.Diff(string(want), string(f.Dump())); diff != "" {
		t.Errorf("(-never failed +failed):\n%s", diff)
	}
}

// flaky is a log that cannot be followed at first.
type flaky struct {
	*projectiontest.Script

	left atomic.Int32
	err  error
}

func (f *flaky) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	if f.left.Add(-1) >= 0 {
		return f.err
	}
	return f.Script.Follow(ctx, partition, after, handle)
}

func (f *flaky) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	if f.left.Add(-1) >= 0 {
		return f.err
	}
	return f.Script.Stored(ctx, partition, after, upTo, handle)
}

func TestALogThatIsAwayIsFollowedAgain(t *testing.T) {
	log := &flaky{Script: filled(t), err: domain.Errorf(domain.Unavailable, "no responders")}
	log.left.Store(3)
	f := projectiontest.Start(t, viewsPath(t), log, views, projections.Config{})
	f.Wait()
}

func TestALogThatCannotBeReadEndsTheRun(t *testing.T) {
	log := &flaky{Script: filled(t), err: domain.Errorf(domain.Corrupt, "event at sequence 5 cannot be decoded")}
	log.left.Store(1)
	runner, err := newRunner(t, viewsPath(t), deps(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Run(t.Context()); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("error = %v, want the log's", err)
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	err := projections.Config{Interval: -1, CatchUpInterval: -1, MaxBatch: -1, CacheFacts: -1, FlushInterval: -1, FlushBytes: -1}.Validate()
	for _, field := range []string{"interval", "catch_up_interval", "max_batch", "cache_facts", "flush_interval", "flush_bytes"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("error = %v, want one that names %s", err, field)
		}
	}
	if err := (projections.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
