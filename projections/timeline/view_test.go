package timeline_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(r projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(r), nil
}

func TestConformance(t *testing.T) { projectiontest.Run(t, views) }

func filled(t *testing.T) (*projectiontest.Follower, *projectiontest.Script) {
	t.Helper()
	s := projectiontest.NewScript(4)
	s.Fill(t, 2, 20, 300)
	s.Cut = func(n int) int { return min(n, 13) } // orders' events in several commits
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projectiontest.EachBatch)
	f.Wait()
	f.Stop()
	return f, s
}

func TestHistoryIsEveryEventByRevision(t *testing.T) {
	f, s := filled(t)
	view := timeline.New(f.File)
	seen := 0
	for id, events := range s.Events() {
		var want []*comandav1.Event
		for i := range events {
			encoded, err := wire.EncodeEvent(&events[i])
			if err != nil {
				t.Fatal(err)
			}
			event := new(comandav1.Event)
			if err := proto.Unmarshal(encoded, event); err != nil {
				t.Fatal(err)
			}
			want = append(want, event)
		}
		got, err := view.History(id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		seen++
	}
	known := 0
	if err := view.Orders(func(domain.OrderID) error { known++; return nil }); err != nil {
		t.Fatal(err)
	}
	if known != seen || seen == 0 {
		t.Errorf("the view knows %d orders, the log %d", known, seen)
	}
}

func TestAnUnknownOrderHasNoHistory(t *testing.T) {
	f, _ := filled(t)
	if got, err := timeline.New(f.File).History("ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"); len(got) > 0 || err != nil {
		t.Errorf("history = %v, %v", got, err)
	}
}

func TestCheckEventsFindsWhatDiffers(t *testing.T) {
	f, s := filled(t)
	var all []domain.Recorded
	for p := range s.Partitions() {
		s.Change(p, func(events []domain.Recorded) []domain.Recorded {
			all = append(all, events...)
			return events
		})
	}
	check := func(at int, change func(*domain.Recorded)) string {
		t.Helper()
		var told []timeline.Told
		for i := range all {
			r := all[i]
			if i == at {
				change(&r)
			}
			encoded, err := wire.Encoded(&r)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, timeline.Told{Partition: r.Partition, Sequence: r.Sequence, ID: r.Event.ID, Encoded: encoded})
		}
		var problems string
		if err := timeline.New(f.File).CheckEvents(told, func(_ *timeline.Told, problem string) { problems += problem }); err != nil {
			t.Fatal(err)
		}
		return problems
	}
	if problem := check(-1, nil); problem != "" {
		t.Errorf("the events themselves: %s", problem)
	}
	for _, at := range []int{0, 1, len(all) - 1} {
		if got := check(at, func(r *domain.Recorded) { r.Event.Verdict = domain.VerdictDuplicate }); strings.Count(got, "differs") != 1 {
			t.Errorf("another verdict: %q", got)
		}
		if got := check(at, func(r *domain.Recorded) { r.Sequence = 1 << 30 }); strings.Count(got, "is missing") != 1 {
			t.Errorf("an event that the view does not hold: %q", got)
		}
	}
}

func TestCheckPlacesFindsWhatDiffers(t *testing.T) {
	f, s := filled(t)
	places := map[domain.OrderID][]uint64{}
	var id domain.OrderID
	s.Change(0, func(events []domain.Recorded) []domain.Recorded {
		id = events[0].Event.OrderID
		for i := range events {
			places[events[i].Event.OrderID] = append(places[events[i].Event.OrderID], events[i].Sequence)
		}
		return events
	})
	own := places[id]
	if len(own) < 2 {
		t.Fatal("the order should have several events")
	}
	for name, c := range map[string]struct {
		partition int
		sequences []uint64
		problem   string
		more      bool
	}{
		"its own":           {0, own, "", false},
		"fewer":             {0, own[:1], "", true},
		"more":              {0, append(slices.Clone(own), 1<<30), "the log", false},
		"another place":     {0, append(slices.Clone(own[:len(own)-1]), 1<<30), "not in its place", false},
		"another partition": {1, own, "revision 1 is not in its place", false},
	} {
		problem, more, err := timeline.New(f.File).CheckPlaces(id, c.partition, c.sequences)
		if err != nil || more != c.more || !strings.Contains(problem, c.problem) || (problem == "") != (c.problem == "") {
			t.Errorf("%s: %q, more %v, %v", name, problem, more, err)
		}
	}
}

func TestBetweenNamesTheOrdersOfLostPlaces(t *testing.T) {
	f, s := filled(t)
	want := map[domain.OrderID]bool{}
	s.Change(1, func(all []domain.Recorded) []domain.Recorded {
		for _, r := range all[2:9] { // the third to the ninth
			want[r.Event.OrderID] = true
		}
		return all
	})
	v := timeline.New(f.File)
	got, n, err := v.Between(1, 3, 9, 100)
	if err != nil || n != len(want) || len(got) != n {
		t.Fatalf("%d orders %v, %v; want %v", n, got, err, want)
	}
	for _, id := range got {
		if !want[id] {
			t.Errorf("%s has no event there", id)
		}
	}
	if got, n, err := v.Between(1, 3, 9, 2); err != nil || n != len(want) || len(got) != 2 {
		t.Errorf("at most two: %v of %d, %v", got, n, err)
	}
	if got, n, err := v.Between(1, 1<<40, 1<<41, 2); err != nil || n != 0 || len(got) != 0 {
		t.Errorf("beyond the end: %v of %d, %v", got, n, err)
	}
}

func TestAnEventThatIsGoneIsCorrupt(t *testing.T) {
	f, s := filled(t)
	f.Close()
	var gone domain.OrderID
	for id := range s.Events() {
		gone = id
	}
	path := f.Path
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("timeline"))
		place := b.Bucket([]byte("orders")).Get([]byte(gone))[:10]
		return b.Bucket([]byte("events")).Delete(append([]byte(nil), place...))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := projections.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := timeline.New(file).History(gone); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("error = %v, want one of kind corrupt", err)
	}
}
