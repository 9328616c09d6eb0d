package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/store"
)

const second = int64(time.Second)

// Rungs are looked up by peaks and by sequences, from the one that covers the
// floor on.
func TestRungs(t *testing.T) {
	x := openIndex(t, t.TempDir())
	if _, ok, err := x.RungBefore(1 << 62); ok || err != nil {
		t.Errorf("a new index has a rung, %v", err)
	}
	commit := func(seq uint64, nano int64) {
		t.Helper()
		put(t, x.Store, store.Watermark{Seq: seq, Nano: nano, Fingerprint: []byte{byte(seq)}}, "ak", fmt.Sprint(seq))
	}
	commit(10, 5*second)
	commit(11, 4*second) // the stream's clock went back
	commit(12, 6*second)
	commit(300, 9*second)
	same := func(what string, r store.Rung, ok bool, err error, want uint64) {
		t.Helper()
		if err != nil || ok != (want > 0) || r.Seq != want {
			t.Fatalf("the rung %s is %+v, %v, %v; want %d", what, r, ok, err, want)
		}
		if ok && (len(r.Fingerprint) != 1 || r.Fingerprint[0] != byte(want)) {
			t.Fatalf("the rung %s is %+v", what, r)
		}
	}
	before := func(nano int64, want uint64) {
		t.Helper()
		r, ok, err := x.RungBefore(nano)
		same(fmt.Sprint("before ", nano), r, ok, err, want)
	}
	below := func(seq, want uint64) {
		t.Helper()
		r, ok, err := x.RungAt(seq)
		same(fmt.Sprint("at ", seq), r, ok, err, want)
	}
	all := func() {
		t.Helper()
		before(5*second-1, 0)
		before(5*second, 11)
		before(6*second-1, 11)
		before(6*second, 12)
		before(9*second-1, 12)
		before(9*second, 300)
		before(1<<62, 300)
		below(9, 0)
		below(10, 10)
		below(11, 11)
		below(299, 12)
		below(1<<63, 300)
	}
	all()
	x.reopen()
	all()
	if err := x.AdvanceFloor(200); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		before(6*second-1, 0) // below the floor there is nothing to undo to
		before(6*second, 12)
		below(11, 0)
		below(200, 12)
		before(1<<62, 300)
		x.reopen()
	}
}

// A rung stays small: of a full batch of messages that came in close succession it
// takes a few bytes a message.
func TestRungSize(t *testing.T) {
	x := openIndex(t, t.TempDir())
	w := store.Watermark{Nano: 1_800_000_000 * second, Fingerprint: make([]byte, 16)}
	b := x.NewBatch(nil)
	for range 1000 {
		w.Seq, w.Nano = w.Seq+1, w.Nano+20_000 // 50,000 messages a second
		b.At(w.Seq)
		b.Saw(w.Nano)
	}
	if err := b.Commit(w); err != nil {
		t.Fatal(err)
	}
	txn := x.Badger().NewTransactionAt(1, false)
	defer txn.Discard()
	item, err := txn.Get(append(keys.Meta("timeline/"), 0, 0, 0, 0, 0, 0, 0x03, 0xe8))
	if err != nil {
		t.Fatal(err)
	}
	if size := item.ValueSize(); size > 5_000 {
		t.Errorf("the rung of 1,000 messages has %d bytes", size)
	}
}

// More rungs than one call deletes are deleted by the calls after it, and what they
// leave never answers for what lies below the floor.
func TestManyRungs(t *testing.T) {
	x := openIndex(t, t.TempDir())
	restore := store.LowerMaxRungsDeleted(7)
	defer restore()
	const last = 60
	for seq := uint64(1); seq <= last; seq++ {
		put(t, x.Store, store.Watermark{Seq: seq, Nano: int64(seq) * second}, "ak", "v")
	}
	lowest := func() (seq uint64) {
		t.Helper()
		for seq = 1; ; seq++ {
			if r, ok, err := x.RungAt(seq); err != nil {
				t.Fatal(err)
			} else if ok {
				return r.Seq
			}
		}
	}
	for i, want := range []uint64{8, 15, 22, 29, 36, 43, 50, 50 + 6, 50 + 7} {
		floor := uint64(50 + i - 1)
		if err := x.AdvanceFloor(floor); err != nil {
			t.Fatal(err)
		}
		if got := lowest(); got != want {
			t.Fatalf("with the floor at %d the lowest rung is %d, want %d", floor, got, want)
		}
		for seq := range uint64(last) {
			got, _, err := x.SequenceAt(int64(seq) * second)
			if seq < floor && !errors.Is(err, store.ErrPruned) || seq >= floor && (got != seq || err != nil) {
				t.Fatalf("with the floor at %d: %d, %v; want %d", floor, got, err, seq)
			}
		}
		if i == 3 {
			x.reopen()
		}
	}
}

// TestTimeline compares what instants come to with a plain list of the messages'
// times: through batches of any size, one of them ahead of the durable ones, with
// clocks that go back, erased runs, restarts, crashes and a floor that moves.
func TestTimeline(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		r := &timelineRun{T: t, rng: rand.New(rand.NewPCG(seed, 5)), x: openIndex(t, t.TempDir()), clock: 1_800_000_000 * second}
		if r.rng.IntN(3) == 0 { // a stream that lost its first messages
			r.mark.Seq = 1 + r.rng.Uint64N(1000)
			if err := r.x.Bind(r.mark); err != nil {
				t.Fatal(err)
			}
		}
		r.times = make([]int64, r.mark.Seq+1)
		r.check()
		for range 40 {
			r.batch()
		}
		r.commit()
	})
}

type timelineRun struct {
	*testing.T
	rng   *rand.Rand
	x     *index
	clock int64
	times []int64 // by sequence; 0: erased, or none

	sealed *store.Batch // filled, but not committed
	mark   store.Watermark
}

func (r *timelineRun) batch() {
	b, mark := r.x.NewBatch(r.sealed), r.mark
	times := r.times
	for size := []int{1, 3, 40}[r.rng.IntN(3)]; size > 0; size-- {
		if r.rng.IntN(10) == 0 {
			for range 1 + r.rng.IntN(5) {
				times = append(times, 0)
			}
			mark.Seq, mark.Fingerprint = uint64(len(times)-1), nil
			b.At(mark.Seq)
			continue
		}
		switch r.rng.IntN(12) {
		case 0:
			r.clock -= r.rng.Int64N(20) // back, by up to some messages
		case 1: // at the same instant
		case 2:
			r.clock += r.rng.Int64N(1 << 40)
		default:
			r.clock += r.rng.Int64N(5)
		}
		times = append(times, r.clock)
		mark.Seq, mark.Nano, mark.Fingerprint = uint64(len(times)-1), r.clock, []byte("fingerprint")
		b.At(mark.Seq)
		b.Saw(r.clock)
	}
	r.commit() // what was filled before
	if r.rng.IntN(12) == 0 {
		b.Cancel()
		r.x.reopen() // a crash
		return
	}
	r.sealed, r.mark, r.times = b, mark, times
	if r.rng.IntN(2) == 0 {
		r.commit()
		switch r.rng.IntN(5) {
		case 0:
			r.x.reopen()
		case 1, 2:
			floor := r.x.Floor()
			if err := r.x.AdvanceFloor(floor + r.rng.Uint64N(min(200, r.x.Applied().Seq-floor)+1)); err != nil {
				r.Fatal(err)
			}
		}
		r.check()
	}
}

func (r *timelineRun) commit() {
	r.Helper()
	if r.sealed == nil {
		return
	}
	if err := r.sealed.Commit(r.mark); err != nil {
		r.Fatal(err)
	}
	r.sealed = nil
	r.check()
}

// want is the sequence of an instant, one message after the other.
func (r *timelineRun) want(nano int64) (seq uint64, latest bool) {
	applied := r.x.Applied().Seq
	for seq := range applied {
		if t := r.times[seq+1]; t != 0 && t > nano {
			return seq, false
		}
	}
	return applied, true
}

func (r *timelineRun) check() {
	r.Helper()
	applied, floor := r.x.Applied(), r.x.Floor()
	peak := slices.Max(r.times[:applied.Seq+1])
	if applied.Peak != peak {
		r.Fatalf("the peak at %d is %d, want %d", applied.Seq, applied.Peak, peak)
	}
	instants := []int64{-1 << 63, -1, 0, 1, peak - 1, peak, peak + 1, 1<<63 - 1}
	near := func(seq uint64) {
		if seq <= applied.Seq {
			instants = append(instants, r.times[seq]-1, r.times[seq], r.times[seq]+1)
		}
	}
	for range 20 {
		near(r.rng.Uint64N(applied.Seq + 1))
		near(floor + r.rng.Uint64N(applied.Seq-floor+1))
	}
	for d := range uint64(8) {
		near(floor + d)
		near(floor - min(d, floor))
	}
	for _, nano := range instants {
		seq, latest, err := r.x.SequenceAt(nano)
		want, wantLatest := r.want(nano)
		switch {
		case want < floor:
			if !errors.Is(err, store.ErrPruned) {
				r.Fatalf("%d is at %d, %v; want below the floor %d", nano, seq, err, floor)
			}
		case err != nil || seq != want || latest != wantLatest:
			r.Fatalf("%d is at %d, latest %v, %v; want %d, %v (floor %d, applied %d)", nano, seq, latest, err, want, wantLatest, floor, applied.Seq)
		}
	}
}
