package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// benchRows is how many assignments the reading benchmarks list from.
func benchRows(b *testing.B) int {
	b.Helper()
	text := os.Getenv("ASSIGNDEX_BENCH_ROWS")
	if text == "" {
		if testing.Short() {
			return 10_000
		}
		return 200_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatalf("ASSIGNDEX_BENCH_ROWS: %v", err)
	}
	return n
}

// layouts are the two ways to keep the families other than the one by assignee.
var layouts = []struct {
	name     string
	covering bool
}{{"covering", true}, {"pointing", false}}

// pointing lets a batch write the keys of those families without their faces.
type pointing struct{ *store.Batch }

func (p pointing) Put(key, value []byte) error {
	switch keys.Tag(key[0]) {
	case keys.ByEntitlement, keys.ByApp, keys.ByAppAndEnt:
		value = nil
	}
	return p.Batch.Put(key, value)
}

// following reads an index with pointing entries as if they were covering.
type following struct{ *store.View }

func (f following) Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error {
	if keys.Tag(prefix[0]) == keys.ByAssignee {
		return f.View.Walk(prefix, from, visit)
	}
	var getErr error
	err := f.View.Walk(prefix, from, func(key, value []byte, passed int) bool {
		if value == nil {
			return visit(key, nil, passed)
		}
		_, id, err := keys.ParseRow(key)
		if err != nil {
			getErr = err
			return false
		}
		id.AppID = ""
		if value, err = f.View.Get(id.Make(keys.ByAssignee)); err != nil {
			getErr = err
			return false
		}
		face, err := rows.FaceOf(value)
		if err != nil {
			getErr = err
			return false
		}
		return visit(key, face, passed)
	})
	if err != nil {
		return err
	}
	return getErr
}

// fillStore applies the sample company and reports what that took.
func fillStore(b *testing.B, st *store.Store, n int, covering bool) {
	b.Helper()
	const batchEvents = 1000
	seq := uint64(0)
	var batch *store.Batch
	commit := func() {
		mark := st.Applied()
		mark.Seq = seq
		if err := batch.Commit(mark); err != nil {
			b.Fatal(err)
		}
		batch = nil
	}
	sample.Company{Assignments: n, Seed: 1}.Each(func(r sample.Record) bool {
		ev, err := events.DecodeData("default", r.Type, r.Data)
		if err != nil {
			b.Fatal(err)
		}
		if batch == nil {
			batch = st.NewBatch(nil)
		}
		seq++
		batch.At(seq)
		var w fold.Writer = batch
		if !covering {
			w = pointing{batch}
		}
		if _, err := fold.Apply(&ev, rows.Moment{Seq: seq, Nano: int64(seq)}, batch, w); err != nil {
			b.Fatal(err)
		}
		if seq%batchEvents == 0 {
			commit()
		}
		return true
	})
	if batch != nil {
		commit()
	}
}

func openBench(b *testing.B, dir string) *store.Store {
	b.Helper()
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st
}

// BenchmarkLayoutWrite fills an index in either layout; one iteration is the whole company.
func BenchmarkLayoutWrite(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			n := benchRows(b)
			var bytes int64
			for range b.N {
				dir := b.TempDir()
				st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
				if err != nil {
					b.Fatal(err)
				}
				fillStore(b, st, n, l.covering)
				// Closing writes the memtables out, so that all is in tables and counts.
				if err := st.Close(); err != nil {
					b.Fatal(err)
				}
				bytes = tableBytes(b, dir)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(bytes)/float64(n), "disk-bytes/row")
		})
	}
}

func tableBytes(b *testing.B, dir string) int64 {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			b.Fatal(err)
		}
		if filepath.Ext(e.Name()) == ".sst" {
			total += info.Size()
		}
	}
	return total
}

// filters are the eight combinations of user, entitlement and application.
var filters = []string{"all", "usr", "ent", "app", "usr+ent", "usr+app", "ent+app", "usr+ent+app"}

// selectors draws selectors of one filter that select at least one row.
func selectors(b *testing.B, st *store.Store, filter string, most int) []listing.Selector {
	b.Helper()
	view, err := st.View(st.Applied().Seq)
	if err != nil {
		b.Fatal(err)
	}
	defer view.Close()
	r := rand.New(rand.NewPCG(1, 2))
	var out []listing.Selector
	err = view.Range([]byte{byte(keys.ByApp)}, nil, func(key, _ []byte) bool {
		if r.IntN(100) > 0 && len(out) > 0 {
			return true
		}
		_, id, err := keys.ParseRow(key)
		if err != nil {
			b.Fatal(err)
		}
		sel := listing.Selector{Tenant: id.Tenant, Kinds: []events.Kind{events.KindUser}}
		for _, part := range strings.Split(filter, "+") {
			switch part {
			case "usr":
				sel.AssigneeID = id.Assignee.ID
			case "ent":
				sel.EntID = id.EntID
			case "app":
				sel.AppID = id.AppID
			}
		}
		out = append(out, sel)
		return len(out) < most
	})
	if err != nil {
		b.Fatal(err)
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// BenchmarkPage lists first pages in every filter and either layout.
func BenchmarkPage(b *testing.B) {
	for _, l := range layouts {
		st := openBench(b, b.TempDir())
		fillStore(b, st, benchRows(b), l.covering)
		for _, size := range []int{20, 500} {
			for _, filter := range filters {
				b.Run(fmt.Sprintf("%s/%d/%s", l.name, size, filter), func(b *testing.B) {
					sels := selectors(b, st, filter, 1000)
					listed := 0
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						view, err := st.View(st.Applied().Seq)
						if err != nil {
							b.Fatal(err)
						}
						var src listing.Source = view
						if !l.covering {
							src = following{view}
						}
						page, err := listing.List(context.Background(), src, sels[i%len(sels)], nil, size, func(rows.Face) {})
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
	}
}

// rangeOf gives the range that a selector of one kind reads.
func rangeOf(b *testing.B, sel listing.Selector) []byte {
	b.Helper()
	var asked recorder
	if _, err := listing.List(context.Background(), &asked, sel, nil, 1, nil); err != nil {
		b.Fatal(err)
	}
	return asked.prefix
}

// recorder is an empty source that remembers what it was asked for.
type recorder struct{ prefix []byte }

func (r *recorder) Walk(prefix, _ []byte, _ func(key, value []byte, passed int) bool) error {
	r.prefix = prefix
	return nil
}

func (*recorder) Get([]byte) ([]byte, error) { return nil, nil }

// BenchmarkPageBare iterates over the same ranges with nothing but Badger.
func BenchmarkPageBare(b *testing.B) {
	dir := b.TempDir()
	st := openBench(b, dir)
	fillStore(b, st, benchRows(b), true)
	db := st.Badger()
	for _, size := range []int{20, 500} {
		for _, filter := range filters {
			b.Run(fmt.Sprintf("%d/%s", size, filter), func(b *testing.B) {
				sels := selectors(b, st, filter, 1000)
				prefixes := make([][]byte, len(sels))
				for i, sel := range sels {
					prefixes[i] = rangeOf(b, sel)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					txn := db.NewTransactionAt(st.Applied().Seq, false)
					o := badger.DefaultIteratorOptions
					o.Prefix, o.PrefetchValues = prefixes[i%len(prefixes)], false
					it := txn.NewIterator(o)
					n := 0
					for it.Rewind(); it.Valid() && n <= size; it.Next() {
						if err := it.Item().Value(func([]byte) error { return nil }); err != nil {
							b.Fatal(err)
						}
						n++
					}
					it.Close()
					txn.Discard()
				}
			})
		}
	}
}
