package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkTogether measures reads while ingest is flooded, and ingest while reads
// are, each beside the same alone in the same server: "reads" are pages of 20 from four
// clients, "ingest" batches of 100 changes from as many as may run. A flood comes from
// 64 clients, which together ask for four times what four of them were served alone.
func BenchmarkTogether(b *testing.B) {
	phase := 2 * time.Second
	if testing.Short() {
		phase = 100 * time.Millisecond
	}
	n := benchNode(b)
	m := &mixture{B: b, n: n, phase: phase, key: strings.TrimSpace(benchCommand(b, n, "key", "create", "--name", "bench", "--role", "writer"))}
	m.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer m.http.CloseIdleConnections()
	for i := range m.batches {
		m.batches[i] = batch(i)
	}
	const few, many = 4, 64
	for _, c := range []struct {
		name         string
		asked, flood func() (int, error)
	}{{"reads", m.read, m.ingest}, {"ingest", m.ingest, m.read}} {
		b.Run(c.name, func(b *testing.B) {
			var alone, together, others results
			for b.Loop() {
				capacity := m.start(few, 0, c.flood).stop()
				alone.add(m.start(few, 0, c.asked).stop())
				flood := m.start(many, 4*capacity.rate(), c.flood)
				together.add(m.start(few, 0, c.asked).stop())
				others.add(flood.stop())
			}
			b.ReportMetric(alone.rate(), "alone/s")
			b.ReportMetric(together.rate(), "flooded/s")
			b.ReportMetric(alone.milliseconds(.99), "alone-p99-ms")
			b.ReportMetric(together.milliseconds(.99), "flooded-p99-ms")
			b.ReportMetric(float64(together.refused), "refused")
			b.ReportMetric(others.rate(), "flood-served/s")
			b.ReportMetric(float64(others.refused)/others.took.Seconds(), "flood-refused/s")
			b.ReportMetric(0, "ns/op") // is the length of the phases
		})
	}
}

// batch gives an ingest request of 100 assignments. The second half of all batches has
// those of the first with other scores, so that each one changes something.
func batch(i int) string {
	var items strings.Builder
	score := 2 * i / batches
	for n := range 100 {
		if n > 0 {
			items.WriteByte(',')
		}
		row := i%(batches/2)*100 + n
		fmt.Fprintf(&items, `{"usr_id":"aaron.%06d","ent_id":"e%d","score":%d}`, row/10, row%500, score)
	}
	return `{"action":"upsert","assignments":[` + items.String() + `]}`
}

const batches = 400

// mixture sends requests of two sorts to a node.
type mixture struct {
	*testing.B
	n     *node
	key   string
	http  *http.Client
	phase time.Duration

	batches [batches]string
	next    atomic.Int64 // of batches
}

func (m *mixture) read() (int, error) {
	return m.send("/api/assignments", `{"pageSize":20}`)
}

func (m *mixture) ingest() (int, error) {
	return m.send("/api/ingest/assignments", m.batches[(m.next.Add(1)-1)%batches])
}

func (m *mixture) send(path, body string) (status int, err error) {
	req, err := http.NewRequestWithContext(m.Context(), http.MethodPost, m.n.url()+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{"X-API-KEY": m.key, "Content-Type": "application/json"} {
		req.Header.Set(name, value)
	}
	res, err := m.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// clients send requests, each one at a time, until they are stopped.
type clients struct {
	m       *mixture
	began   time.Time
	cancel  context.CancelFunc
	running sync.WaitGroup
	each    []results
}

// start makes clients that send so many requests a second together, or, if that is 0,
// each as soon as the one before was answered.
func (m *mixture) start(count int, perSecond float64, send func() (int, error)) *clients {
	var interval time.Duration
	if perSecond > 0 {
		interval = time.Duration(float64(count) / perSecond * float64(time.Second))
	}
	ctx, cancel := context.WithCancel(m.Context())
	c := &clients{m: m, began: time.Now(), cancel: cancel, each: make([]results, count)}
	for i := range c.each {
		c.running.Go(func() {
			first := interval * time.Duration(i) / time.Duration(count)
			for next := c.began.Add(first); ctx.Err() == nil; next = next.Add(interval) {
				<-time.After(time.Until(next))
				began := time.Now()
				switch status, err := send(); {
				case err == nil && status == http.StatusOK:
					c.each[i].served = append(c.each[i].served, time.Since(began))
				case err == nil && status == http.StatusServiceUnavailable:
					c.each[i].refused++
				default:
					m.Errorf("status %d, %v", status, err)
					return
				}
			}
		})
	}
	return c
}

// stop ends the clients when they have run for a phase, and gives what they got.
func (c *clients) stop() (all results) {
	<-time.After(time.Until(c.began.Add(c.m.phase)))
	c.cancel()
	c.running.Wait()
	for _, r := range c.each {
		all.add(r)
	}
	all.took = time.Since(c.began)
	return all
}

// results are what became of requests.
type results struct {
	took    time.Duration
	refused int
	served  []time.Duration
}

func (r *results) add(o results) {
	r.took += o.took
	r.refused += o.refused
	r.served = append(r.served, o.served...)
}

func (r *results) rate() float64 { return float64(len(r.served)) / r.took.Seconds() }

// milliseconds gives the time within which that share of what was served was.
func (r *results) milliseconds(share float64) float64 {
	if len(r.served) == 0 {
		return 0
	}
	slices.Sort(r.served)
	return r.served[int(share*float64(len(r.served)-1))].Seconds() * 1e3
}
