package webhook

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count by status alone: a path is anybody's text. What became of
// authenticated messages is counted by the intake, by source.
type metrics struct {
	requests *prometheus.CounterVec
	inFlight prometheus.Gauge
	seconds  prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "comanda", Subsystem: "webhook", Name: "requests_total", Help: "Requests by status code.",
		}, []string{"code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "comanda", Subsystem: "webhook", Name: "in_flight_requests", Help: "Requests being answered.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "comanda", Subsystem: "webhook", Name: "request_seconds",
			Help:    "Time from a request's header to its answer.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.inFlight, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the webhook's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(status int, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	m.seconds.Observe(took.Seconds())
}
