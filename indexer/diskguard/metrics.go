package diskguard

import "github.com/prometheus/client_golang/prometheus"

var (
	lowDesc = prometheus.NewDesc("assigndex_disk_low",
		"1 while less is free on the disk than the reserve, so that no event is taken.", []string{"place"}, nil)
	freeDesc = prometheus.NewDesc("assigndex_disk_free_bytes",
		"Bytes free on the disk when it was last looked at.", []string{"place"}, nil)
)

// Describe is part of prometheus.Collector.
func (g *Guard) Describe(ch chan<- *prometheus.Desc) {
	ch <- lowDesc
	ch <- freeDesc
}

// Collect is part of prometheus.Collector. A place of which nothing is known has
// no free bytes to tell.
func (g *Guard) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.places {
		p := &g.places[i]
		low := 0.0
		if p.low {
			low = 1
		}
		ch <- prometheus.MustNewConstMetric(lowDesc, prometheus.GaugeValue, low, p.Name)
		if p.err == nil {
			ch <- prometheus.MustNewConstMetric(freeDesc, prometheus.GaugeValue, float64(p.free), p.Name)
		}
	}
}
