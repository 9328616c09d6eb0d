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
			Name: "assigndex_http_refused_total", Help: "Requests and connections that a limit turned away.",
			ConstLabels: prometheus.Labels{"limit": limit},
		}, func() float64 { return float64(count()) }))
	}
	gauge := func(name, help string, labels prometheus.Labels, count func() int) {
		opts := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}
		all = append(all, prometheus.NewGaugeFunc(opts, func() float64 { return float64(count()) }))
	}
	for name, pool := range map[string]*admission.Pool{"reads": l.reads, "ingests": l.ingests, "streams": l.streams} {
		limit := prometheus.Labels{"limit": name}
		gauge("assigndex_http_running", "Requests that have a place among those that run at once.", limit, pool.Running)
		gauge("assigndex_http_waiting", "Requests that wait for such a place.", limit, pool.Waiting)
		refused(name, pool.Refused)
	}
	refused("caller", l.callers.Refused)
	refused("connections", l.connections.Refused)
	gauge("assigndex_http_connections", "Open connections.", nil, l.connections.Open)
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}
