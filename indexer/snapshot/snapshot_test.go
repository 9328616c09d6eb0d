package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

func seed(t *testing.T) uint64 {
	t.Helper()
	n := *seedFlag
	if n == 0 {
		n = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", n)
	return n
}

var someKeys = []snapshot.Key{{Name: "one", Value: []byte(`{"hash":"1"}`)}, {Name: "two", Value: nil}}

// filled makes an index of n messages of a generator.
func filled(t testing.TB, seed uint64, n int) *store.Store {
	t.Helper()
	st, err := store.Open(store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	gen := modeltest.NewGenerator(seed)
	for i := range n {
		at := rows.Moment{Seq: uint64(i + 1), Nano: int64(i+1) * 1e9}
		batch := st.NewBatch(nil)
		batch.At(at.Seq)
		batch.Saw(at.Nano)
		if ev, err := events.Decode(gen.Next()); err == nil { // the quarantine has tests elsewhere
			if _, err := fold.Apply(&ev, at, batch, batch); err != nil {
				t.Fatal(err)
			}
		}
		w := store.Watermark{Seq: at.Seq, Nano: at.Nano, Fingerprint: []byte{byte(i)}}
		w.Stream = position.Identity{Name: "S", Created: time.Unix(7, 0).UTC(), Incarnation: "i"}
		if err := batch.Commit(w); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func taken(t testing.TB, st *store.Store) ([]byte, snapshot.Summary) {
	t.Helper()
	var file bytes.Buffer
	s, err := snapshot.Write(context.Background(), &file, st, snapshot.WriteOptions{Keys: someKeys})
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes(), s
}

func digest(t *testing.T, st *store.Store, seq uint64) string {
	t.Helper()
	view, err := st.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	text, _, err := audit.Digest(view)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Whatever the size of blocks, and however the reader hands bytes out, the restored
// index is the one that was taken.
func TestRoundTrip(t *testing.T) {
	for _, size := range []int{1, 100, 5000, 1 << 20} {
		restore := snapshot.LowerBlockBytes(size)
		st := filled(t, 1, 120)
		if err := st.AdvanceFloor(60); err != nil {
			t.Fatal(err)
		}
		file, summary := taken(t, st)
		restore()
		h, err := snapshot.ReadHeader(bytes.NewReader(file))
		if err != nil || !reflect.DeepEqual(h, summary.Header) || h.At.Seq != 120 || h.Floor != 60 || h.Keys != 2 {
			t.Fatalf("header %+v, %v; want %+v", h, err, summary.Header)
		}
		dir := filepath.Join(t.TempDir(), "a", "b")
		var keys []snapshot.Key
		_, err = snapshot.Restore(t.Context(), iotest.OneByteReader(bytes.NewReader(file)), dir, snapshot.RestoreOptions{
			Bind: func(_ context.Context, h snapshot.Header, got []snapshot.Key) (position.Position, error) {
				keys = got
				h.At.Stream.Incarnation = "another"
				return h.At, nil
			},
		})
		if err != nil {
			t.Fatalf("blocks of %d: %v", size, err)
		}
		if fmt.Sprint(keys) != fmt.Sprint(someKeys) {
			t.Errorf("the keys are %v", keys)
		}
		restored, err := store.Open(store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for seq := uint64(60); seq <= 120; seq++ {
			if got, want := digest(t, restored, seq), digest(t, st, seq); got != want {
				t.Fatalf("blocks of %d, sequence %d: %s, want %s", size, seq, got, want)
			}
		}
		if got := restored.Applied().Stream.Incarnation; got != "another" {
			t.Errorf("the incarnation is %s", got)
		}
		if err := restored.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// refused makes sure that a file is refused and that nothing is left of it.
func refused(t *testing.T, file []byte, want error, what string) {
	t.Helper()
	if _, err := snapshot.Check(t.Context(), bytes.NewReader(file)); !errors.Is(err, want) {
		t.Fatalf("%s: checked: %v", what, err)
	}
	dir := filepath.Join(t.TempDir(), "index")
	_, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, snapshot.RestoreOptions{})
	if !errors.Is(err, want) {
		t.Fatalf("%s: restored: %v", what, err)
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		t.Fatalf("%s: left behind: %v", what, entries)
	}
}

func TestDamage(t *testing.T) {
	n := seed(t)
	rng := rand.New(rand.NewPCG(n, 1))
	defer snapshot.LowerBlockBytes(4000)()
	file, _ := taken(t, filled(t, n, 80))
	check := func(bad []byte, what string) {
		t.Helper()
		if _, err := snapshot.Check(t.Context(), bytes.NewReader(bad)); !errors.Is(err, snapshot.ErrDamaged) || !strings.Contains(err.Error(), ": byte ") {
			t.Errorf("-seed %d: %s of %d: %v", n, what, len(file), err)
		}
	}
	for at := range file { // every byte
		bad := bytes.Clone(file)
		bad[at] ^= 1 << rng.IntN(8)
		check(bad, fmt.Sprintf("byte %d flipped", at))
	}
	for size := range file { // every length
		check(file[:size], fmt.Sprintf("cut to %d", size))
	}
	for range 20 {
		more := make([]byte, 1+rng.IntN(50))
		for i := range more {
			more[i] = byte(rng.IntN(256))
		}
		check(append(bytes.Clone(file), more...), "appended bytes")
	}
	check(append(bytes.Clone(file), file...), "glued to itself")
	other, _ := taken(t, filled(t, n+1, 80))
	for range 200 { // the head of one and the tail of the other
		a, b := rng.IntN(len(file)), rng.IntN(len(other))
		check(append(bytes.Clone(file[:a+1]), other[b:]...), fmt.Sprintf("%d of one and %d on of another", a+1, b))
	}
	for range 10 { // and what it leaves behind
		bad := bytes.Clone(file)
		at := rng.IntN(len(bad))
		bad[at] ^= 1 << rng.IntN(8)
		refused(t, bad, snapshot.ErrDamaged, fmt.Sprintf("-seed %d: byte %d", n, at))
	}
	refused(t, file[:len(file)-1], snapshot.ErrDamaged, "the last byte")
	refused(t, append(bytes.Clone(file), 0), snapshot.ErrDamaged, "a byte more")
}

func TestOtherVersions(t *testing.T) {
	file, _ := taken(t, filled(t, 1, 5))
	for what, change := range map[string]func(*snapshot.Header){
		"format": func(h *snapshot.Header) { h.Format++ },
		"index":  func(h *snapshot.Header) { h.Index++ },
		"fold":   func(h *snapshot.Header) { h.Fold++ },
	} {
		other := snapshot.WithHeader(file, change)
		refused(t, other, snapshot.ErrVersion, what)
		_, err := snapshot.Check(t.Context(), bytes.NewReader(other))
		if !strings.Contains(err.Error(), fmt.Sprintf("this program has format %d, index format %d and fold %d", snapshot.Format, store.Format, fold.Version)) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := snapshot.ReadHeader(bytes.NewReader(other)); err != nil {
			t.Errorf("its header: %v", err)
		}
	}
	refused(t, snapshot.WithHeader(file, func(h *snapshot.Header) { h.Floor = 6 }), snapshot.ErrDamaged, "a floor above")
	refused(t, snapshot.WithHeader(file, func(h *snapshot.Header) { h.At.Seq = 4 }), snapshot.ErrDamaged, "entries above the sequence")
	refused(t, snapshot.WithHeader(file, func(h *snapshot.Header) { h.Keys = 1 }), snapshot.ErrDamaged, "more keys than it tells")
}

// Errors of the reader, the writer and the callbacks come through, and are no damage.
func TestErrorsComeThrough(t *testing.T) {
	st := filled(t, 1, 30)
	file, _ := taken(t, st)
	broken := errors.New("broken")
	for _, size := range []int{0, 10, len(file) / 2, len(file) - 1, len(file)} {
		r := io.MultiReader(bytes.NewReader(file[:size]), iotest.ErrReader(broken))
		if _, err := snapshot.Check(t.Context(), r); !errors.Is(err, broken) || errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("after %d bytes: %v", size, err)
		}
	}
	for name, o := range map[string]snapshot.RestoreOptions{
		"begin": {Begin: func(snapshot.Header) error { return broken }},
		"bind": {Bind: func(context.Context, snapshot.Header, []snapshot.Key) (position.Position, error) {
			return position.Position{}, broken
		}},
	} {
		dir := filepath.Join(t.TempDir(), "index")
		if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, o); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			t.Errorf("%s: left behind: %v", name, entries)
		}
	}
	if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), t.TempDir(), snapshot.RestoreOptions{
		Bind: func(context.Context, snapshot.Header, []snapshot.Key) (position.Position, error) {
			return position.Position{Seq: 3}, nil
		},
	}); err == nil {
		t.Error("a position of another sequence was taken")
	}
	if _, err := snapshot.Write(t.Context(), io.Discard, st, snapshot.WriteOptions{Begin: func(snapshot.Header) error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("begin to write: %v", err)
	}
	if _, err := snapshot.Write(t.Context(), failing{broken}, st, snapshot.WriteOptions{}); !errors.Is(err, broken) {
		t.Errorf("write: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := snapshot.Write(ended, io.Discard, st, snapshot.WriteOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := snapshot.Restore(ended, bytes.NewReader(file), t.TempDir(), snapshot.RestoreOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if err := st.AdvanceFloor(30); err != nil || st.Floor() != 30 {
		t.Errorf("the floor is held at %d: %v", st.Floor(), err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// Each step of a restore fails, not done and done all the same: the error comes through
// and nothing is left, and the same directory can be restored into.
func TestFaults(t *testing.T) {
	st := filled(t, 1, 30)
	file, _ := taken(t, st)
	broken := errors.New("broken")
	for _, at := range fault.Restores {
		for _, done := range []bool{false, true} {
			came, dir := false, t.TempDir()
			o := snapshot.RestoreOptions{
				Bind: func(_ context.Context, h snapshot.Header, _ []snapshot.Key) (position.Position, error) {
					return h.At, nil
				},
				Fault: func(point fault.Point, after bool) error {
					if point == at && after == done {
						came = true
						return broken
					}
					return nil
				},
			}
			if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, o); !errors.Is(err, broken) || !came {
				t.Errorf("%s, done %v: %v", at, done, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
				t.Errorf("%s, done %v: left behind: %v, %v", at, done, entries, err)
			}
			if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, snapshot.RestoreOptions{}); err != nil {
				t.Errorf("%s, done %v: again: %v", at, done, err)
			}
			if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, snapshot.RestoreOptions{}); err == nil {
				t.Error("an index was restored into")
			}
		}
	}
	_, err := snapshot.Write(t.Context(), io.Discard, st, snapshot.WriteOptions{Fault: func(fault.Point, bool) error { return broken }})
	if !errors.Is(err, broken) {
		t.Errorf("write: %v", err)
	}
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), mine, snapshot.RestoreOptions{}); err == nil || !strings.Contains(err.Error(), `"mine"`) {
		t.Errorf("a directory that is not empty: %v", err)
	}
	if _, err := os.Stat(filepath.Join(mine, "mine")); errors.Is(err, fs.ErrNotExist) {
		t.Error("it was emptied")
	}
}

// A damaged table of the source is no end of its keys.
func TestSourceWithADamagedFile(t *testing.T) {
	dir := t.TempDir()
	file, _ := taken(t, filled(t, 1, 60))
	if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), dir, snapshot.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	content, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	content[100] ^= 1
	if err := os.WriteFile(tables[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Write(t.Context(), io.Discard, st, snapshot.WriteOptions{}); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("the snapshot gave %v", err)
	}
}

// FuzzRead reads anything without failing otherwise than by an error, and restores what
// it finds whole.
func FuzzRead(f *testing.F) {
	restore := snapshot.LowerBlockBytes(500)
	st := filled(f, 1, 20)
	file, _ := taken(f, st)
	restore()
	f.Add(file)
	f.Add([]byte{})
	f.Add(file[:200])
	f.Add(snapshot.WithHeader(file, func(h *snapshot.Header) { h.Keys = 0 }))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, headerErr := snapshot.ReadHeader(bytes.NewReader(file))
		s, err := snapshot.Check(t.Context(), bytes.NewReader(file))
		if err != nil {
			if !errors.Is(err, snapshot.ErrDamaged) && !errors.Is(err, snapshot.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		if headerErr != nil || !reflect.DeepEqual(h, s.Header) || s.Bytes != int64(len(file)) {
			t.Fatalf("%v, %+v, %+v", headerErr, h, s)
		}
		if _, err := snapshot.Restore(t.Context(), bytes.NewReader(file), t.TempDir(), snapshot.RestoreOptions{}); err != nil && !errors.Is(err, snapshot.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// FuzzContent reads blocks of any content behind checksums that are right: it is refused
// or restored into what opens.
func FuzzContent(f *testing.F) {
	st := filled(f, 1, 20)
	var file bytes.Buffer
	s, err := snapshot.Write(context.Background(), &file, st, snapshot.WriteOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(0), []byte{}, snapshot.Content(file.Bytes()), s.Entries)
	f.Add(uint8(1), []byte{1, 'k', 1, 'v'}, snapshot.Content(file.Bytes()), s.Entries)
	f.Add(uint8(0), []byte{}, []byte{0, 0, 2, 'a', 'b', 3, 1, 'v'}, uint64(1))
	f.Add(uint8(0), []byte{}, []byte{0, 0, 2, 'm', 'b', 1, 1, 'v'}, uint64(1))
	f.Add(uint8(0), []byte{}, []byte{0, 0, 2, 'k', 'b', 1, 1, 'v'}, uint64(1))
	f.Fuzz(func(t *testing.T, keys uint8, keyContent, content []byte, entries uint64) {
		h := s.Header
		h.Keys = int(keys)
		if len(keyContent) > snapshot.MaxBlock/2 || len(content) > snapshot.MaxBlock/2 {
			return
		}
		sealed := snapshot.Seal(h, keyContent, content, entries)
		if _, err := snapshot.Check(t.Context(), bytes.NewReader(sealed)); errors.Is(err, snapshot.ErrDamaged) {
			return // cheaply, and most are
		}
		dir := t.TempDir()
		_, err := snapshot.Restore(t.Context(), bytes.NewReader(sealed), dir, snapshot.RestoreOptions{})
		if errors.Is(err, snapshot.ErrDamaged) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Idle(dir); err != nil {
			t.Fatal(err)
		}
	})
}
