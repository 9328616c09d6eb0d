package indexer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Metrics count what an Indexer does. Register them with a registry once.
type Metrics struct {
	events      *prometheus.CounterVec
	quarantines *prometheus.CounterVec
	erasures    prometheus.Counter
	partings    *prometheus.CounterVec
	parted      prometheus.Gauge
	batches     prometheus.Histogram
	batchTime   prometheus.Histogram
	reclaims    prometheus.Counter
	freed       prometheus.Counter
}

// NewMetrics makes the metrics, at zero.
func NewMetrics() *Metrics {
	return &Metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assigndex_events_applied_total", Help: "Events applied since the start of the process, by type and outcome.",
		}, []string{"type", "outcome"}),
		quarantines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assigndex_events_quarantined_total", Help: "Messages quarantined since the start of the process, by code.",
		}, []string{"code"}),
		erasures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assigndex_events_erased_total", Help: "Sequences passed over because their message was erased from the stream.",
		}),
		partings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assigndex_stream_partings_total",
			Help: "How often the stream was not the one that was read, by kind and outcome: undone (the index went back to what both have in common), " +
				"stuck (there was nothing, the index serves its last state), returned (the stream is the right one again).",
		}, []string{"kind", "outcome"}),
		parted: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "assigndex_stream_parted", Help: "1 while the stream cannot be read on and the index serves its last state; otherwise 0.",
		}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "assigndex_batch_events", Help: "Events made durable together.", Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		batchTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "assigndex_batch_seconds", Help: "Time to fold a batch and make it durable.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		reclaims: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assigndex_index_reclaims_total", Help: "How often room below the history window was given back.",
		}),
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assigndex_index_reclaimed_bytes_total", Help: "Bytes on disk that were given back.",
		}),
	}
}

// Describe is part of prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect is part of prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{
		m.events, m.quarantines, m.erasures, m.partings, m.parted, m.batches, m.batchTime, m.reclaims, m.freed,
	} {
		c.Collect(ch)
	}
}

func (m *Metrics) applied(t events.Type, o fold.Outcome) {
	m.events.WithLabelValues(string(t), o.String()).Inc()
}

func (m *Metrics) quarantined(c events.Code) { m.quarantines.WithLabelValues(string(c)).Inc() }

// Outcomes of a parting, as a label.
const (
	partingUndone   = "undone"
	partingStuck    = "stuck"
	partingReturned = "returned"
)

func (m *Metrics) parting(k stream.Kind, outcome string) {
	m.partings.WithLabelValues(string(k), outcome).Inc()
	m.parted.Set(0)
	if outcome == partingStuck {
		m.parted.Set(1)
	}
}

func (m *Metrics) erased(n int) { m.erasures.Add(float64(n)) }

func (m *Metrics) committed(events int, took time.Duration) {
	m.batches.Observe(float64(events))
	m.batchTime.Observe(took.Seconds())
}

func (m *Metrics) reclaimed(bytes int64) {
	m.reclaims.Inc()
	m.freed.Add(float64(max(0, bytes))) // the index may have grown meanwhile
}
