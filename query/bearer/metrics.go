package bearer

import "github.com/prometheus/client_golang/prometheus"

var (
	descKeys    = prometheus.NewDesc("assigndex_token_keys", "Keys of the issuer that bearer tokens are checked by.", nil, nil)
	descKeysAge = prometheus.NewDesc("assigndex_token_keys_age_seconds", "Time since the issuer last confirmed its keys.", nil, nil)
)

// metrics of the tokens and of the issuer's keys.
type metrics struct {
	checks  *prometheus.CounterVec
	fetches *prometheus.CounterVec
	results map[outcome]prometheus.Counter // of checks
}

func newMetrics() *metrics {
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assigndex_token_checks_total", Help: "Bearer tokens, by what their check came to.",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "assigndex_token_key_fetches_total", Help: "Requests to the issuer for its keys, by how they ended.",
		}, []string{"result"}),
		results: make(map[outcome]prometheus.Counter, len(outcomes)),
	}
	for _, o := range outcomes {
		m.results[o] = m.checks.WithLabelValues(string(o))
	}
	for _, result := range []string{fetchOK, fetchFailed} {
		m.fetches.WithLabelValues(result) // shown from the start
	}
	return m
}

const (
	fetchOK     = "ok"
	fetchFailed = "failed"
)

func (m *metrics) checked(o outcome) { m.results[o].Inc() }

func (m *metrics) fetched(err error) {
	if err != nil {
		m.fetches.WithLabelValues(fetchFailed).Inc()
		return
	}
	m.fetches.WithLabelValues(fetchOK).Inc()
}

// Describe is part of prometheus.Collector.
func (t *Tokens) Describe(ch chan<- *prometheus.Desc) {
	ch <- descKeys
	ch <- descKeysAge
	t.metrics.checks.Describe(ch)
	t.metrics.fetches.Describe(ch)
}

// Collect is part of prometheus.Collector. What is not known yet is left out.
func (t *Tokens) Collect(ch chan<- prometheus.Metric) {
	if set := t.keys.current(); set != nil {
		ch <- prometheus.MustNewConstMetric(descKeys, prometheus.GaugeValue, float64(set.count))
	}
	if age, ok := t.keys.age(); ok {
		ch <- prometheus.MustNewConstMetric(descKeysAge, prometheus.GaugeValue, age.Seconds())
	}
	t.metrics.checks.Collect(ch)
	t.metrics.fetches.Collect(ch)
}
