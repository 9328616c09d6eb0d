package store_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// filled opens an index with the first n messages of a stream in it, each in a batch
// of its own.
func filled(t *testing.T, seed uint64, n int) *index {
	t.Helper()
	x := openIndex(t, t.TempDir())
	for _, m := range makeStream(modeltest.NewGenerator(seed), rand.New(rand.NewPCG(seed, 1)), n) {
		x.commitOne(m)
	}
	return x
}

func (x *index) commitOne(m message) {
	x.t.Helper()
	batch := x.NewBatch(nil)
	apply(x.t, batch, m)
	if err := batch.Commit(watermark(m)); err != nil {
		x.t.Fatal(err)
	}
}

func TestPinHoldsTheFloor(t *testing.T) {
	x := filled(t, 1, 30)
	mustPin := func(seq uint64) func() {
		t.Helper()
		release, err := x.Pin(seq)
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	advance := func(to, want uint64) {
		t.Helper()
		if err := x.AdvanceFloor(to); err != nil {
			t.Fatal(err)
		}
		if got := x.Floor(); got != want {
			t.Fatalf("the floor is %d, want %d", got, want)
		}
	}
	high, low, again := mustPin(20), mustPin(10), mustPin(10)
	advance(8, 8)
	advance(15, 10)
	low()
	low() // once more does nothing
	advance(30, 10)
	again()
	advance(30, 20)
	if _, err := x.Pin(19); !errors.Is(err, store.ErrPruned) {
		t.Errorf("below the floor: %v", err)
	}
	if _, err := x.Pin(31); !errors.Is(err, store.ErrAhead) {
		t.Errorf("above the watermark: %v", err)
	}
	high()
	mustPin(20) // the floor itself
	advance(25, 20)
}

// What is pinned while the floor is on its way is refused or held: nothing that was
// pinned is ever below the floor.
func TestPinWhileTheFloorMoves(t *testing.T) {
	x := filled(t, 2, 200)
	done := make(chan error, 1)
	go func() {
		for seq := uint64(1); seq <= 200; seq++ {
			if err := x.AdvanceFloor(seq); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	pinned, refused := 0, 0
	for seq := uint64(1); seq <= 200; {
		release, err := x.Pin(seq)
		if errors.Is(err, store.ErrPruned) {
			refused++
			seq = max(seq+1, x.Floor())
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		pinned++
		view, err := x.View(seq)
		if err != nil {
			t.Fatalf("pinned at %d: %v", seq, err)
		}
		if err := view.Check(); err != nil {
			t.Fatalf("pinned at %d: %v", seq, err)
		}
		view.Close()
		release()
		seq++
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("pinned %d, refused %d", pinned, refused)
}
