package indexer_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"  //nolint:depguard // the yardstick is Badger itself
	"github.com/dgraph-io/badger/v4/options" //nolint:depguard // likewise
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/events/sample"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// benchAssignments makes a stream of about 113,000 events.
const benchAssignments = 100_000

// BenchmarkStreamToIndex measures events a second from a stream that is full to
// an index that is durable. In turn with it runs what BenchmarkBareWriteBatch
// runs; ratio/bare is the one rate divided by the other.
func BenchmarkStreamToIndex(b *testing.B) {
	company := sample.Company{Assignments: benchAssignments, Seed: 1}
	writes, count := writesOf(b, company)
	server := streamtest.Start(b)
	nc := streamtest.Connect(b, server, append(publisher.ConnectOptions(), server.InProcess())...)
	js, last := fill(b, nc, company)
	if last != count {
		b.Fatalf("the stream ends at %d, want %d", last, count)
	}
	var bare, whole time.Duration
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		bare += writeBare(b, writes)
		st, err := store.Open(store.Options{Dir: b.TempDir(), Logger: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		x := indexer.New(st, stream.NewReader(nc, js, benchStream, zerolog.Nop()), indexer.Options{History: time.Hour})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		b.StartTimer()
		began := time.Now()
		go func() { done <- x.Run(ctx) }()
		if err := st.Wait(b.Context(), last); err != nil {
			b.Fatal(err)
		}
		whole += time.Since(began)
		b.StopTimer()
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	rate := func(d time.Duration) float64 { return float64(b.N) * float64(count) / d.Seconds() }
	b.ReportMetric(rate(whole), "events/s")
	b.ReportMetric(rate(bare), "bare-events/s")
	b.ReportMetric(rate(whole)/rate(bare), "ratio/bare")
	b.ReportMetric(float64(len(writes))/float64(count), "keys/event")
}

// BenchmarkBareWriteBatch measures Badger's managed write batches alone: the
// keys and values that BenchmarkStreamToIndex writes, in batches of the
// indexer's size, each with a commit of a watermark.
func BenchmarkBareWriteBatch(b *testing.B) {
	writes, count := writesOf(b, sample.Company{Assignments: benchAssignments, Seed: 1})
	var took time.Duration
	b.ResetTimer()
	for range b.N {
		took += writeBare(b, writes)
	}
	b.ReportMetric(float64(b.N)*float64(count)/took.Seconds(), "events/s")
}

const benchStream = "ASSIGNMENTS"

// fill makes the stream and publishes the company's records.
func fill(b *testing.B, nc *nats.Conn, company sample.Company) (js jetstream.JetStream, last uint64) {
	b.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Ensure(b.Context(), js, stream.Config{Name: benchStream}); err != nil {
		b.Fatal(err)
	}
	p, err := publisher.New(b.Context(), nc, publisher.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	w := p.NewWriter()
	company.Each(func(r sample.Record) bool {
		m, err := publisher.NewRecord(r.Type, r.Data)
		if err == nil {
			err = w.Add(b.Context(), m)
		}
		if err != nil {
			b.Fatal(err)
		}
		return true
	})
	if last, err = w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	return js, last
}

// write is what an event does to one key.
type write struct {
	key, value []byte
	seq        uint64
}

// recorder is an index in memory that remembers what was written to it.
type recorder struct {
	state  map[string][]byte
	writes []write
	seq    uint64
}

func (r *recorder) Get(key []byte) ([]byte, error) { return r.state[string(key)], nil }

func (r *recorder) Scan(prefix []byte, visit func(key, value []byte) error) error {
	var found []string
	for key := range r.state {
		if strings.HasPrefix(key, string(prefix)) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	for _, key := range found {
		if err := visit([]byte(key), r.state[key]); err != nil {
			return err
		}
	}
	return nil
}

// Changed writes what a batch does, so that both have the same keys.
func (r *recorder) Changed(at rows.Moment, id keys.Row, _, _ *rows.Row) error {
	r.writes = append(r.writes, write{keys.ChangeOf(id.Tenant, keys.Change{Seq: r.seq}), keys.Logged{Nano: at.Nano, Row: id}.Encode(), r.seq})
	return nil
}

func (r *recorder) Put(key, value []byte) error {
	r.state[string(key)] = value
	r.writes = append(r.writes, write{bytes.Clone(key), bytes.Clone(value), r.seq})
	return nil
}

func (r *recorder) Delete(key []byte) error {
	delete(r.state, string(key))
	r.writes = append(r.writes, write{bytes.Clone(key), nil, r.seq})
	return nil
}

// writesOf folds the company's records and gives what they write, and how many
// they are.
func writesOf(b *testing.B, company sample.Company) (writes []write, count uint64) {
	b.Helper()
	r := &recorder{state: make(map[string][]byte)}
	company.Each(func(rec sample.Record) bool {
		ev, err := events.DecodeData("default", rec.Type, rec.Data)
		if err != nil {
			b.Fatal(err)
		}
		r.seq++
		if _, err := fold.Apply(&ev, rows.Moment{Seq: r.seq, Nano: time.Now().UnixNano()}, r, r); err != nil {
			b.Fatal(err)
		}
		return true
	})
	return r.writes, r.seq
}

const (
	bareBatchEvents = 1000 // the indexer's default
	bareConstant    = 1    // the timestamp of the watermark
)

// writeBare writes to a new database that is opened as the store opens its own,
// and gives how long that took without opening and closing.
func writeBare(b *testing.B, writes []write) time.Duration {
	b.Helper()
	db, err := badger.OpenManaged(badger.DefaultOptions(b.TempDir()).WithLogger(nil).
		WithDetectConflicts(false).WithSyncWrites(true).WithNumVersionsToKeep(1).
		WithMemTableSize(32 << 20).WithNumMemtables(2).WithNumLevelZeroTables(2).WithBaseLevelSize(64 << 20).
		WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20).
		WithCompression(options.Snappy).WithBlockCacheSize(64 << 20).
		WithChecksumVerificationMode(options.OnBlockRead).WithMetricsEnabled(false))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	}()
	began := time.Now()
	for len(writes) > 0 {
		wb := db.NewManagedWriteBatch()
		end := writes[0].seq + bareBatchEvents
		for len(writes) > 0 && writes[0].seq < end {
			w := writes[0]
			writes = writes[1:]
			// The recorded slices stay for the next run; Badger keeps what it is given.
			if err := wb.SetEntryAt(badger.NewEntry(w.key, w.value), w.seq); err != nil {
				b.Fatal(err)
			}
		}
		if err := wb.Flush(); err != nil {
			b.Fatal(err)
		}
		txn := db.NewTransactionAt(bareConstant, true)
		if err := txn.Set([]byte("m"), []byte("watermark")); err != nil {
			b.Fatal(err)
		}
		if err := txn.CommitAt(bareConstant, nil); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
