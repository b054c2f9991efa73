package checkout

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what left INTAKE, and what came back to it; by source counts the intake.
type metrics struct {
	accepted, refused, retried prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "comanda", Subsystem: "checkout", Name: "messages_total", Help: "Messages of INTAKE by result.",
	}, []string{"result"})
	if err := r.Register(messages); err != nil {
		return nil, fmt.Errorf("register the checkout's metrics: %w", err)
	}
	return &metrics{
		accepted: messages.WithLabelValues("accepted"),
		refused:  messages.WithLabelValues("refused"),
		retried:  messages.WithLabelValues("retried"),
	}, nil
}

// frontMetrics count what was taken before INTAKE.
type frontMetrics struct {
	recorded, passedOn prometheus.Counter
}

func newFrontMetrics(r prometheus.Registerer, dropped func() float64) (*frontMetrics, error) {
	taken := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "comanda", Subsystem: "checkout", Name: "taken_total", Help: "Messages taken before INTAKE, by what became of them.",
	}, []string{"result"})
	lost := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "comanda", Subsystem: "checkout", Name: "dropped_total",
		Help: "Messages that came faster than they could be taken: not recorded and not acknowledged.",
	}, dropped)
	for _, c := range []prometheus.Collector{taken, lost} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of what is taken: %w", err)
		}
	}
	return &frontMetrics{recorded: taken.WithLabelValues("recorded"), passedOn: taken.WithLabelValues("passed_on")}, nil
}
