package store_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// life is how an index came to apply a stream. Whatever it is, the index must
// say the same in the end, and at every sequence before.
type life struct {
	name     string
	batch    int  // the most messages in a batch
	pipeline bool // fold a batch before the one before is durable
	reopen   int  // percent of commits after which the store is closed and opened
	crash    int  // percent of commits after which a batch is lost on its way

	holes bool // of what a crash loses only some writes had become durable
	other bool // the lost batch was of other messages: the stream lost its end, too
}

var lives = []life{
	{name: "one batch", batch: 1 << 30},
	{name: "one message a batch", batch: 1},
	{name: "random batches", batch: 30, reopen: 10},
	{name: "pipelined batches", batch: 20, pipeline: true, reopen: 10},
	{name: "crashes", batch: 20, crash: 40},
	{name: "crashes with holes", batch: 20, crash: 40, holes: true},
	{name: "crashes that lose messages", batch: 10, crash: 40, holes: true, other: true},
	{name: "everything", batch: 20, pipeline: true, reopen: 10, crash: 30, holes: true, other: true},
}

// TestMetamorphic applies the same messages in other batches, with restarts,
// with redelivery after crashes, and after crashes that had made other messages
// durable at the same sequences.
func TestMetamorphic(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		gen := modeltest.NewGenerator(seed)
		stream := makeStream(gen, rng, 100)
		lost := makeStream(gen, rng, 120) // what is never in the stream
		model := modeltest.New()
		for _, m := range stream {
			model.Apply(m.at, m.Message)
		}
		var want []string
		for _, l := range lives {
			r := &lifeRun{T: t, life: l, rng: rng, x: openIndex(t, t.TempDir()), stream: stream, lost: lost}
			r.live()
			got := r.tell()
			if want == nil {
				want = got
			}
			for seq := range want {
				if got[seq] != want[seq] {
					t.Fatalf("after a life of %s the index at %d says something else", l.name, seq)
				}
			}
			if err := r.x.CheckCounters(); err != nil {
				t.Fatalf("after a life of %s: %v", l.name, err)
			}
			view, err := r.x.View(r.x.Applied().Seq)
			if err != nil {
				t.Fatal(err)
			}
			v := &verifier{rng, gen}
			v.all(t, view, model, 3)
			v.counters(t, r.x.Store, model)
			view.Close()
			r.x.close()
		}
	})
}

type lifeRun struct {
	*testing.T
	life
	rng          *rand.Rand
	x            *index
	stream, lost []message
	next         int

	deaths, reopens int
}

func (r *lifeRun) chance(percent int) bool { return r.rng.IntN(100) < percent }

func (r *lifeRun) live() {
	var before *store.Batch
	var mark store.Watermark
	for r.next < len(r.stream) {
		batch := r.x.NewBatch(before)
		r.fold(batch, batch, r.stream[r.next:])
		if before != nil {
			r.commit(before, mark)
		}
		before, mark = batch, watermark(r.stream[r.next-1])
		if r.pipeline && !batch.Full() && r.chance(70) {
			continue
		}
		r.commit(before, mark)
		before = nil
		switch { // each costs some fsyncs, so there are only a few
		case r.deaths < 3 && r.chance(r.crash):
			r.deaths++
			r.die()
		case r.reopens < 2 && r.chance(r.reopen):
			r.reopens++
			r.x.reopen()
		}
	}
	if before != nil {
		r.commit(before, mark)
	}
}

func (r *lifeRun) fold(batch *store.Batch, into sink, from []message) {
	size := 1 + r.rng.IntN(min(r.batch, len(from)))
	if r.batch > len(from) {
		size = len(from)
	}
	for _, m := range from[:size] {
		apply(r.T, into, m)
		if into == sink(batch) {
			r.next++
		}
		if batch.Full() {
			return
		}
	}
}

func (r *lifeRun) commit(b *store.Batch, w store.Watermark) {
	r.Helper()
	if err := b.Commit(w); err != nil {
		r.Fatal(err)
	}
}

// die loses a batch between its writes and the watermark.
func (r *lifeRun) die() {
	r.Helper()
	applied := r.x.Applied()
	coming := r.stream
	if r.other {
		coming = r.lost
	}
	if int(applied.Seq) == len(coming) {
		return
	}
	batch := r.x.NewBatch(nil)
	rec := &scribe{Batch: batch}
	r.fold(batch, rec, coming[applied.Seq:])
	batch.Cancel()
	durable := r.x.NewBatch(nil)
	for _, w := range rec.writes {
		if r.holes && r.rng.IntN(3) == 0 {
			continue
		}
		durable.At(w.seq)
		var err error
		if w.deleted {
			err = durable.Delete(w.key)
		} else {
			err = durable.Put(w.key, w.value)
		}
		if err != nil {
			r.Fatal(err)
		}
	}
	if err := durable.Spill(); err != nil {
		r.Fatal(err)
	}
	for range 1 + r.rng.IntN(4)/3 { // a start that comes to nothing does no harm
		r.x.reopen()
	}
	if got := r.x.Applied(); got.Seq != applied.Seq || got.Stream.Incarnation != applied.Stream.Incarnation {
		r.Fatalf("after a crash the watermark is %+v, it was %+v", got, applied)
	}
}

// scribe remembers what is written to a batch.
type scribe struct {
	*store.Batch
	seq    uint64
	writes []write
}

type write struct {
	seq        uint64
	key, value []byte
	deleted    bool
}

func (r *scribe) At(seq uint64) { r.seq = seq; r.Batch.At(seq) }

func (r *scribe) Put(key, value []byte) error {
	r.writes = append(r.writes, write{r.seq, slices.Clone(key), slices.Clone(value), false})
	return r.Batch.Put(key, value)
}

func (r *scribe) Delete(key []byte) error {
	r.writes = append(r.writes, write{r.seq, slices.Clone(key), nil, true})
	return r.Batch.Delete(key)
}

// tell gives what the index says at every sequence.
func (r *lifeRun) tell() []string {
	r.Helper()
	var told []string
	for seq := range r.x.Applied().Seq + 1 {
		view, err := r.x.View(seq)
		if err != nil {
			r.Fatal(err)
		}
		digest, _, err := audit.Digest(view)
		if err != nil {
			r.Fatal(err)
		}
		told = append(told, digest+contents(r.T, view))
		view.Close()
	}
	return told
}

// contents is a hash of every row of every family, those outside of the digest
// included.
func contents(t *testing.T, view *store.View) string {
	t.Helper()
	h := sha256.New()
	for _, family := range slices.Concat(keys.RowFamilies, []keys.Tag{keys.EntityTag, keys.GuardTag, keys.QuarantineTag}) {
		each(t, view, family, func(key, value []byte) {
			var frame [16]byte
			binary.BigEndian.PutUint64(frame[:], uint64(len(key)))
			binary.BigEndian.PutUint64(frame[8:], uint64(len(value)))
			h.Write(frame[:])
			h.Write(key)
			h.Write(value)
		})
	}
	return string(h.Sum(nil))
}
