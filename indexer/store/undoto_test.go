package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/keys"
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
func eachFault(t *testing.T, visit func(t *testing.T, at store.Point, done bool)) {
	for _, point := range store.Points {
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
	eachFault(t, func(t *testing.T, at store.Point, done bool) {
		x := applied(t, openIndex(t, t.TempDir()), p.first)
		before := digest(t, x)
		x.close()
		hit := 0
		fault := func(point store.Point, wasDone bool) error {
			if point == at && wasDone == done {
				hit++
				return errFault
			}
			return nil
		}
		var err error
		if x.Store, err = store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop(), Fault: fault}); err != nil {
			t.Fatal(err)
		}
		if err := x.UndoTo(p.to()); !errors.Is(err, errFault) || hit != 1 {
			t.Fatalf("the point was hit %d times: %v", hit, err)
		}
		x.close()
		// Completing it may fail as well.
		if st, err := store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop(), Fault: fault}); err == nil {
			x.Store = st
			x.close()
		} else if !errors.Is(err, errFault) {
			t.Fatal(err)
		}
		x.start()
		if at != store.PointUndoBegin || done {
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

// childUndo says that this process is the child of TestUndoToKilled: at which point
// it is killed.
const childUndo = "ASSIGNDEX_TEST_CHILD_UNDO"

// TestChildUndo is the other process of TestUndoToKilled. It opens a directory, and
// undoes the index unless opening has done so; at its point it stops, and is killed.
func TestChildUndo(t *testing.T) {
	at, dir := os.Getenv(childUndo), os.Getenv(childDir)
	if at == "" {
		return // it is no test of its own
	}
	stop, anywhere := strings.CutSuffix(at, " and on")
	fault := func(point store.Point, done bool) error {
		if fmt.Sprint(point, done) == stop {
			fmt.Println("here")
			if !anywhere {
				_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
			}
		}
		return nil
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	if p := newPartedStream(4); st.Applied().Seq == uint64(len(p.first)) {
		if err := st.UndoTo(p.to()); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("over")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
}

// killAt runs the child until it says that it is at its point, or that the undo is
// over, and kills it.
func killAt(t *testing.T, dir, at string) (said string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChildUndo$")
	child.Env = append(os.Environ(), childDir+"="+dir, childUndo+"="+at)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("the child said %q, %v", said, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child was not killed but ended: %v", err)
	}
	return strings.TrimSpace(said)
}

// TestUndoToKilled kills the undo with SIGKILL at every point, and its completion by
// the next open at every point again.
func TestUndoToKilled(t *testing.T) {
	p := newPartedStream(4)
	want := p.want(t)
	template := applied(t, openIndex(t, t.TempDir()), p.first)
	before := digest(t, template)
	template.close()
	hits := 0
	run := func(t *testing.T, at string, notBegun bool, again ...string) {
		t.Helper()
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(template.dir)); err != nil {
			t.Fatal(err)
		}
		if said := killAt(t, dir, at); said != "here" {
			t.Fatalf("the child said %q", said)
		}
		for _, at := range again {
			if killAt(t, dir, at) == "here" {
				hits++
			}
		}
		x := openIndex(t, dir)
		if notBegun {
			p.check(t, x, want, before)
			return
		}
		p.check(t, x, want, "")
	}
	eachFault(t, func(t *testing.T, at store.Point, done bool) {
		run(t, fmt.Sprint(at, done), at == store.PointUndoBegin && !done)
		run(t, fmt.Sprint(at, done), false, fmt.Sprint(at, done), fmt.Sprint(store.PointUndoVersions, true), fmt.Sprint(store.PointUndoCount, false))
	})
	if hits == 0 {
		t.Error("no completion of an undo was killed")
	}
	// Somewhere in the writes, wherever the machine is just then.
	for range 6 {
		run(t, fmt.Sprint(store.PointUndoBegin, true, " and on"), false)
	}
}

// TestReadersDuringAnUndo reads from other goroutines while the index is undone and
// goes on with other events: what Check confirms is of one event, and of the life
// that the sequence belonged to.
func TestReadersDuringAnUndo(t *testing.T) {
	x := openIndex(t, t.TempDir())
	const width, low, high, lives = 200, 3, 12, 12
	write := func(life int, from uint64) {
		t.Helper()
		for seq := from; seq <= high; seq++ {
			b := x.NewBatch(nil)
			b.At(seq)
			for i := range width {
				if err := b.Put(fmt.Appendf(nil, "x%03d", i), fmt.Appendf(nil, "%d/%d", life, seq)); err != nil {
					t.Fatal(err)
				}
			}
			w := at(seq)
			w.Stream.Partings = uint64(life)
			if err := b.Commit(w); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, 1)
	var readers sync.WaitGroup
	var confirmed, refused atomic.Int64
	over := make(chan struct{})
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				now := x.Applied()
				view, err := x.View(now.Seq)
				if errors.Is(err, store.ErrAhead) {
					continue // undone in between
				}
				if err != nil {
					t.Error(err)
					return
				}
				values := map[string]int{}
				err = view.Range([]byte{byte(keys.AttributeTag)}, nil, func(_, value []byte) bool {
					values[string(value)]++
					return true
				})
				checked := view.Check()
				view.Close()
				switch {
				case err != nil:
					t.Error(err)
					return
				case errors.Is(checked, store.ErrReplaced):
					refused.Add(1)
				case checked != nil:
					t.Error(checked)
					return
				case len(values) != 1:
					t.Errorf("a reader at %d of life %d saw a mix: %v", now.Seq, now.Stream.Partings, values)
					return
				default:
					confirmed.Add(1)
				}
			}
		})
	}
	for life := 1; life <= lives && !t.Failed(); life++ {
		to := at(low)
		to.Stream.Partings = uint64(life)
		if err := x.UndoTo(to); err != nil {
			t.Error(err)
			break
		}
		write(life, low+1)
	}
	close(over)
	readers.Wait()
	if confirmed.Load() == 0 {
		t.Error("nothing was read meanwhile")
	}
	t.Logf("%d reads were confirmed, %d refused", confirmed.Load(), refused.Load())
}
