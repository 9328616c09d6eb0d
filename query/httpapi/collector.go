package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Collector shows the state of what is served: the index's place in its stream,
// the keys and the store. It reads it when it is asked and keeps nothing.
type Collector struct {
	Index query.Index
	Lag   func(now time.Time) query.Lag
	Keys  *apikey.Set
	Sizes func() (tree, valueLog int64) // of the store, in bytes
	// Quarantine gives the number of messages in the quarantine, counted up to a
	// limit; nil: it is not shown.
	Quarantine func(limit int) (int, error)
}

var (
	descApplied = prometheus.NewDesc("assigndex_applied_sequence", "The last applied sequence.", nil, nil)
	descFloor   = prometheus.NewDesc("assigndex_floor_sequence", "The lowest sequence that can be read.", nil, nil)
	descHead    = prometheus.NewDesc("assigndex_stream_head_sequence", "The stream's last sequence, as last seen.", nil, nil)
	descLag     = prometheus.NewDesc("assigndex_lag_sequences", "Sequences of the stream that are not applied yet.", nil, nil)
	descLagTime = prometheus.NewDesc("assigndex_lag_seconds", "For how long the index has been behind its stream.", nil, nil)
	descKeys    = prometheus.NewDesc("assigndex_api_keys", "API keys that the server knows.", nil, nil)
	descKeysAge = prometheus.NewDesc("assigndex_api_keys_age_seconds", "Time since the known keys were last confirmed.", nil, nil)
	descStore   = prometheus.NewDesc("assigndex_store_bytes", "Size of the store on disk.", []string{"part"}, nil)
	descBad     = prometheus.NewDesc("assigndex_quarantined_messages", "Messages in the quarantine, counted up to 10000.", nil, nil)
)

// maxCountedBad bounds what a look at the metrics costs: counting 10,000 messages
// takes a few milliseconds.
const maxCountedBad = 10_000

// Describe is part of prometheus.Collector.
func (c Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descApplied, descFloor, descHead, descLag, descLagTime, descKeys, descKeysAge, descStore, descBad,
	} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector. What is not known yet is left out.
func (c Collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := time.Now()
	l := c.Lag(now)
	gauge(descApplied, float64(l.Applied))
	gauge(descFloor, float64(c.Index.Floor()))
	if l.Known {
		gauge(descHead, float64(l.Head))
		gauge(descLag, float64(l.Sequences))
		gauge(descLagTime, l.Age.Seconds())
	}
	if age, ok := c.Keys.Age(now); ok {
		gauge(descKeys, float64(c.Keys.Len()))
		gauge(descKeysAge, age.Seconds())
	}
	tree, valueLog := c.Sizes()
	gauge(descStore, float64(tree), "tree")
	gauge(descStore, float64(valueLog), "value_log")
	if c.Quarantine != nil {
		if n, err := c.Quarantine(maxCountedBad); err == nil {
			gauge(descBad, float64(n))
		}
	}
}
