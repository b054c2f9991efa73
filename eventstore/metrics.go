package eventstore

import (
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
)

type metrics struct {
	appends   *prometheus.CounterVec // by outcome
	seconds   prometheus.Histogram
	conflicts prometheus.Counter
	reused    prometheus.Counter
}

func newMetrics(r prometheus.Registerer, writable func() error) (*metrics, error) {
	m := &metrics{
		appends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "comanda_eventstore_appends_total", Help: "Appends by what became of them: stored, duplicate, conflict, unknown.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "comanda_eventstore_append_seconds", Help: "From sending an event to its acknowledgement, repeats included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_eventstore_redecided_total", Help: "Facts that were decided again because their order had changed, or was not in memory.",
		}),
		reused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_eventstore_reused_ids_total", Help: "Duplicates whose content differs from what is stored.",
		}),
	}
	for o := range outcomeCount {
		m.appends.WithLabelValues(o.String())
	}
	if r == nil {
		return m, nil
	}
	canWrite := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "comanda_eventstore_writable", Help: "Whether the log can be written, as its canary last found: 1 or 0.",
	}, func() float64 {
		if writable() != nil {
			return 0
		}
		return 1
	})
	for _, c := range []prometheus.Collector{m.appends, m.seconds, m.conflicts, m.reused, canWrite} {
		if err := r.Register(c); err != nil {
			return nil, domain.Errorf(domain.Internal, "register metrics: %w", err)
		}
	}
	return m, nil
}
