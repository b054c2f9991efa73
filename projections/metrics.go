package projections

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
)

// metrics are the runner's. They exist whether or not anybody registered them.
type metrics struct {
	events   prometheus.Counter
	commits  prometheus.Histogram
	flushes  prometheus.Histogram
	lag      prometheus.Histogram
	failures prometheus.Counter
	parked   prometheus.Gauge
}

// headWait bounds the question for the log's head when metrics are collected.
const headWait = time.Second

func newMetrics(registerer prometheus.Registerer, r *Runner) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_projections_events_total", Help: "Events that the views have read.",
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "comanda_projections_commit_seconds", Help: "Time of making a batch visible: fold, rows, indexes, checkpoint, in memory.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		flushes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "comanda_projections_flush_seconds", Help: "Time of writing what changed to the file, in one transaction with its fsync.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "comanda_projections_lag_seconds", Help: "Time from recording an event to its being visible in the views, once they had caught up.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_projections_commit_failures_total", Help: "Commits and writings to the file that failed and are tried again.",
		}),
		parked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_projections_parked_orders", Help: "Orders whose events reach no view, because one of them does not follow their history.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	behind := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "comanda_projections_lag_events", Help: "Events in the log that the views have not read; NaN when the log does not answer.",
	}, r.behind)
	unflushed := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "comanda_projections_unflushed_bytes", Help: "Keys and values that only memory holds; after a crash they are read again from the log.",
	}, func() float64 { return float64(r.file.db().Unflushed()) })
	for _, c := range []prometheus.Collector{m.events, m.commits, m.flushes, unflushed, m.lag, m.failures, m.parked, behind} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the views' metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) committed(events []domain.Recorded, started, ended time.Time, live bool) {
	m.events.Add(float64(len(events)))
	m.commits.Observe(ended.Sub(started).Seconds())
	if !live {
		return
	}
	for i := range events {
		m.lag.Observe(max(0, ended.Sub(events[i].Event.RecordedAt).Seconds()))
	}
}

// behind is how many events the views have not read.
func (r *Runner) behind() float64 {
	ctx, cancel := context.WithTimeout(context.Background(), headWait)
	defer cancel()
	head, err := r.deps.Log.Head(ctx)
	if err != nil {
		return math.NaN()
	}
	return float64(missing(head, r.Position()))
}
