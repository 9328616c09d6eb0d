package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
)

// BenchmarkFreshness measures the time from the acknowledgement of an event to the
// answer over HTTP that shows it, for single events while nothing else goes on, and
// while another publisher sends half of what the same server just took at most.
func BenchmarkFreshness(b *testing.B) {
	samples := 1000
	if testing.Short() {
		samples = 20
	}
	n := benchNode(b)
	f := &freshness{B: b, n: n, p: benchPublisher(b, n), key: strings.TrimSpace(benchCommand(b, n, "key", "create", "--name", "bench", "--tenant", "*"))}
	f.awaitReady()
	b.Run("idle", func(b *testing.B) {
		f.B = b
		for b.Loop() {
			f.measure(samples)
		}
	})
	b.Run("half load", func(b *testing.B) {
		f.B = b
		rate := f.highestRate()
		stop := f.load(rate / 2)
		for b.Loop() {
			f.measure(samples)
		}
		reached := stop()
		b.ReportMetric(rate, "highest-events/s")
		b.ReportMetric(reached, "load-events/s")
	})
}

type freshness struct {
	*testing.B
	n    *node
	p    *publisher.Publisher
	key  string
	next int
}

// awaitReady returns when the server answers queries.
func (f *freshness) awaitReady() {
	for ready := false; !ready; {
		req, err := http.NewRequestWithContext(f.Context(), http.MethodGet, f.n.url()+"/readyz", nil)
		if err != nil {
			f.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			f.Fatal(err)
		}
		ready = res.StatusCode == http.StatusOK
		_ = res.Body.Close() // nothing of it is of use
	}
}

func benchPublisher(b *testing.B, n *node) *publisher.Publisher {
	b.Helper()
	nc, err := nats.Connect(n.natsURL(), publisher.ConnectOptions()...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(nc.Close)
	p, err := publisher.New(b.Context(), nc, publisher.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	return p
}

// measure publishes events one at a time and asks for each.
func (f *freshness) measure(samples int) {
	times := make([]time.Duration, samples)
	for i := range times {
		f.next++
		usr := "fresh." + strconv.Itoa(f.next)
		ack, err := f.p.Publish(f.Context(), record(f.B, usr, "fresh"))
		if err != nil {
			f.Fatal(err)
		}
		began := time.Now()
		f.read(usr, ack.LastSeq)
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[min(samples-1, int(math.Ceil(share*float64(samples))))].Microseconds()) / 1000
	}
	f.ReportMetric(at(.5), "p50-ms")
	f.ReportMetric(at(.99), "p99-ms")
}

func record(b *testing.B, usr, ent string) publisher.Message {
	m, err := publisher.NewRecord(events.AssignmentUpserted, fmt.Appendf(nil, `{"usr_id":%q,"ent_id":%q,"score":0.5}`, usr, ent))
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// read asks for a user's assignments as of a sequence at least, and ends the
// benchmark when the answer does not show one.
func (f *freshness) read(usr string, seq uint64) {
	body := fmt.Sprintf(`{"usr_id":%q,"at_least":%d}`, usr, seq)
	req, err := http.NewRequestWithContext(f.Context(), http.MethodPost, f.n.url()+"/api/assignments", strings.NewReader(body))
	if err != nil {
		f.Fatal(err)
	}
	for name, value := range map[string]string{"X-API-KEY": f.key, "Content-Type": "application/json", "Assigndex-Tenant": "default"} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	content, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(content), usr) {
		f.Fatalf("%d %s, %v", res.StatusCode, content, err)
	}
}

const (
	// loadBatch is how many events the load publishes together: as many as a commit
	// takes at half load.
	loadBatch = 250
	// fullBatch is how many are published together at the highest rate.
	fullBatch = 1000
)

// highestRate publishes as fast as the server acknowledges and applies, and gives
// events a second.
func (f *freshness) highestRate() float64 {
	count := 100_000
	if testing.Short() {
		count = 1_000
	}
	began := time.Now()
	last := f.publish(f.Context(), 0, count, fullBatch)
	if err := f.n.index.Wait(f.Context(), last); err != nil {
		f.Fatal(err)
	}
	return float64(count) / time.Since(began).Seconds()
}

// publish sends the events from one number to another, so many together, and gives
// the last sequence.
func (f *freshness) publish(ctx context.Context, from, to, size int) (last uint64) {
	for from < to {
		batch := make([]publisher.Message, min(size, to-from))
		for i := range batch {
			batch[i] = record(f.B, "load."+strconv.Itoa((from+i)/10), "e"+strconv.Itoa((from+i)%500))
		}
		ack, err := f.p.Publish(ctx, batch...)
		if err != nil {
			if ctx.Err() == nil {
				f.Error(err)
			}
			return last
		}
		from, last = from+len(batch), ack.LastSeq
	}
	return last
}

// load publishes at a rate until stop is called, which gives the rate reached.
func (f *freshness) load(rate float64) (stop func() float64) {
	own := &freshness{B: f.B, n: f.n, p: benchPublisher(f.B, f.n)}
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan struct{})
	var sent atomic.Int64
	began := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Duration(loadBatch / rate * float64(time.Second)))
		defer tick.Stop()
		for from := 1 << 24; ; from += loadBatch {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				own.publish(ctx, from, from+loadBatch, loadBatch)
				sent.Add(loadBatch)
			}
		}
	}()
	return func() float64 {
		took := time.Since(began).Seconds()
		cancel()
		<-done
		return float64(sent.Load()) / took
	}
}
