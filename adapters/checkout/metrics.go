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
