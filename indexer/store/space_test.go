package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

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

func (x *spaceIndex) view(seq uint64) *store.View {
	x.tb.Helper()
	view, err := x.View(seq)
	if err != nil {
		x.tb.Fatal(err)
	}
	return view
}
