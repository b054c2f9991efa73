package whatif_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/timeline"
	"comanda.internal/projections/whatif"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(reader projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(reader), nil
}

// filled is a file of views of a script of many orders: more than are read at once.
func filled(t *testing.T) (*projections.File, *projectiontest.Script) {
	t.Helper()
	s := projectiontest.NewScript(2)
	s.Fill(t, 3, 900, 3_000)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projections.Config{})
	f.Wait()
	f.Stop()
	t.Cleanup(f.Close)
	return f.File, s
}

func with(t *testing.T, status domain.Status, kind domain.Kind, code order.Code) *order.Machine {
	t.Helper()
	m, err := order.New(order.DefaultTable().With(status, kind, code))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReplayNamesEveryOrderThatDiffers holds a replay to the folds by both tables, and
// its totals to what it sent; the views are as before.
func TestReplayNamesEveryOrderThatDiffers(t *testing.T) {
	file, s := filled(t)
	before := dump(t, file)
	other := with(t, domain.StatusApproved, domain.KindRefunded, "!")
	for _, tenant := range []domain.TenantID{"", "outra"} {
		var got, want []string
		var orders, events, endings uint64
		edges := map[string]uint64{}
		report, err := whatif.New(file).Replay(t.Context(), other, tenant, func(m *comandav1.ReplayResponse) error {
			if d := m.GetDifference(); d != nil {
				got = append(got, d.GetOrderId()+" "+wire.Word(d.GetStatus())+" "+wire.Word(d.GetOtherStatus()))
				edges[wire.Word(d.GetStatusBefore())+" "+wire.Word(d.GetKind())+" "+d.GetDid().String()+d.GetOtherDid().String()]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for id, all := range s.Events() {
			if tenant != "" && all[0].Tenant != tenant {
				continue
			}
			mine, theirs := fold(t, order.Default(), all), fold(t, other, all)
			orders, events = orders+1, events+uint64(len(all))
			if mine.Status != theirs.Status {
				endings++
			}
			if !slices.Equal(mine.Path, theirs.Path) || !slices.Equal(mine.Conflicts, theirs.Conflicts) {
				want = append(want, string(id)+" "+mine.Status.String()+" "+theirs.Status.String())
			}
		}
		slices.Sort(want)
		if diff := gocmp.Diff(want, got); diff != "" || len(want) < 10 {
			t.Errorf("%d orders differ (-folds +replay):\n%s", len(want), diff)
		}
		if report.GetOrders() != orders || report.GetEvents() != events || report.GetDifferences() != uint64(len(want)) || report.GetOtherEndings() != endings {
			t.Errorf("report %v; want %d orders, %d events, %d endings", report, orders, events, endings)
		}
		for _, e := range report.GetEdges() {
			key := wire.Word(e.GetStatusBefore()) + " " + wire.Word(e.GetKind()) + " " + e.GetDid().String() + e.GetOtherDid().String()
			if edges[key] != e.GetOrders() {
				t.Errorf("%d orders by %s, want %d", e.GetOrders(), key, edges[key])
			}
			delete(edges, key)
		}
		if len(edges) > 0 {
			t.Errorf("the report lacks %v", edges)
		}
	}
	if !bytes.Equal(before, dump(t, file)) {
		t.Error("a replay wrote into the views")
	}
}

func TestReplayByTheSameTableFindsNothing(t *testing.T) {
	file, _ := filled(t)
	progress := 0
	report, err := whatif.New(file).Replay(t.Context(), order.Default(), "", func(m *comandav1.ReplayResponse) error {
		if m.GetProgress() == nil {
			t.Errorf("sent %v", m)
		}
		progress++
		return nil
	})
	if err != nil || report.GetDifferences() != 0 || report.GetOrders() < 1000 || len(report.GetEdges()) > 0 || progress < 2 {
		t.Errorf("%v, %v, after %d words of progress", report, err, progress)
	}
}

func TestReplayEndsWithItsListener(t *testing.T) {
	file, _ := filled(t)
	gone := errors.New("nobody listens")
	_, err := whatif.New(file).Replay(t.Context(), order.Default(), "", func(*comandav1.ReplayResponse) error { return gone })
	if !errors.Is(err, gone) {
		t.Errorf("error %v, want the listener's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = whatif.New(file).Replay(ctx, order.Default(), "", func(*comandav1.ReplayResponse) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func fold(t *testing.T, m *order.Machine, events []domain.Event) *order.State {
	t.Helper()
	var h *order.History
	for i := range events {
		var err error
		if h, err = h.With(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return m.Fold(h)
}

func dump(t *testing.T, file *projections.File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := file.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
