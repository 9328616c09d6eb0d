package store_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// TestModel applies random streams in random batches and compares, after every
// commit, everything that the index says with an independent model: every
// combination of filters in pages of several sizes, details, tests of scores,
// counts, entities, guards and quarantine; now, and at the sequences before, down
// to the floor. Now and then the stream loses its end and gets another one.
func TestModel(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 1))
		gen := modeltest.NewGenerator(seed)
		r := &modelRun{
			T: t, rng: rng, x: openIndex(t, t.TempDir()), v: &verifier{rng, gen}, stream: makeStream(gen, rng, 400),
			model: modeltest.New(), then: []*modeltest.Model{modeltest.New()}, gen: gen,
		}
		for r.next < len(r.stream) {
			r.batch()
		}
		r.commit()
		r.advanceFloor(true)
	})
}

type modelRun struct {
	*testing.T
	rng    *rand.Rand
	x      *index
	v      *verifier
	stream []message
	next   int                // place of the next message in stream
	model  *modeltest.Model   // after the last message that was folded
	then   []*modeltest.Model // by sequence

	sealed *store.Batch // folded, but not committed
	mark   store.Watermark

	gen     *modeltest.Generator
	rewinds int
}

// batch folds some messages, while the batch before is being committed, and
// then commits them or leaves that to the next call.
func (r *modelRun) batch() {
	batch, committed := r.x.NewBatch(r.sealed), make(chan error, 1)
	go func(b *store.Batch, w store.Watermark) {
		if b != nil {
			committed <- b.Commit(w)
			return
		}
		committed <- nil
	}(r.sealed, r.mark)
	for size := 1 + r.rng.IntN([]int{1, 30, 90}[r.rng.IntN(3)]); size > 0 && r.next < len(r.stream) && !batch.Full(); size-- {
		m := r.stream[r.next]
		want, got := r.model.Apply(m.at, m.Message), apply(r.T, batch, m)
		if got != want {
			r.Fatalf("sequence %d: %s, want %s\n%s %v %s", m.at.Seq, got, want, m.Subject, m.Header, m.Data)
		}
		r.then = append(r.then, r.model.Clone())
		r.next++
	}
	if err := <-committed; err != nil {
		r.Fatal(err)
	}
	if r.sealed != nil {
		r.verify()
	}
	r.sealed, r.mark = batch, watermark(r.stream[r.next-1])
	if batch.Full() || r.rng.IntN(2) == 0 {
		r.commit()
		if r.rng.IntN(4) == 0 {
			r.advanceFloor(r.rng.IntN(2) == 0)
		}
		if r.rewinds < 3 && r.rng.IntN(8) == 0 {
			r.rewind()
		}
	}
}

// rewind undoes the index to a rung, from where on the stream has other messages.
func (r *modelRun) rewind() {
	r.Helper()
	floor, applied := r.x.Floor(), r.x.Applied()
	to := store.Watermark{}
	if target := r.between(max(floor, applied.Seq-min(applied.Seq, 40)), applied.Seq); target > 0 {
		rung, ok, err := r.x.RungAt(target)
		if err != nil {
			r.Fatal(err)
		}
		if !ok || rung.Seq < floor {
			return
		}
		to = watermark(r.stream[rung.Seq-1])
		to.Peak = rung.Peak
	}
	r.rewinds++
	to.Stream.Incarnation = fmt.Sprint("parted ", r.rewinds)
	if r.rng.IntN(3) == 0 {
		r.x.settleAndReopen()
	}
	old, err := r.x.View(applied.Seq)
	if err != nil {
		r.Fatal(err)
	}
	if err := r.x.UndoTo(to); err != nil {
		r.Fatal(err)
	}
	if err := old.Check(); !errors.Is(err, store.ErrReplaced) {
		r.Errorf("a view of before: %v", err)
	}
	old.Close()
	if got := r.x.Applied(); got.Seq != to.Seq || got.Stream != to.Stream {
		r.Fatalf("the watermark is %+v, want %+v", got, to)
	}
	r.next = int(to.Seq)
	other := makeStream(r.gen, r.rng, len(r.stream)-r.next)
	for i := range other {
		other[i].at.Seq += to.Seq
		other[i].at.Nano += int64(r.rewinds) // no message of the other end has this time
	}
	r.stream = append(r.stream[:r.next:r.next], other...)
	r.then = r.then[: r.next+1 : r.next+1]
	r.model = r.then[r.next].Clone()
	if r.rng.IntN(3) == 0 {
		r.x.reopen()
	}
	r.verify()
	if last, ok, err := r.x.RungAt(math.MaxUint64); err != nil || (ok && last.Seq > to.Seq) {
		r.Errorf("after an undo to %d the timeline ends at %d, %v", to.Seq, last.Seq, err)
	}
}

func (r *modelRun) commit() {
	if r.sealed == nil {
		return
	}
	if err := r.sealed.Commit(r.mark); err != nil {
		r.Fatal(err)
	}
	r.sealed = nil
	r.verify()
}

// verify checks the last applied sequence and one before it.
func (r *modelRun) verify() {
	r.Helper()
	if err := r.x.CheckCounters(); err != nil {
		r.Fatalf("at %d: %v", r.x.Applied().Seq, err)
	}
	r.at(r.x.Applied().Seq, 1, 2, 3, 7, 100)
	r.v.counters(r.T, r.x.Store, r.then[r.x.Applied().Seq])
	r.at(r.between(r.x.Floor(), r.x.Applied().Seq), 1+r.rng.IntN(5))
	r.v.changes(r.T, r.x.Store, r.then)
}

func (r *modelRun) between(low, high uint64) uint64 { return low + r.rng.Uint64N(high-low+1) }

func (r *modelRun) at(seq uint64, pageSizes ...int) {
	r.Helper()
	view, err := r.x.View(seq)
	if err != nil {
		r.Fatal(err)
	}
	defer view.Close()
	r.v.all(r.T, view, r.then[seq], pageSizes...)
	r.v.details(r.T, view, r.then, r.x.Applied().Seq)
	r.v.scores(r.T, view, r.then[seq])
}

// advanceFloor gives up some history and lets Badger drop it. Nothing at or above
// the floor may be lost, and what is below must be refused.
func (r *modelRun) advanceFloor(compact bool) {
	r.Helper()
	compact = compact && r.sealed == nil
	if compact { // what is written from now on lies above what is settled
		if r.rng.IntN(2) == 0 {
			r.x.settleAndReopen()
		} else {
			r.x.reopen()
		}
	}
	was, applied := r.x.Floor(), r.x.Applied().Seq
	old, err := r.x.View(was)
	if err != nil {
		r.Fatal(err)
	}
	defer func() { old.Close() }()
	floor := r.between(was, applied)
	if err := r.x.AdvanceFloor(floor); err != nil {
		r.Fatal(err)
	}
	if r.rng.IntN(2) == 0 {
		if _, err := r.x.PruneChanges(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	if floor > was {
		if err := old.Check(); !errors.Is(err, store.ErrPruned) {
			r.Fatalf("a view at %d after the floor became %d: %v", was, floor, err)
		}
		if _, err := r.x.View(floor - 1); !errors.Is(err, store.ErrPruned) {
			r.Fatalf("a view just below the floor %d: %v", floor, err)
		}
	}
	if compact {
		old.Close()
		if r.rng.IntN(2) == 0 {
			r.x.reopen()
		}
		if err := r.x.Badger().Flatten(1); err != nil {
			r.Fatal(err)
		}
	}
	if got := r.x.Floor(); got != floor {
		r.Fatalf("the floor is %d, want %d", got, floor)
	}
	r.at(floor, 3)
	r.at(r.between(floor, applied), 2)
	r.at(applied, 4)
}
