package stats_test

import (
	"testing"

	"go.uber.org/goleak"

	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(r projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(r), []projections.Projection{stats.New(r), orders.New(r)}
}

func TestConformance(t *testing.T) { projectiontest.Run(t, views) }
