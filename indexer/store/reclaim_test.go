package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// directorySize gives the bytes of the files of a closed index.
func directorySize(t *testing.T, dir string) (total int64) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return total
}

// openSpace opens an index of made-up rows.
func openSpace(t *testing.T, dir string) (*spaceIndex, *index) {
	t.Helper()
	x := openIndex(t, dir)
	return &spaceIndex{tb: t, Store: x.Store, seq: x.Applied().Seq}, x
}

// digest gives the digest at a sequence, after checking that the families agree.
func (x *spaceIndex) digest(seq uint64) string {
	x.tb.Helper()
	view := x.view(seq)
	defer view.Close()
	if differences, err := audit.Agree(view, 1); err != nil || len(differences) > 0 {
		x.tb.Fatalf("at %d: %v, %v", seq, differences, err)
	}
	digest, _, err := audit.Digest(view)
	if err == nil {
		err = view.Check()
	}
	if err != nil {
		x.tb.Fatal(err)
	}
	return digest
}

// shortPages lists the first rows at a sequence in pages that end after every
// version that gives no row, marks of a reclaim included.
func (x *spaceIndex) shortPages(seq uint64) {
	x.tb.Helper()
	view := x.view(seq)
	defer view.Close()
	sel := listing.Selector{Tenant: "t", Kinds: []events.Kind{events.KindUser}, MaxPassed: 1}
	var after *listing.Position
	for range 100 {
		page, err := listing.List(context.Background(), view, sel, after, 5, func(rows.Face) {})
		if err != nil {
			x.tb.Fatal(err)
		}
		if !page.More {
			return
		}
		after = &page.Last
	}
}

func tenth(i int) bool    { return i%10 == 0 }
func notTenth(i int) bool { return !tenth(i) }

// reclaimRows is how many rows there are before most are revoked, in four families.
func reclaimRows() int {
	if testing.Short() {
		return 10_000
	}
	return 40_000
}

// An index that held ten times as many rows, and whose history window has left
// their revocations behind, takes no more than twice the room of one that never
// held them, once it was reclaimed while others read and wrote. It says the same,
// and what lies in the window is as it was. One case has all in the last level of
// the tree, where nothing was written to since.
func TestReclaim(t *testing.T) {
	for _, settled := range []bool{false, true} {
		t.Run(fmt.Sprintf("settled=%v", settled), func(t *testing.T) {
			n := reclaimRows()
			if settled {
				n /= 2
			}
			slim, slimIndex := openSpace(t, t.TempDir())
			slim.upsert(0, n, tenth)
			want := slim.digest(slim.seq)

			x, whole := openSpace(t, t.TempDir())
			x.upsert(0, n, func(int) bool { return true })
			whole.settleAndReopen()
			x.Store = whole.Store
			x.revoke(0, n, notTenth)
			floor := x.seq
			if settled {
				whole.settleAndReopen()
				x.Store = whole.Store
			}
			if before := x.Space(); before.Dead > before.Tables/20 {
				t.Fatalf("before the floor passes, %+v", before)
			}
			if err := x.AdvanceFloor(floor); err != nil {
				t.Fatal(err)
			}
			before := x.Space()
			if before.Dead < before.Tables/2 {
				t.Fatalf("after the floor passed, %+v", before)
			}
			if !settled { // what the window holds
				x.revoke(0, n/10, tenth)
			}
			window := x.seq

			ctx, done := context.WithCancel(t.Context())
			var users sync.WaitGroup
			users.Go(func() {
				for ctx.Err() == nil {
					if got := x.digest(floor); got != want {
						t.Errorf("during the reclaim the digest at the floor is %s, want %s", got, want)
						return
					}
					x.shortPages(floor)
				}
			})
			last := n
			if !settled {
				users.Go(func() {
					for ; ctx.Err() == nil; last += 100 {
						x.upsert(last, last+100, func(int) bool { return true })
					}
				})
			}
			if err := x.Reclaim(t.Context()); err != nil {
				t.Fatal(err)
			}
			done()
			users.Wait()

			if got := x.digest(floor); got != want {
				t.Errorf("the digest at the floor is %s, want %s", got, want)
			}
			if !settled {
				slim.seq = max(slim.seq, floor)
				slim.revoke(0, n/10, tenth)
				if got, want := x.digest(window), slim.digest(slim.seq); got != want {
					t.Errorf("in the window the digest is %s, want %s", got, want)
				}
				slim.upsert(n, last, func(int) bool { return true })
			}
			if got, want := x.digest(x.seq), slim.digest(slim.seq); got != want {
				t.Errorf("at last the digest is %s, want %s", got, want)
			}
			after := x.Space()
			if after.Dead > after.Tables/20 || after.Worth() {
				t.Errorf("after the reclaim, %+v", after)
			}
			if _, valueLog := x.Sizes(); valueLog > 4<<20 {
				t.Errorf("the value log has %d bytes", valueLog)
			}
			whole.close()
			slimIndex.close()
			if got, want := directorySize(t, whole.dir), directorySize(t, slimIndex.dir); got > 2*want {
				t.Errorf("the directory has %d bytes, that of an index without the revoked rows %d, the tables had %d", got, want, before.Tables)
			}
		})
	}
}

// A reclaim ends with its context, and not at all on a closed index.
func TestReclaimEnds(t *testing.T) {
	x, whole := openSpace(t, t.TempDir())
	x.upsert(0, 100, func(int) bool { return true })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Reclaim(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := x.Reclaim(t.Context()); err != nil {
		t.Error(err)
	}
	st := whole.Store
	whole.close()
	if err := st.Reclaim(t.Context()); err == nil {
		t.Error("a closed index was reclaimed")
	}
}

const reclaimChild = "ASSIGNDEX_TEST_RECLAIM"

// TestMain runs a reclaim in a process that is to be killed, or the tests.
func TestMain(m *testing.M) {
	dir := os.Getenv(reclaimChild)
	if dir == "" {
		os.Exit(m.Run())
	}
	st, err := open(dir)
	if err == nil {
		fmt.Println("open")
		err = st.Reclaim(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("reclaimed")
	select {} // until it is killed
}

// A reclaim that is killed leaves an index that says what it said before, and
// that can be reclaimed. It is killed at the nth change of the directory's files.
func TestReclaimKilled(t *testing.T) {
	const n = 10_000
	x, whole := openSpace(t, t.TempDir())
	x.upsert(0, n, func(int) bool { return true })
	whole.settleAndReopen()
	x.Store = whole.Store
	x.revoke(0, n, notTenth)
	floor := x.seq
	if err := x.AdvanceFloor(floor); err != nil {
		t.Fatal(err)
	}
	x.revoke(0, n/10, tenth)
	wantFloor, want, size := x.digest(floor), x.digest(x.seq), x.Space().Tables
	for _, changes := range []int{1, 2, 3, 4, 5, 6, 8} {
		whole.close()
		killReclaim(t, whole.dir, changes)
		whole.start()
		x.Store = whole.Store
		if got := x.Applied().Seq; got != x.seq {
			t.Fatalf("killed at change %d: the watermark is %d, want %d", changes, got, x.seq)
		}
		if got := x.digest(floor); got != wantFloor {
			t.Fatalf("killed at change %d: the digest at the floor differs", changes)
		}
		if got := x.digest(x.seq); got != want {
			t.Fatalf("killed at change %d: the digest differs", changes)
		}
	}
	if err := x.Reclaim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := x.Space().Tables; got > size/2 || x.digest(x.seq) != want || x.digest(floor) != wantFloor {
		t.Fatalf("reclaimed at last: %d bytes of %d", got, size)
	}
}

func killReclaim(t *testing.T, dir string, changes int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), reclaimChild+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the child says %q, %v", lines.Text(), lines.Err())
	}
	over := make(chan struct{})
	go func() {
		lines.Scan() // reclaimed, or killed
		close(over)
	}()
	for seen, was := 0, ""; seen < changes; {
		select {
		case <-over:
			seen = changes
		default:
		}
		if now := fileNames(t, dir); now != was {
			was = now
			seen++
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-over
	_ = cmd.Wait() // it was killed
}

// fileNames gives the names of a directory's files, and how long its manifest is.
func fileNames(t *testing.T, dir string) (names string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names += e.Name() + " "
	}
	if st, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
		names += fmt.Sprint(st.Size())
	}
	return names
}
