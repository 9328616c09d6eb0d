package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// BenchmarkReclaim fills an index, revokes nine of ten assignments, lets the
// history window pass, and reclaims while others write and read: nobody, a writer
// of a hundred events every 20 ms, or one at full speed.
func BenchmarkReclaim(b *testing.B) {
	for _, load := range []struct {
		name  string
		write bool
		pause time.Duration
	}{{"alone", false, 0}, {"5000 events a second", true, 20 * time.Millisecond}, {"full ingest", true, 0}} {
		b.Run(load.name, func(b *testing.B) {
			n := benchRows(b)
			for range b.N {
				b.StopTimer()
				dir := b.TempDir()
				x := &spaceIndex{tb: b, Store: openBench(b, dir)}
				x.upsert(0, n, func(int) bool { return true })
				x.revoke(0, n, func(i int) bool { return i%10 > 0 })
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
							if load.pause > 0 {
								time.Sleep(load.pause)
							}
						}
					})
				}
				users.Go(func() {
					for ctx.Err() == nil {
						pages = append(pages, x.page(20))
						time.Sleep(time.Millisecond)
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
				report(b, "commit", commits)
				report(b, "page", pages)
				b.StartTimer()
			}
		})
	}
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

// spaceIndex is an index of made-up rows, written without the fold.
type spaceIndex struct {
	tb testing.TB
	*store.Store
	seq uint64
}

func (x *spaceIndex) row(i int) keys.Row {
	return keys.Row{
		Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: fmt.Sprintf("user-%08d", i)},
		EntID: fmt.Sprintf("ent-%03d", i%997), AppID: fmt.Sprintf("app-%02d", i%31),
	}
}

// upsert writes the picked ones of the rows from a number on to another one, in
// all families, and gives the time of the slowest commit.
func (x *spaceIndex) upsert(from, to int, pick func(int) bool) time.Duration {
	x.tb.Helper()
	return x.write(from, to, pick, func(b *store.Batch, i int, f keys.Tag) error {
		id := x.row(i)
		row := rows.Row{AppID: id.AppID, Face: rows.MakeFace(&events.Assignment{Assignee: id.Assignee, EntID: id.EntID})}
		if f == keys.ByAssignee {
			return b.Put(id.Make(f), row.Encode())
		}
		return b.Put(id.Make(f), row.Face)
	})
}

func (x *spaceIndex) revoke(from, to int, pick func(int) bool) {
	x.tb.Helper()
	x.write(from, to, pick, func(b *store.Batch, i int, f keys.Tag) error { return b.Delete(x.row(i).Make(f)) })
}

func (x *spaceIndex) write(from, to int, pick func(int) bool, write func(*store.Batch, int, keys.Tag) error) (slowest time.Duration) {
	x.tb.Helper()
	const batchRows = 1000
	for i := from; i < to; {
		began := time.Now()
		b := x.NewBatch(nil)
		for end := min(to, i+batchRows); i < end; i++ {
			if !pick(i) {
				continue
			}
			x.seq++
			b.At(x.seq)
			for _, f := range keys.RowFamilies {
				if err := write(b, i, f); err != nil {
					x.tb.Fatal(err)
				}
			}
		}
		if err := b.Commit(store.Watermark{Seq: x.seq, Nano: int64(x.seq)}); err != nil {
			x.tb.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}

// page lists a first page and gives the time that it took.
func (x *spaceIndex) page(size int) time.Duration {
	began := time.Now()
	view, err := x.View(x.Applied().Seq)
	if err != nil {
		x.tb.Error(err)
		return 0
	}
	defer view.Close()
	sel := listing.Selector{Tenant: "t", Kinds: []events.Kind{events.KindUser}}
	if _, err := listing.List(context.Background(), view, sel, nil, size, func(rows.Face) {}); err != nil {
		x.tb.Error(err)
	}
	return time.Since(began)
}
