package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
)

// partedStream is two streams that part after a sequence.
type partedStream struct {
	first, other []message
	parting      uint64
}

const partedBatch = 10

// applied gives the index of a stream from the message after its watermark on.
func applied(t *testing.T, x *index, stream []message) *index {
	t.Helper()
	for next := int(x.Applied().Seq); next < len(stream); {
		batch := x.NewBatch(nil)
		for range partedBatch {
			if next == len(stream) || batch.Full() {
				break
			}
			batch.Saw(stream[next].at.Nano)
			apply(t, batch, stream[next])
			next++
		}
		if err := batch.Commit(watermark(stream[next-1])); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func newPartedStream(seed uint64) partedStream {
	rng := rand.New(rand.NewPCG(seed, 5))
	gen := modeltest.NewGenerator(seed)
	p := partedStream{first: makeStream(gen, rng, 90), parting: 40}
	p.other = append(p.first[:p.parting:p.parting], makeStream(gen, rng, 60)...)
	for i := range p.other {
		p.other[i].at.Seq = uint64(i + 1)
	}
	return p
}

// to is the watermark of the parting.
func (p partedStream) to() store.Watermark {
	w := watermark(p.first[p.parting-1])
	w.Stream.Incarnation, w.Stream.Partings = "j", 1
	return w
}

// end is what is seen of an index after an undo, and after it has gone on with the
// other stream.
type end struct{ undone, gone string }

func (p partedStream) want(t *testing.T) (w end) {
	t.Helper()
	fresh := openIndex(t, t.TempDir())
	w.undone = digest(t, applied(t, fresh, p.other[:p.parting]))
	w.gone = digest(t, applied(t, fresh, p.other))
	return w
}

// check holds the index that was opened after an undo was cut short to being what it
// was before, when that is allowed, or at the parting; and then to going on.
func (p partedStream) check(t *testing.T, x *index, want end, before string) {
	t.Helper()
	if at := x.Applied(); at.Seq == uint64(len(p.first)) && at.Stream.Incarnation == "i" && before != "" {
		if digest(t, x) != before {
			t.Error("an undo that was not begun changed the index")
		}
		if err := x.UndoTo(p.to()); err != nil {
			t.Fatal(err)
		}
	}
	to := p.to()
	if at := x.Applied(); at.Seq != to.Seq || at.Stream != to.Stream || string(at.Fingerprint) != string(to.Fingerprint) {
		t.Fatalf("the watermark is %+v, want %+v", at, to)
	}
	if digest(t, x) != want.undone {
		t.Error("the index is not what it was at the parting")
	}
	if _, above := x.logged(p.parting); above != 0 {
		t.Errorf("%d changes are in the log above", above)
	}
	if rung, _, err := x.RungAt(1 << 62); err != nil || rung.Seq != p.parting {
		t.Errorf("the timeline ends at %d, %v", rung.Seq, err)
	}
	if _, err := x.View(p.parting + 1); !errors.Is(err, store.ErrAhead) {
		t.Errorf("a view above: %v", err)
	}
	if digest(t, applied(t, x, p.other)) != want.gone {
		t.Error("having gone on, the index is not the one that is built afresh")
	}
	x.reopen()
	if digest(t, x) != want.gone {
		t.Error("the index changed with a restart")
	}
}

// eachFault visits every point, before and after its step.
func eachFault(t *testing.T, visit func(t *testing.T, at fault.Point, done bool)) {
	for _, point := range fault.Undo {
		for _, done := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%s", point, map[bool]string{false: "not done", true: "done"}[done]), func(t *testing.T) {
				visit(t, point, done)
			})
		}
	}
}

var errFault = errors.New("a fault of the test")

// An undo that fails at any point is either not begun, or completed by the next open.
func TestUndoToFails(t *testing.T) {
	p := newPartedStream(1)
	want := p.want(t)
	eachFault(t, func(t *testing.T, at fault.Point, done bool) {
		x := applied(t, openIndex(t, t.TempDir()), p.first)
		before := digest(t, x)
		x.close()
		hit := 0
		hook := func(point fault.Point, wasDone bool) error {
			if point == at && wasDone == done {
				hit++
				return errFault
			}
			return nil
		}
		var err error
		if x.Store, err = store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop(), Fault: hook}); err != nil {
			t.Fatal(err)
		}
		if err := x.UndoTo(p.to()); !errors.Is(err, errFault) || hit != 1 {
			t.Fatalf("the point was hit %d times: %v", hit, err)
		}
		x.close()
		// Completing it may fail as well.
		if st, err := store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop(), Fault: hook}); err == nil {
			x.Store = st
			x.close()
		} else if !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		x.start()
		if at != fault.UndoBegin || done {
			before = ""
		}
		p.check(t, x, want, before)
	})
}

func TestUndoToRefusals(t *testing.T) {
	p := newPartedStream(2)
	x := applied(t, openIndex(t, t.TempDir()), p.first)
	if err := x.AdvanceFloor(p.parting + 1); err != nil {
		t.Fatal(err)
	}
	before, at := digest(t, x), x.Applied()
	if err := x.UndoTo(p.to()); !errors.Is(err, store.ErrPruned) {
		t.Errorf("below the floor: %v", err)
	}
	at.Seq++
	if err := x.UndoTo(at); !errors.Is(err, store.ErrAhead) {
		t.Errorf("above the watermark: %v", err)
	}
	if digest(t, x) != before {
		t.Error("a refusal changed the index")
	}
}

// Who waits for a sequence that is undone is told.
func TestWaitEndsWithAnUndo(t *testing.T) {
	p := newPartedStream(3)
	x := applied(t, openIndex(t, t.TempDir()), p.first)
	waited := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { waited <- x.Wait(ctx, 1_000) }()
	for { // the first ones may be over before the wait begins
		if err := x.UndoTo(p.to()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-waited:
			if !errors.Is(err, store.ErrReplaced) {
				t.Errorf("Wait: %v", err)
			}
			return
		default:
		}
	}
}
