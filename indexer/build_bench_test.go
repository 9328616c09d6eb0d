package indexer_test

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

var (
	buildEventsFlag = flag.Int("build.events", 0, "how many events BenchmarkBuild's stream has, about; 0: ASSIGNDEX_BENCH_ROWS, or 100,000")
	buildAloneFlag  = flag.Bool("build.alone", false, "let BenchmarkBuild measure Build without the Indexer")
	buildFloorFlag  = flag.Bool("build.floor", false, "let BenchmarkBuild keep no history, as a rebuild of an old stream does")
)

// BenchmarkBuild measures events a second from a stream that is full to a fresh index
// that is durable, by Build, and in turn by an Indexer; ratio/live is the one rate
// divided by the other. The stream's server is in the process: rss-MB is the most
// memory of all that a build was seen to take, anon-MB without the files that are
// mapped, and base-MB is what there was before it.
//
//	go test ./indexer -run xxx -bench 'Build$' -benchtime 1x -build.events 10000000 -timeout 60m
func BenchmarkBuild(b *testing.B) {
	company := sample.Company{Assignments: buildEvents(b) * 100 / 113, Seed: 1}
	server := streamtest.Start(b)
	nc := streamtest.Connect(b, server, append(publisher.ConnectOptions(), server.InProcess())...)
	js, last := fill(b, nc, company)
	forgetIDs(b, js)
	var live, built time.Duration
	var most, base memory
	var size int64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		if !*buildAloneFlag {
			live += benchLive(b, nc, js, last)
		}
		debug.FreeOSMemory()
		base = memoryNow(b)
		b.StartTimer()
		took, peak, bytes := benchBuild(b, nc, js, last)
		built += took
		most.rss, most.anon, size = max(most.rss, peak.rss), max(most.anon, peak.anon), bytes
	}
	rate := func(d time.Duration) float64 { return float64(b.N) * float64(last) / d.Seconds() }
	b.ReportMetric(rate(built), "events/s")
	if live > 0 {
		b.ReportMetric(rate(live), "live-events/s")
		b.ReportMetric(rate(built)/rate(live), "ratio/live")
	}
	b.ReportMetric(float64(most.rss)/1e6, "rss-MB")
	b.ReportMetric(float64(most.anon)/1e6, "anon-MB")
	b.ReportMetric(float64(base.rss)/1e6, "base-MB")
	b.ReportMetric(float64(size)/1e6, "index-MB")
}

func buildEvents(b *testing.B) int {
	b.Helper()
	text := os.Getenv("ASSIGNDEX_BENCH_ROWS")
	if *buildEventsFlag > 0 || text == "" {
		return cmp.Or(*buildEventsFlag, 100_000)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		b.Fatalf("ASSIGNDEX_BENCH_ROWS: want a number above 0, not %q", text)
	}
	return n
}

// forgetIDs lets the server forget the ids of what was published just now, by which it
// finds duplicates: a rebuild of a stream of millions does not meet millions of new ones.
func forgetIDs(b *testing.B, js jetstream.JetStream) {
	b.Helper()
	s, err := js.Stream(b.Context(), benchStream)
	if err != nil {
		b.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.Duplicates = 100 * time.Millisecond // the least that there is
	if _, err := js.UpdateStream(b.Context(), config); err != nil {
		b.Fatal(err)
	}
}

// benchLive gives how long an Indexer takes.
func benchLive(b *testing.B, nc *nats.Conn, js jetstream.JetStream, last uint64) time.Duration {
	b.Helper()
	st, err := store.Open(store.Options{Dir: filepath.Join(b.TempDir(), "index"), Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	x := indexer.New(st, stream.NewReader(nc, js, benchStream, zerolog.Nop()), indexer.Options{History: time.Hour})
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- x.Run(ctx) }()
	if err := st.Wait(b.Context(), last); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// benchBuild gives how long Build takes, its memory, and the size of the index.
func benchBuild(b *testing.B, nc *nats.Conn, js jetstream.JetStream, last uint64) (took time.Duration, peak memory, size int64) {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "index")
	o := indexer.BuildOptions{Dir: dir, Logger: zerolog.Nop()}
	if *buildFloorFlag {
		o.Floor = last
	}
	watch := watchMemory(b)
	began := time.Now()
	at, err := indexer.Build(b.Context(), stream.NewReader(nc, js, benchStream, zerolog.Nop()), o)
	took = time.Since(began)
	if peak = watch(); err != nil || at.Seq != last {
		b.Fatalf("built up to %d of %d: %v", at.Seq, last, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			b.Fatal(err)
		}
		size += st.Size()
	}
	return took, peak, size
}

// memory is what the process takes, in bytes; 0 where the system does not tell.
type memory struct{ rss, anon int64 }

func memoryNow(b *testing.B) (m memory) {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return m
	}
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kilobytes := int64(0)
		for _, d := range fields[1] {
			kilobytes = kilobytes*10 + int64(d-'0')
		}
		switch string(fields[0]) {
		case "VmRSS:":
			m.rss = kilobytes << 10
		case "RssAnon:":
			m.anon = kilobytes << 10
		}
	}
	return m
}

// watchMemory begins to look at the memory often. What it gives ends that and tells
// the most that was seen.
func watchMemory(b *testing.B) (most func() memory) {
	b.Helper()
	var m memory
	var done sync.WaitGroup
	stop := make(chan struct{})
	done.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			now := memoryNow(b)
			m.rss, m.anon = max(m.rss, now.rss), max(m.anon, now.anon)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	})
	return func() memory {
		close(stop)
		done.Wait()
		return m
	}
}
