package indexer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/store"
)

// writeMegabytes writes 9 MB that do not compress, at a sequence, over those of before.
func writeMegabytes(t *testing.T, st *store.Store, seq uint64, rng *rand.ChaCha8) {
	t.Helper()
	b := st.NewBatch(nil)
	b.At(seq)
	for i := range 1000 {
		value := make([]byte, 9<<10)
		_, _ = rng.Read(value) // never fails
		if err := b.Put(keys.Entity("t", keys.ClassUser, fmt.Sprint(i)), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(store.Watermark{Seq: seq, Nano: int64(seq)}); err != nil {
		t.Fatal(err)
	}
}

// Room is given back when the floor has left much behind, once, and not again
// before the floor has moved and there is more.
func TestReclaimIfWorth(t *testing.T) {
	dir := t.TempDir()
	var st *store.Store
	open := func() {
		t.Helper()
		var err error
		if st, err = store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
	}
	closeStore := func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
	open()
	defer func() { closeStore() }()
	x := New(st, nil, Options{Logger: zerolog.Nop()})
	rng := rand.NewChaCha8([32]byte{})
	seq := uint64(0)
	write := func() {
		seq++
		writeMegabytes(t, st, seq, rng)
	}
	var last reclaimed
	look := func(want int) {
		t.Helper()
		last = x.reclaimIfWorth(t.Context(), last)
		if got := int(counterValue(t, x.opts.Metrics.reclaims)); got != want || last.floor != st.Floor() {
			t.Fatalf("reclaimed %d times, want %d; looked at last for the floor %d", got, want, last.floor)
		}
	}
	for range 3 {
		write()
	}
	look(0) // the floor is below all
	advance := func() {
		t.Helper()
		closeStore() // writes the memtable out
		open()
		x.store = st
		if err := st.AdvanceFloor(seq); err != nil {
			t.Fatal(err)
		}
	}
	advance()
	look(1)
	look(1) // the floor has not moved
	seq++
	if err := st.NewBatch(nil).Commit(store.Watermark{Seq: seq, Nano: int64(seq)}); err != nil {
		t.Fatal(err)
	}
	advance()
	look(1) // there is nothing more
	if got := counterValue(t, x.opts.Metrics.freed); got < 16e6 {
		t.Errorf("%v bytes were given back", got)
	}
	for range 3 {
		write()
	}
	advance()
	x.opts.Disk = fullDisk{}
	look(1) // the disk has no room for the index twice
	look(1)
	x.opts.Disk = anyDisk{}
	look(2) // the floor has not moved meanwhile
}

// fullDisk is a disk without room.
type fullDisk struct{ anyDisk }

func (fullDisk) Room(int64) bool { return false }

func counterValue(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// History that takes more room than it may becomes shorter, not below what cursors
// need, and as long as it was again when that room is free.
func TestFitWindow(t *testing.T) {
	st, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	rng := rand.NewChaCha8([32]byte{})
	seq := uint64(0)
	for range 8 { // eight times over, in tables for the most part
		seq++
		writeMegabytes(t, st, seq, rng)
	}
	if err := st.Reclaim(t.Context()); err != nil { // all of it in tables
		t.Fatal(err)
	}
	used := st.History()
	if least, most := int64(7*9_000_000), int64(7*9_900_000); used < least || used > most {
		t.Fatalf("history takes %d bytes, not %d to %d", used, least, most)
	}
	const whole = 24 * time.Hour
	for _, c := range []struct {
		name  string
		bytes int64
		want  time.Duration
	}{
		{"no limit", 0, whole}, {"enough", used * 2, whole}, {"half", used / 2, whole / 2},
		{"almost nothing", 1, cursorLife},
	} {
		x := New(st, nil, Options{Logger: zerolog.Nop(), History: whole, HistoryBytes: c.bytes})
		x.fitWindow()
		if got := time.Duration(x.window.Load()); got < c.want*95/100 || got > c.want*105/100 {
			t.Errorf("%s: a window of %s, want about %s", c.name, got, c.want)
		}
	}
	x := New(st, nil, Options{Logger: zerolog.Nop(), History: whole, HistoryBytes: used / 2})
	x.fitWindow()
	if err := st.AdvanceFloor(seq); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		x.fitWindow()
	}
	if got := time.Duration(x.window.Load()); got != whole {
		t.Errorf("the window is %s when there is no history", got)
	}
}
