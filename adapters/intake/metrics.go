package intake

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
)

// metrics count by source and provider, which are the configured ones, and by
// words of closed sets.
type metrics struct {
	messages    *prometheus.CounterVec
	facts       *prometheus.CounterVec
	quarantined *prometheus.CounterVec
	warnings    *prometheus.CounterVec
	reused      *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "comanda", Subsystem: "intake", Name: name, Help: help,
		}, append([]string{"source", "provider"}, labels...))
	}
	m := &metrics{
		messages:    counter("messages_total", "Authenticated messages by what became of them.", "outcome"),
		facts:       counter("facts_total", "Facts recorded, by verdict.", "verdict"),
		quarantined: counter("quarantined_total", "Messages kept in quarantine, by reason.", "reason"),
		warnings:    counter("warnings_total", "Bad fields that were ignored."),
		reused:      counter("reused_ids_total", "Duplicates whose content differs from what is stored."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "comanda", Subsystem: "intake", Name: "commit_seconds",
			Help:    "Time from a decoded message to its durable outcome.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"provider"}),
	}
	for _, c := range []prometheus.Collector{m.messages, m.facts, m.quarantined, m.warnings, m.reused, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("register the intake's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(d *Decoded, r *Receipt, err error, took time.Duration) {
	source, provider := string(d.src.ID), d.src.Provider
	m.messages.WithLabelValues(source, provider, outcomeWord(r, err)).Inc()
	m.seconds.WithLabelValues(provider).Observe(took.Seconds())
	if err != nil {
		return
	}
	if r.Quarantined() {
		m.quarantined.WithLabelValues(source, provider, string(r.Reason)).Inc()
	}
	for i := range r.Outcomes {
		m.facts.WithLabelValues(source, provider, r.Outcomes[i].Verdict.String()).Inc()
		if r.Outcomes[i].IDReused {
			m.reused.WithLabelValues(source, provider).Inc()
		}
	}
	for i := range d.facts {
		if n := len(d.facts[i].Warnings); n > 0 {
			m.warnings.WithLabelValues(source, provider).Add(float64(n))
		}
	}
}

// outcomeWord is the receipt's word, or how the message failed.
func outcomeWord(r *Receipt, err error) string {
	if err == nil {
		return r.Word()
	}
	switch kind := domain.KindOf(err); kind {
	case domain.Unavailable, domain.Refused: // who insists is told, which is no fault of ours
		return kind.String()
	default:
		return domain.Internal.String()
	}
}
