package httpapi

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of the server's requests.
type metrics struct {
	inFlight prometheus.Gauge
	watches  prometheus.Gauge
}

// classes of a status: 1xx to 5xx, at 0 to 4.
const classes = 5

var classNames = [classes]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

type observer = prometheus.Observer

// newMetrics registers the server's metrics and gives each route its own.
func newMetrics(registry *prometheus.Registry, ready *readiness, routes []*route) (*metrics, error) {
	m := &metrics{inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "assigndex_http_requests_in_flight", Help: "Requests that are being served, without watches.",
	}), watches: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "assigndex_http_watches", Help: "Clients that are following changes.",
	})}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "assigndex_http_request_seconds", Help: "Time to serve a request, by route and class of status.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "status"})
	isReady := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "assigndex_ready", Help: "1 once the index has first caught up with its stream.",
	}, func() float64 {
		if ready.caughtUp() {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.inFlight, m.watches, seconds, isReady} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	for _, r := range routes {
		for class, name := range classNames {
			if name != "1xx" && name != "3xx" && (name != "2xx" || !r.endless) { // never an answer of ours, or no measure
				r.seconds[class] = seconds.WithLabelValues(r.name, name)
			}
		}
	}
	return m, nil
}

func (r *route) observe(status int, took time.Duration) {
	if class := status/100 - 1; class >= 0 && class < classes && r.seconds[class] != nil {
		r.seconds[class].Observe(took.Seconds())
	}
}

// metricsOf serves the registry's metrics.
func metricsOf(registry *prometheus.Registry) func(x *exchange) {
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return func(x *exchange) {
		handler.ServeHTTP(&statusWriter{ResponseWriter: x.w, x: x}, x.r)
	}
}

// statusWriter notes the status of an answer that somebody else writes.
type statusWriter struct {
	http.ResponseWriter
	x *exchange
}

func (w *statusWriter) WriteHeader(status int) {
	if w.x.status == 0 {
		w.x.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.x.status == 0 {
		w.x.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}
