package stats_test

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
)

func statsAlone(r projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(r), []projections.Projection{stats.New(r)}
}

// TestMostRows asks for exactly as many rows as an answer may have, and for one more.
func TestMostRows(t *testing.T) {
	s := projectiontest.NewScript(1)
	s.Every = time.Hour
	record := func(from, to int) {
		for n := from; n < to; n++ {
			s.Record(t, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: strconv.Itoa(n), Key: "k"})
		}
	}
	record(0, stats.MostRows)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, statsAlone, projections.Config{})
	f.Wait()
	view := stats.New(f.File)
	q := stats.Query{By: stats.By{Hour: true}}
	if rows, err := view.Verdicts(q); err != nil || len(rows) != stats.MostRows {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	record(stats.MostRows, stats.MostRows+1)
	f.Wait()
	if rows, err := view.Verdicts(q); domain.KindOf(err) != domain.Invalid || len(rows) > 0 {
		t.Errorf("one too many: %d rows, %v", len(rows), err)
	}
	q.From = projectiontest.Epoch.Add(time.Hour)
	if rows, err := view.Verdicts(q); err != nil || len(rows) != stats.MostRows {
		t.Errorf("less time: %d rows, %v", len(rows), err)
	}
	if rows, err := view.Verdicts(stats.Query{By: stats.By{Day: true}}); err != nil || len(rows) != stats.MostRows/24+1 {
		t.Errorf("told less apart: %d rows, %v", len(rows), err)
	}
}
