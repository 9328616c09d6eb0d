package indexer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/store"
)

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
	write := func() { // 9 MB that do not compress
		seq++
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
	look(2)
}

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
