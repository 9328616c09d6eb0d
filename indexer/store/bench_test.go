package store_test

import (
	"fmt"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// BenchmarkBatch folds and writes batches of new assignments, one after the
// other, and then writes the same keys and values with nothing but Badger. The
// ratio is that of their rates.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			st := openBench(b, b.TempDir())
			entities, assignments := sampleEvents(b, b.N*size)
			w := &recordingWriter{}
			foldBatch(b, st, w, entities)
			w.batches = nil
			began := time.Now()
			b.ResetTimer()
			for i := range b.N {
				foldBatch(b, st, w, assignments[i*size:(i+1)*size])
			}
			b.StopTimer()
			folded := time.Since(began)
			bare := writeBare(b, openBench(b, b.TempDir()).Badger(), w.batches)
			b.ReportMetric(float64(b.N*size)/folded.Seconds(), "events/s")
			b.ReportMetric(bare.Seconds()/folded.Seconds(), "ratio/bare")
		})
	}
}

func sampleEvents(b *testing.B, n int) (entities, assignments []events.Event) {
	b.Helper()
	sample.Company{Assignments: n, Seed: 1}.Each(func(r sample.Record) bool {
		ev, err := events.DecodeData("default", r.Type, r.Data)
		if err != nil {
			b.Fatal(err)
		}
		if ev.Assignment == nil {
			entities = append(entities, ev)
		} else {
			assignments = append(assignments, ev)
		}
		return true
	})
	return entities, assignments
}

// recordedWrite is one key of a batch.
type recordedWrite struct {
	key, value []byte
	seq        uint64
}

// recordingWriter passes writes on and remembers them.
type recordingWriter struct {
	*store.Batch
	seq     uint64
	batches [][]recordedWrite
}

func (w *recordingWriter) Put(key, value []byte) error {
	last := &w.batches[len(w.batches)-1]
	*last = append(*last, recordedWrite{key, value, w.seq})
	return w.Batch.Put(key, value)
}

func (w *recordingWriter) Changed(at rows.Moment, id keys.Row, before, after *rows.Row) error {
	last := &w.batches[len(w.batches)-1]
	*last = append(*last, recordedWrite{keys.ChangeOf(id.Tenant, keys.Change{Seq: w.seq}), keys.Logged{Nano: at.Nano, Row: id}.Encode(), w.seq})
	return w.Batch.Changed(at, id, before, after)
}

func foldBatch(b *testing.B, st *store.Store, w *recordingWriter, all []events.Event) {
	b.Helper()
	w.Batch = st.NewBatch(nil)
	w.batches = append(w.batches, nil)
	mark := st.Applied()
	for i := range all {
		mark.Seq++
		w.seq = mark.Seq
		w.At(mark.Seq)
		if _, err := fold.Apply(&all[i], rows.Moment{Seq: mark.Seq, Nano: int64(mark.Seq)}, w, w); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Commit(mark); err != nil {
		b.Fatal(err)
	}
}

// writeBare writes the batches, each followed by a commit of one more key, as a
// watermark is.
func writeBare(b *testing.B, db *badger.DB, batches [][]recordedWrite) time.Duration {
	b.Helper()
	began := time.Now()
	for _, batch := range batches {
		wb := db.NewManagedWriteBatch()
		for _, w := range batch {
			if err := wb.SetEntryAt(badger.NewEntry(w.key, w.value), w.seq); err != nil {
				b.Fatal(err)
			}
		}
		if err := wb.Flush(); err != nil {
			b.Fatal(err)
		}
		txn := db.NewTransactionAt(1, true)
		if err := txn.Set([]byte("watermark"), []byte("value")); err != nil {
			b.Fatal(err)
		}
		if err := txn.CommitAt(1, nil); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
