package projections_test

import (
	"bytes"
	"strings"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
)

// poisoned is a script with an event that does not follow its order's history, and
// more events after it.
func poisoned(t *testing.T) (s *projectiontest.Script, bad domain.Recorded) {
	t.Helper()
	s = filled(t)
	e := s.Events()[firstOrder(s)][0]
	e.ID, e.Revision = "bad", 999
	bad = s.Append(e)
	s.Fill(t, 9, 10, 100)
	return s, bad
}

func TestARetriedOrderIsParkedAgain(t *testing.T) {
	s, bad := poisoned(t)
	f := projectiontest.Start(t, viewsPath(t), s, views, projections.Config{})
	<-f.Runner.Ready()
	before := f.Dump()
	still, err := f.Runner.RetryParked(t.Context(), bad.Event.OrderID)
	must(t, err)
	if still == nil || still.Partition != bad.Partition || still.Sequence != bad.Sequence || !strings.Contains(still.Why, "revision 999") {
		t.Errorf("parked for %+v, want the event at %d/%d", still, bad.Partition, bad.Sequence)
	}
	if !bytes.Equal(f.Dump(), before) {
		t.Error("the views hold other bytes")
	}
	if _, err := f.Runner.RetryParked(t.Context(), "ord_unknown"); domain.KindOf(err) != domain.NotFound {
		t.Errorf("an order that is not parked: %v", err)
	}
	if _, err := f.Runner.SkipParked(t.Context(), bad.Event.OrderID, "two\nlines"); domain.KindOf(err) != domain.Invalid {
		t.Errorf("a reason on two lines: %v", err)
	}
}

// A skipped event is in no view; all others of its order are, and stay there when
// the views are built anew.
func TestASkippedEventIsLeftOut(t *testing.T) {
	s, bad := poisoned(t)
	f := projectiontest.Start(t, viewsPath(t), s, views, projections.Config{})
	<-f.Runner.Ready()
	still, err := f.Runner.SkipParked(t.Context(), bad.Event.OrderID, "made by hand")
	must(t, err)
	if still != nil {
		t.Fatalf("parked for %+v", still)
	}
	s.Fill(t, 10, 10, 50)
	f.Wait()
	row, found, err := orders.New(f.File).Get(bad.Event.OrderID)
	must(t, err)
	want := uint64(len(s.Events()[bad.Event.OrderID]) - 1)
	if !found || row.GetRevision() != want {
		t.Errorf("revision %d, want %d", row.GetRevision(), want)
	}
	live := f.Dump()
	number, err := f.Runner.Rebuild(false)
	must(t, err)
	ended(t, f.Runner, number, projections.Promoted)
	if !bytes.Equal(f.Dump(), live) {
		t.Error("built anew, the views hold other bytes")
	}
	var skipped []projections.Skipped
	must(t, f.File.Snapshot(func(s *projections.Snapshot) error {
		return s.Skipped(func(e projections.Skipped) { skipped = append(skipped, e) })
	}))
	if len(skipped) != 1 || skipped[0].Order != bad.Event.OrderID || skipped[0].Sequence != bad.Sequence || !strings.Contains(skipped[0].Why, "made by hand") {
		t.Errorf("skipped: %+v", skipped)
	}
}
