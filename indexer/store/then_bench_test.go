package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// BenchmarkThen lists first pages at the last sequence, and at a sequence before
// half of all rows got another score, an eighth was revoked and as many were added.
func BenchmarkThen(b *testing.B) {
	st := openBench(b, b.TempDir())
	fillStore(b, st, benchRows(b), true)
	before := st.Applied().Seq
	churn(b, st, benchRows(b))
	for _, size := range []int{20, 500} {
		for _, filter := range filters {
			sels := selectors(b, st, filter, 1000)
			pages := func(b *testing.B, seq uint64) float64 {
				listed := 0
				for i := 0; b.Loop(); i++ {
					view, err := st.View(seq)
					if err != nil {
						b.Fatal(err)
					}
					page, err := listing.List(context.Background(), view, sels[i%len(sels)], nil, size, func(rows.Face) {})
					if err != nil {
						b.Fatal(err)
					}
					listed += page.Rows
					view.Close()
				}
				b.ReportMetric(float64(listed)/float64(b.N), "rows/page")
				return float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			}
			var now float64
			b.Run(fmt.Sprintf("%d/%s/now", size, filter), func(b *testing.B) { now = pages(b, st.Applied().Seq) })
			b.Run(fmt.Sprintf("%d/%s/then", size, filter), func(b *testing.B) { b.ReportMetric(pages(b, before)/now, "ratio/now") })
		}
	}
}

// churn changes, revokes and adds assignments of the sample company.
func churn(b *testing.B, st *store.Store, n int) {
	b.Helper()
	var changes []events.Event
	i := 0
	sample.Company{Assignments: n, Seed: 1}.Each(func(r sample.Record) bool {
		if r.Type != events.AssignmentUpserted {
			return true
		}
		ev, err := events.DecodeData("default", r.Type, r.Data)
		if err != nil {
			b.Fatal(err)
		}
		i++
		a := *ev.Assignment
		switch {
		case i%8 < 4:
			score := 0.123
			a.Score = &score
		case i%8 == 4:
			ev.Type = events.AssignmentRevoked
		case i%8 == 5:
			a.Assignee.ID += "x"
		default:
			return true
		}
		ev.Assignment = &a
		changes = append(changes, ev)
		return true
	})
	const batchEvents = 1000
	for len(changes) > 0 {
		some := changes[:min(batchEvents, len(changes))]
		changes = changes[len(some):]
		batch, mark := st.NewBatch(nil), st.Applied()
		for i := range some {
			mark.Seq++
			batch.At(mark.Seq)
			if _, err := fold.Apply(&some[i], rows.Moment{Seq: mark.Seq, Nano: int64(mark.Seq)}, batch, batch); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(mark); err != nil {
			b.Fatal(err)
		}
	}
}
