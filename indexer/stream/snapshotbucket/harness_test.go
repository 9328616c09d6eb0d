package snapshotbucket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is when the stream of these tests was created, and began when they take place.
var (
	made  = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	began = time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
)

// small chunks make many of little.
var small = Options{ChunkBytes: 100}

func bucketOn(tb testing.TB, s *embedded.Server, o Options, options ...nats.Option) *Bucket {
	tb.Helper()
	js, err := jetstream.New(streamtest.Connect(tb, s, options...))
	if err != nil {
		tb.Fatal(err)
	}
	return New(js, "ASSIGNMENTS", o)
}

// metaAt describes a snapshot at a sequence that was taken so long after began.
func metaAt(seq uint64, after time.Duration) Meta {
	return Meta{
		At: position.Position{
			Seq: seq, Fingerprint: []byte{1, 2, byte(seq)},
			Stream: position.Identity{Name: "ASSIGNMENTS", Created: made, Incarnation: "one", Partings: 2},
		},
		Floor: seq / 2, Taken: began.Add(after), Format: 2, Fold: 2,
	}
}

func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(b)
	return b
}

// put stores a snapshot of some bytes that are those of content.
func put(tb testing.TB, b *Bucket, m Meta, n int) Stored {
	tb.Helper()
	stored, err := b.Put(tb.Context(), writer(m, content(m.At.Seq, n)))
	if err != nil {
		tb.Fatal(err)
	}
	return stored
}

// writer writes bytes in pieces of odd sizes.
func writer(m Meta, data []byte) func(io.Writer) (Meta, error) {
	return func(w io.Writer) (Meta, error) {
		for len(data) > 0 {
			n := min(len(data), 1+rand.IntN(333))
			if _, err := w.Write(data[:n]); err != nil {
				return m, err
			}
			data = data[n:]
		}
		return m, nil
	}
}

func names(tb testing.TB, b *Bucket) []string {
	tb.Helper()
	list, err := b.List(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var all []string
	for _, one := range list {
		all = append(all, one.Name)
	}
	return all
}

func seqs(tb testing.TB, b *Bucket) []uint64 {
	tb.Helper()
	list, err := b.List(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	all := []uint64{}
	for _, one := range list {
		all = append(all, one.At.Seq)
	}
	return all
}

func wantSeqs(tb testing.TB, b *Bucket, want ...uint64) {
	tb.Helper()
	if got := seqs(tb, b); !slices.Equal(got, want) {
		tb.Errorf("there are snapshots at %d, want %d", got, want)
	}
}

func read(tb testing.TB, b *Bucket, name string) ([]byte, error) {
	tb.Helper()
	r, _, err := b.Open(tb.Context(), name)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func wantContent(tb testing.TB, b *Bucket, s Stored, n int) {
	tb.Helper()
	got, err := read(tb, b, s.Name)
	if err != nil || !bytes.Equal(got, content(s.At.Seq, n)) {
		tb.Errorf("%s: %d bytes, %v; want %d", s.Name, len(got), err, n)
	}
}

// underlying gives the bucket's stream.
func underlying(tb testing.TB, b *Bucket) jetstream.Stream {
	tb.Helper()
	s, err := b.open(tb.Context())
	if err != nil || s == nil {
		tb.Fatalf("the bucket's stream: %v, %v", s, err)
	}
	return s
}

// messages counts what is stored in the bucket.
func messages(tb testing.TB, b *Bucket) uint64 {
	tb.Helper()
	info, err := underlying(tb, b).Info(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return info.State.Msgs
}

// abandon leaves what a process leaves that is killed during an upload.
func abandon(tb testing.TB, b *Bucket, chunks int) {
	tb.Helper()
	for i := range chunks {
		if _, err := b.js.Publish(tb.Context(), b.chunksOf("killed"), fmt.Appendf(nil, "chunk %d", i)); err != nil {
			tb.Fatal(err)
		}
	}
}

// index is a source that a test moves.
type index struct {
	meta  Meta
	bytes int
	fail  error
	began chan struct{} // unless nil, gets a value when writing begins
	goOn  chan struct{} // and then it waits for one here
}

func (x *index) Applied() position.Position { return x.meta.At }

func (x *index) Snapshot(ctx context.Context, w io.Writer) (Meta, error) {
	if x.began != nil {
		x.began <- struct{}{}
		<-x.goOn
	}
	if x.fail != nil {
		_, err := w.Write(content(1, 1000))
		if err == nil {
			err = x.fail
		}
		return Meta{}, err
	}
	if err := ctx.Err(); err != nil {
		return Meta{}, err
	}
	return writer(x.meta, content(x.meta.At.Seq, x.bytes))(w)
}
