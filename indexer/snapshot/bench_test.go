package snapshot_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
)

// BenchmarkSnapshot writes a snapshot of assignments in memory and restores it.
//
//	go test ./indexer/snapshot -run '^$' -bench Snapshot -benchtime 1x
func BenchmarkSnapshot(b *testing.B) {
	const n = 200_000
	st := assignments(b, n)
	var file bytes.Buffer
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			file.Reset()
			if _, err := snapshot.Write(b.Context(), &file, st, snapshot.WriteOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "assignments/s")
		b.ReportMetric(float64(file.Len())/n, "bytes/assignment")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, err := snapshot.Restore(b.Context(), bytes.NewReader(file.Bytes()), b.TempDir(), snapshot.RestoreOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "assignments/s")
	})
}

// assignments makes an index of n of them.
func assignments(b *testing.B, n int) *store.Store {
	b.Helper()
	st, err := store.Open(store.Options{Dir: b.TempDir(), Temporary: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	for seq := 0; seq < n; {
		batch := st.NewBatch(nil)
		for end := seq + 1000; seq < min(end, n); {
			seq++
			apply(b, batch, seq)
		}
		if err := batch.Commit(store.Watermark{Seq: uint64(seq), Nano: int64(seq)}); err != nil {
			b.Fatal(err)
		}
	}
	return st
}

func apply(b *testing.B, batch *store.Batch, seq int) {
	b.Helper()
	ev, err := events.Decode(events.Message{
		Subject: events.Subject("default"), Header: map[string][]string{"Assigndex-Type": {"assignment.upserted"}},
		Data: fmt.Appendf(nil, `{"usr_id":"user-%06d","ent_id":"entitlement-%04d","app_id":"app-%02d","score":0.%d}`, seq/7, seq%1000, seq%50, seq%10),
	})
	if err != nil {
		b.Fatal(err)
	}
	batch.At(uint64(seq))
	if _, err := fold.Apply(&ev, rows.Moment{Seq: uint64(seq), Nano: int64(seq)}, batch, batch); err != nil {
		b.Fatal(err)
	}
}
