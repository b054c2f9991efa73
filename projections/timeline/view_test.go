package timeline_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
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
			want = append(want, wire.Event(&events[i]))
		}
		got, err := view.History(id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if n, err := view.Count(id); err != nil || n != uint64(len(events)) {
			t.Errorf("%s: counted %d events of %d, %v", id, n, len(events), err)
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

func TestCheckEventFindsWhatDiffers(t *testing.T) {
	f, s := filled(t)
	view := timeline.New(f.File)
	check := func(change func(*domain.Recorded)) string {
		t.Helper()
		var events []domain.Recorded
		s.Change(0, func(all []domain.Recorded) []domain.Recorded { events = all; return all })
		r := events[1]
		change(&r)
		problem, err := view.CheckEvent(&r)
		if err != nil {
			t.Fatal(err)
		}
		return problem
	}
	if problem := check(func(*domain.Recorded) {}); problem != "" {
		t.Errorf("the event itself: %s", problem)
	}
	if check(func(r *domain.Recorded) { r.Event.Verdict = domain.VerdictDuplicate }) == "" {
		t.Error("another verdict is not found")
	}
	if check(func(r *domain.Recorded) { r.Sequence = 1 << 30 }) == "" {
		t.Error("an event that the view does not hold is not found")
	}
	for _, revision := range []uint64{0, 2, 1 << 40, 1<<64 - 1} {
		if problem := check(func(r *domain.Recorded) { r.Event.Revision = revision }); !strings.Contains(problem, "not in its place") {
			t.Errorf("revision %d: %q", revision, problem)
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
