package groups

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics exist whether or not anybody registered them.
type metrics struct {
	deliveries *prometheus.CounterVec
	members    prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "comanda_groups_deliveries_total", Help: "Events that were given to members of consumer groups, by what became of them.",
		}, []string{"outcome"}),
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_groups_members", Help: "Members of consumer groups that are connected now.",
		}),
	}
	for _, word := range outcomeWords {
		m.deliveries.WithLabelValues(word)
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.deliveries, m.members} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of groups: %w", err)
		}
	}
	return m, nil
}
