package notify

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain/delivery"
)

// metrics are this package's. Their labels are closed: endpoints are those of
// the configuration, kinds and outcomes are sets of the code.
type metrics struct {
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	blocked  *prometheus.GaugeVec
	disabled *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "comanda_notify_attempts_total", Help: "Delivery attempts, by kind of endpoint and what they came to.",
		}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "comanda_notify_attempt_duration_seconds", Help: "How long a delivery attempt took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 10),
		}, []string{"kind"}),
		blocked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "comanda_notify_blocked_orders", Help: "Orders that wait for a failed delivery; dead: used up their schedule.",
		}, []string{"endpoint", "state"}),
		disabled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "comanda_notify_endpoint_disabled", Help: "1 when the endpoint stopped because of its own answer.",
		}, []string{"endpoint"}),
	}
	for _, c := range []prometheus.Collector{m.attempts, m.seconds, m.blocked, m.disabled} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) attempted(kind string, o delivery.Outcome, took time.Duration) {
	m.attempts.WithLabelValues(kind, o.Kind.String()).Inc()
	m.seconds.WithLabelValues(kind).Observe(took.Seconds())
}
