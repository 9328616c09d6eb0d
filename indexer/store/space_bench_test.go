package store_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// BenchmarkDeletedRows lists a first page of 20 in front of very many deleted rows,
// as a request does and without a budget, and one with none in front of it.
func BenchmarkDeletedRows(b *testing.B) {
	n := benchRows(b)
	x := &spaceIndex{tb: b, Store: openBench(b, b.TempDir())}
	x.upsert(n, n+1000, func(int) bool { return true })
	x.upsert(0, n, func(int) bool { return true })
	x.revoke(0, n, func(int) bool { return true })
	kinds := []events.Kind{events.KindUser}
	before := x.row(n - 1)
	for _, c := range []struct {
		name  string
		sel   listing.Selector
		after *listing.Position
	}{
		{"none in front", listing.Selector{Tenant: "t", Kinds: kinds}, &listing.Position{Assignee: before.Assignee, EntID: before.EntID}},
		{"a request", listing.Selector{Tenant: "t", Kinds: kinds}, nil},
		{"without a budget", listing.Selector{Tenant: "t", Kinds: kinds, MaxPassed: math.MaxInt}, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			listed := 0
			for b.Loop() {
				view := x.view(x.seq)
				page, err := listing.List(context.Background(), view, c.sel, c.after, 20, func(rows.Face) {})
				if err != nil {
					b.Fatal(err)
				}
				listed += page.Rows
				view.Close()
			}
			b.ReportMetric(float64(listed)/float64(b.N), "rows/page")
		})
	}
}

// BenchmarkReclaim fills an index, revokes nine of ten assignments, lets the
// history window pass, and reclaims while another one reads a page every
// millisecond, and none writes, or one a hundred events every 20 ms, or at full
// speed. MB-slim is the size of an index that never held the revoked rows.
func BenchmarkReclaim(b *testing.B) {
	for _, load := range []struct {
		name  string
		write bool
		pause time.Duration
	}{{"no writer", false, 0}, {"5000 events a second", true, 20 * time.Millisecond}, {"full speed", true, 0}} {
		b.Run(load.name, func(b *testing.B) {
			n := benchRows(b)
			for range b.N {
				b.StopTimer()
				slim := slimBytes(b, n)
				dir := b.TempDir()
				x := &spaceIndex{tb: b, Store: openBench(b, dir)}
				x.upsert(0, n, func(int) bool { return true })
				x.revoke(0, n, notTenth)
				if err := x.AdvanceFloor(x.seq); err != nil {
					b.Fatal(err)
				}
				before := tableBytes(b, dir)
				ctx, cancel := context.WithCancel(context.Background())
				var users sync.WaitGroup
				var commits, pages []time.Duration
				if load.write {
					users.Go(func() {
						for i := n; ctx.Err() == nil; i += 100 {
							commits = append(commits, x.upsert(i, i+100, func(int) bool { return true }))
							pace(ctx, load.pause)
						}
					})
				}
				users.Go(func() {
					for ctx.Err() == nil {
						pages = append(pages, x.page(20))
						pace(ctx, time.Millisecond)
					}
				})
				b.StartTimer()
				began := time.Now()
				if err := x.Reclaim(ctx); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				took := time.Since(began)
				cancel()
				users.Wait()
				b.ReportMetric(took.Seconds(), "s/reclaim")
				b.ReportMetric(float64(before)/1e6, "MB-before")
				b.ReportMetric(float64(tableBytes(b, dir))/1e6, "MB-after")
				b.ReportMetric(float64(slim)/1e6, "MB-slim")
				report(b, "commit", commits)
				report(b, "page", pages)
				b.StartTimer()
			}
		})
	}
}

// pace waits for a time, or until the context ends.
func pace(ctx context.Context, pause time.Duration) {
	if pause == 0 {
		return
	}
	wait := time.NewTimer(pause)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-wait.C:
	}
}

// slimBytes gives the size of an index of every tenth row.
func slimBytes(b *testing.B, n int) int64 {
	b.Helper()
	dir := b.TempDir()
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	x := &spaceIndex{tb: b, Store: st}
	x.upsert(0, n, tenth)
	if err := st.Close(); err != nil { // writes the memtable out
		b.Fatal(err)
	}
	return tableBytes(b, dir)
}

func report(b *testing.B, what string, took []time.Duration) {
	b.Helper()
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms-"+what+"-p50")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "ms-"+what+"-p99")
	b.ReportMetric(took[len(took)-1].Seconds()*1e3, "ms-"+what+"-max")
}
