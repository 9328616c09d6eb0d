package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

const markerFile = "ASSIGNDEX"

func open(dir string) (*store.Store, error) {
	return store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
}

// put commits one key at a sequence.
func put(t *testing.T, st *store.Store, w store.Watermark, key, value string) {
	t.Helper()
	b := st.NewBatch(nil)
	b.At(w.Seq)
	if err := b.Put([]byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(w); err != nil {
		t.Fatal(err)
	}
}

func at(seq uint64) store.Watermark { return store.Watermark{Seq: seq, Nano: int64(seq)} }

// read gives the keys and values under a prefix, as "key=value".
func read(t *testing.T, st *store.Store, seq uint64, prefix string, from []byte) []string {
	t.Helper()
	view, err := st.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	var all []string
	if err := view.Range([]byte(prefix), from, func(key, value []byte) bool {
		all = append(all, string(key)+"="+string(value))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMarkerRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		make   func(t *testing.T, dir string)
		naming []string // what the error must name
	}{
		{"a foreign directory", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "precious.txt"), "x") }, []string{"precious.txt", markerFile, "empty directory"}},
		{"a Badger directory of another program", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, "MANIFEST"), "x") }, []string{"MANIFEST"}},
		{"a marker that is half written, and data", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, markerFile+".tmp"), "{")
			writeFile(t, filepath.Join(dir, "000001.sst"), "x")
		}, []string{"000001.sst"}},
		{"a later format", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, markerFile), fmt.Sprintf(`{"format":%d,"fold":%d}`, store.Format+1, fold.Version))
		}, []string{fmt.Sprint("format ", store.Format+1), fmt.Sprint("format ", store.Format), "rebuild --data-dir"}},
		{"an earlier fold", func(t *testing.T, dir string) {
			writeFile(t, filepath.Join(dir, markerFile), fmt.Sprintf(`{"format":%d,"fold":%d}`, store.Format, fold.Version-1))
		}, []string{fmt.Sprint("fold ", fold.Version-1), fmt.Sprint("fold ", fold.Version), "rebuild --data-dir"}},
		{"a marker without versions", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, markerFile), `{}`) }, []string{"format 0"}},
		{"a corrupt marker", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, markerFile), "\x00\x00") }, []string{markerFile, "cannot be read"}},
		{"an empty marker", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, markerFile), "") }, []string{markerFile, "cannot be read"}},
		{"a marker cut short", func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, markerFile), `{"format":1,`) }, []string{markerFile, "cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(t, dir)
			before := list(t, dir)
			st, err := open(dir)
			if err == nil {
				_ = st.Close()
				t.Fatal("it was opened")
			}
			if !errors.Is(err, store.ErrFormat) {
				t.Errorf("%v is not ErrFormat", err)
			}
			for _, name := range append(c.naming, dir) {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%q does not name %q", err, name)
				}
			}
			if after := list(t, dir); !reflect.DeepEqual(after, before) {
				t.Errorf("a refused directory was changed from %v to %v", before, after)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// list gives the files of a directory with their contents.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(content)
	}
	return files
}

func TestMarkerOfOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, markerFile+".tmp"), "{") // a crash during the very first start
	for range 2 {
		x := openIndex(t, dir)
		x.close()
	}
	var m struct {
		Format int `json:"format"`
		Fold   int `json:"fold"`
	}
	if err := json.Unmarshal([]byte(list(t, dir)[markerFile]), &m); err != nil || m.Format != store.Format || m.Fold != fold.Version {
		t.Errorf("marker %+v, %v", m, err)
	}
	if _, err := open(filepath.Join(dir, markerFile)); err == nil {
		t.Error("a file was opened as a directory")
	}
}

func TestOneStoreADirectory(t *testing.T) {
	x := openIndex(t, t.TempDir())
	put(t, x.Store, at(1), "ak", "v")
	if other, err := open(x.dir); err == nil {
		_ = other.Close()
		t.Fatal("a directory was opened twice")
	} else if !strings.Contains(err.Error(), x.dir) {
		t.Errorf("%q does not name the directory", err)
	}
	if got := read(t, x.Store, 1, "a", nil); !reflect.DeepEqual(got, []string{"ak=v"}) {
		t.Errorf("after the attempt the store reads %q", got)
	}
	x.reopen()
}

const childDir = "ASSIGNDEX_TEST_CHILD_DIR"

// TestChild is the other process of TestOneProcessADirectory.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return // it is no test of its own
	}
	st, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, st, at(1), "ak", "v1")
	b := st.NewBatch(nil)
	b.At(2)
	if err := errors.Join(b.Put([]byte("ak"), []byte("v2")), b.Put([]byte("al"), []byte("v2")), b.Spill()); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
}

// A directory belongs to one process. When that is killed, another one finds
// what was committed and nothing else.
func TestOneProcessADirectory(t *testing.T) {
	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), childDir+"="+dir)
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
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	if st, err := open(dir); err == nil {
		_ = st.Close()
		t.Error("the directory of another process was opened")
	}
	kill()
	if err := child.Wait(); err == nil {
		t.Fatal("the other process ended well, it was to be killed")
	}
	x := openIndex(t, dir)
	if got := x.Applied(); got.Seq != 1 {
		t.Errorf("the watermark is %d", got.Seq)
	}
	put(t, x.Store, at(2), "am", "v")
	if got := read(t, x.Store, 2, "a", nil); !reflect.DeepEqual(got, []string{"ak=v1", "am=v"}) {
		t.Errorf("after the kill the store reads %q", got)
	}
}

// A power cut can leave a memtable file without a byte in it.
func TestEmptyMemTable(t *testing.T) {
	dir := t.TempDir()
	x := openIndex(t, dir)
	put(t, x.Store, at(1), "ak", "v")
	x.close()
	writeFile(t, filepath.Join(dir, "00099.mem"), "")
	x = openIndex(t, dir)
	if got := read(t, x.Store, 1, "a", nil); !reflect.DeepEqual(got, []string{"ak=v"}) {
		t.Errorf("the store reads %q", got)
	}
}

func TestWatermarkSurvives(t *testing.T) {
	x := openIndex(t, t.TempDir())
	if got := x.Applied(); !reflect.DeepEqual(got, store.Watermark{}) || x.Floor() != 0 {
		t.Errorf("a new index is at %+v, floor %d", got, x.Floor())
	}
	if got := read(t, x.Store, 0, "a", nil); got != nil {
		t.Errorf("a new index holds %q", got)
	}
	w := store.Watermark{
		Seq: 41, Stream: position.Identity{Name: "ASSIGNMENTS", Created: time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC), Incarnation: "i"},
	}
	if err := x.Bind(w); err != nil {
		t.Fatal(err)
	}
	x.reopen()
	if got := x.Applied(); len(got.Fingerprint) != 0 || got.Seq != w.Seq || got.Nano != w.Nano || got.Stream != w.Stream {
		t.Errorf("bound to %+v, reopened at %+v", w, got)
	}
	if err := x.Bind(w); err == nil {
		t.Error("an index was bound twice")
	}
	w.Seq, w.Nano, w.Fingerprint = 42, 1<<60+1, []byte{0, 0xff}
	put(t, x.Store, w, "ak", "v")
	w.Peak = w.Nano // the commit sets it
	if got := x.Applied(); !reflect.DeepEqual(got, w) {
		t.Errorf("committed %+v, applied %+v", w, got)
	}
	x.reopen()
	if got := x.Applied(); !reflect.DeepEqual(got, w) {
		t.Errorf("committed %+v, reopened at %+v", w, got)
	}
	// An empty batch moves the watermark as well: an event may change nothing.
	w.Seq = 50
	if err := x.NewBatch(nil).Commit(w); err != nil {
		t.Fatal(err)
	}
	if got := read(t, x.Store, 50, "a", nil); !reflect.DeepEqual(got, []string{"ak=v"}) {
		t.Errorf("%q", got)
	}
	if tree, vlog := x.Sizes(); tree < 0 || vlog < 0 {
		t.Errorf("sizes %d and %d", tree, vlog)
	}
}

func TestViews(t *testing.T) {
	x := openIndex(t, t.TempDir())
	put(t, x.Store, at(3), "ak", "v3")
	put(t, x.Store, at(5), "ak", "v5")
	b := x.NewBatch(nil)
	b.At(7)
	if err := errors.Join(b.Delete([]byte("ak")), b.Put([]byte("al"), nil), b.Commit(at(8))); err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64][]string{0: nil, 2: nil, 3: {"ak=v3"}, 4: {"ak=v3"}, 5: {"ak=v5"}, 6: {"ak=v5"}, 7: {"al="}, 8: {"al="}} {
		if got := read(t, x.Store, seq, "a", nil); !reflect.DeepEqual(got, want) {
			t.Errorf("at %d: %q, want %q", seq, got, want)
		}
	}
	if _, err := x.View(9); !errors.Is(err, store.ErrAhead) {
		t.Errorf("a view above the watermark: %v", err)
	}
	view, err := x.View(4)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if view.Seq() != 4 {
		t.Errorf("Seq is %d", view.Seq())
	}
	if got, err := view.Get([]byte("ak")); string(got) != "v3" || err != nil {
		t.Errorf("Get = %q, %v", got, err)
	}
	if got, err := view.Get([]byte("al")); got != nil || err != nil {
		t.Errorf("Get of nothing = %q, %v", got, err)
	}
	latest, err := x.View(8)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := latest.Get([]byte("al")); got == nil || len(got) != 0 || err != nil {
		t.Errorf("Get of an empty value = %v, %v: it must not look absent", got, err)
	}
	latest.Close()
	latest.Close() // more than once is allowed
	if err := x.AdvanceFloor(4); err != nil {
		t.Fatal(err)
	}
	if err := view.Check(); err != nil {
		t.Errorf("a view at the floor: %v", err)
	}
	if err := x.AdvanceFloor(5); err != nil {
		t.Fatal(err)
	}
	if err := view.Check(); !errors.Is(err, store.ErrPruned) {
		t.Errorf("a view that the floor overtook: %v", err)
	}
	if _, err := x.View(4); !errors.Is(err, store.ErrPruned) {
		t.Errorf("a view below the floor: %v", err)
	}
	if err := x.AdvanceFloor(2); err != nil || x.Floor() != 5 {
		t.Errorf("the floor went down to %d, %v", x.Floor(), err)
	}
	if err := x.AdvanceFloor(9); !errors.Is(err, store.ErrAhead) || x.Floor() != 5 {
		t.Errorf("the floor rose above the watermark to %d, %v", x.Floor(), err)
	}
	view.Close()
	x.reopen()
	if x.Floor() != 5 {
		t.Errorf("after a restart the floor is %d", x.Floor())
	}
	if _, err := x.View(4); !errors.Is(err, store.ErrPruned) {
		t.Errorf("a view below the floor after a restart: %v", err)
	}
	if got := read(t, x.Store, 5, "a", nil); !reflect.DeepEqual(got, []string{"ak=v5"}) {
		t.Errorf("at the floor: %q", got)
	}
}

func TestRange(t *testing.T) {
	x := openIndex(t, t.TempDir())
	b := x.NewBatch(nil)
	b.At(1)
	for _, key := range []string{"aa", "ab", "ab\x00", "abc", "ab\xff", "ac", "b"} {
		if err := b.Put([]byte(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(at(1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		prefix, from string
		want         []string
	}{
		{"ab", "", []string{"ab=", "ab\x00=", "abc=", "ab\xff="}},
		{"ab", "ab", []string{"ab=", "ab\x00=", "abc=", "ab\xff="}},
		{"ab", "ab\x00", []string{"ab\x00=", "abc=", "ab\xff="}},
		{"ab", "abb", []string{"abc=", "ab\xff="}},
		{"ab", "ab\xff\x00", nil},
		{"ab", "ac", nil},
		{"ab", "b", nil},
		{"ab", "a", []string{"ab=", "ab\x00=", "abc=", "ab\xff="}}, // not below from, and with the prefix
		{"ab", "aa", []string{"ab=", "ab\x00=", "abc=", "ab\xff="}},
		{"ad", "", nil},
		{"b", "", []string{"b="}},
	} {
		var from []byte
		if c.from != "" {
			from = []byte(c.from)
		}
		if got := read(t, x.Store, 1, c.prefix, from); !reflect.DeepEqual(got, c.want) {
			t.Errorf("range %q from %q: %q, want %q", c.prefix, c.from, got, c.want)
		}
	}
	view, err := x.View(1)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	visits := 0
	if err := view.Range([]byte("a"), nil, func(_, _ []byte) bool { visits++; return visits < 2 }); err != nil || visits != 2 {
		t.Errorf("%d visits after the second said no more, %v", visits, err)
	}
}

func TestWait(t *testing.T) {
	x := openIndex(t, t.TempDir())
	put(t, x.Store, at(1), "ak", "v")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Wait(ended, 1); err != nil {
		t.Errorf("what is applied needs no waiting: %v", err)
	}
	if err := x.Wait(ended, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("the context had ended: %v", err)
	}
	deadline, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := x.Wait(deadline, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context had a deadline: %v", err)
	}
	const waiters = 5
	woken := make(chan error)
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range waiters {
		go func() {
			seq := uint64(2 + i%2)
			err := x.Wait(patience, seq)
			if got := x.Applied().Seq; err == nil && got < seq {
				err = fmt.Errorf("woken for %d at %d", seq, got)
			}
			woken <- err
		}()
	}
	put(t, x.Store, at(2), "ak", "v")
	put(t, x.Store, at(9), "ak", "v") // passes 3 by
	for range waiters {
		if err := <-woken; err != nil {
			t.Error(err)
		}
	}
}

// The store's own keys never gain a version a batch: Badger keeps all versions
// of one key in one table.
func TestMetaKeysHaveOneVersion(t *testing.T) {
	x := openIndex(t, t.TempDir())
	for seq := range uint64(20) {
		put(t, x.Store, store.Watermark{Seq: seq + 1, Nano: int64(seq) * int64(time.Second)}, "ak", "v")
		if seq == 10 {
			if err := x.AdvanceFloor(5); err != nil {
				t.Fatal(err)
			}
		}
	}
	txn := x.Badger().NewTransactionAt(1, false) // no meta key is above the constant timestamp
	defer txn.Discard()
	for _, name := range []string{"watermark", "floor"} {
		if _, err := txn.Get(keys.Meta(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
