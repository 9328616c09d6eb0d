package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/store"
)

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
	hook := func(point fault.Point, done bool) error {
		if fmt.Sprint(point, done) == stop {
			fmt.Println("here")
			if !anywhere {
				_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
			}
		}
		return nil
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Fault: hook})
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
	eachFault(t, func(t *testing.T, at fault.Point, done bool) {
		run(t, fmt.Sprint(at, done), at == fault.UndoBegin && !done)
		run(t, fmt.Sprint(at, done), false, fmt.Sprint(at, done), fmt.Sprint(fault.UndoVersions, true), fmt.Sprint(fault.UndoCount, false))
	})
	if hits == 0 {
		t.Error("no completion of an undo was killed")
	}
	// Somewhere in the writes, wherever the machine is just then.
	for range 6 {
		run(t, fmt.Sprint(fault.UndoBegin, true, " and on"), false)
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
