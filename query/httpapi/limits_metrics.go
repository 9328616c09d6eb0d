package httpapi

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/assigndex/assigndex/query/admission"
)

// register registers the metrics of what runs, waits and was turned away, by limit.
func (l *limits) register(registry *prometheus.Registry) error {
	var all []prometheus.Collector
	refused := func(limit string, count func() uint64) {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "assigndex_http_refused_total", Help: "Requests that a limit turned away.",
			ConstLabels: prometheus.Labels{"limit": limit},
		}, func() float64 { return float64(count()) }))
	}
	gauge := func(name, help, limit string, count func() int) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"limit": limit},
		}, func() float64 { return float64(count()) }))
	}
	for name, pool := range map[string]*admission.Pool{"reads": l.reads, "ingests": l.ingests, "streams": l.streams} {
		gauge("assigndex_http_running", "Requests that have a place among those that run at once.", name, pool.Running)
		gauge("assigndex_http_waiting", "Requests that wait for such a place.", name, pool.Waiting)
		refused(name, pool.Refused)
	}
	refused("caller", l.callers.Refused)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}
