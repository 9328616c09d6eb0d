package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// A walk gives the same rows as Badger's iterator of one sequence, at every
// sequence, and every other key that has any version, each once and in order; and
// there are never many versions between two calls.
func TestWalkIsBadgersIteration(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 3))
		x := openIndex(t, t.TempDir())
		const last = 300
		known := map[string]bool{}
		b := x.NewBatch(nil)
		for seq := uint64(1); seq <= last; seq++ {
			b.At(seq)
			written := map[string]bool{}
			for range 1 + rng.IntN(3) {
				key := []byte{"ae"[rng.IntN(2)], byte('0' + rng.IntN(4)), "a\x00\x01z"[rng.IntN(4)]}
				if rng.IntN(3) == 0 {
					key = []byte("a hot one") // of more versions than a walk steps over
				}
				if written[string(key)] {
					continue
				}
				written[string(key)], known[string(key)] = true, true
				// Nothing is deleted at the first sequence, where nothing is yet.
				if err := write1(b, key, fmt.Sprint(seq), seq > 1 && rng.IntN(2) == 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := b.Commit(at(last)); err != nil {
			t.Fatal(err)
		}
		for seq := uint64(1); seq <= last; seq++ {
			for _, prefix := range []string{"a", "e", "a1", "a ", "x"} {
				from := []string{"", prefix, prefix + "2", "a hot one\x00"}[rng.IntN(4)]
				walked(t, x, seq, prefix, from, known)
			}
		}
	})
}

func write1(b *store.Batch, key []byte, value string, del bool) error {
	if del {
		return b.Delete(key)
	}
	return b.Put(key, []byte(value))
}

func walked(t *testing.T, x *index, seq uint64, prefix, from string, known map[string]bool) {
	t.Helper()
	view, err := x.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	var got, want, keysGot, keysWant []string
	if err := view.Walk([]byte(prefix), []byte(from), func(key, value []byte, passed int) bool {
		keysGot = append(keysGot, string(key))
		if value != nil {
			got = append(got, string(key)+"="+string(value))
		} else if passed == 0 {
			t.Fatalf("at %d: %q has no row, and no version of it was counted", seq, key)
		}
		if passed > 2*store.ManyVersions {
			t.Fatalf("at %d: %d versions before %q", seq, passed, key)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for key := range known {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix && key >= from {
			keysWant = append(keysWant, key)
		}
	}
	slices.Sort(keysWant)
	txn := x.Badger().NewTransactionAt(seq, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.Prefix = []byte(prefix)
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek([]byte(max(from, prefix))); it.Valid(); it.Next() {
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(it.Item().Key())+"="+string(value))
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("at %d, %q from %q:\n got %q\nwant %q", seq, prefix, from, got, want)
	}
	if !reflect.DeepEqual(keysGot, keysWant) {
		t.Fatalf("at %d, %q from %q: keys\n got %q\nwant %q", seq, prefix, from, keysGot, keysWant)
	}
}

// walkCounter counts the calls of a walk, and ends a context after some.
type walkCounter struct {
	*store.View
	visits, passed int
	after          int
	cancel         context.CancelFunc
}

func (c *walkCounter) Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error {
	return c.View.Walk(prefix, from, func(key, value []byte, passed int) bool {
		if c.visits++; c.visits == c.after {
			c.cancel()
		}
		c.passed += passed
		return visit(key, value, passed)
	})
}

// A page in front of very many deleted rows reads no more of them than its
// budget, goes on behind them, and ends with its context; at the last sequence, where they
// are deleted, and at the first, where they are of later.
func TestPageInFrontOfDeletedRows(t *testing.T) {
	const n = 30_000
	x := &spaceIndex{tb: t, Store: openIndex(t, t.TempDir()).Store}
	x.upsert(n, n+10, func(int) bool { return true })
	first := x.seq
	x.upsert(0, n, func(int) bool { return true })
	x.revoke(0, n, func(int) bool { return true })
	for seq, dead := range map[uint64]int{x.seq: 2 * n, first: 2 * n} {
		for _, sel := range []listing.Selector{{}, {MaxPassed: 1000}, {MaxPassed: math.MaxInt}} {
			sel.Tenant, sel.Kinds = "t", []events.Kind{events.KindUser}
			budget := sel.MaxPassed
			if budget == 0 {
				budget = listing.DefaultMaxPassed
			}
			var after *listing.Position
			rowsRead, pages, passed := 0, 0, 0
			for {
				src := &walkCounter{View: x.view(seq)}
				page, err := listing.List(t.Context(), src, sel, after, 3, func(rows.Face) { rowsRead++ })
				src.Close()
				if err != nil {
					t.Fatal(err)
				}
				if src.passed > budget && src.passed-budget > 2*store.ManyVersions || page.Rows < 3 && page.More != page.Spent {
					t.Fatalf("at %d: %d versions were passed over, %+v", seq, src.passed, page)
				}
				pages++
				passed += page.Passed
				if !page.More {
					break
				}
				after = &page.Last
			}
			if rowsRead != 10 || passed < dead-pages || passed > dead+pages*2*store.ManyVersions || pages < 4+(dead-1)/budget-1 {
				t.Fatalf("at %d: %d rows on %d pages, %d versions were passed over", seq, rowsRead, pages, passed)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		src := &walkCounter{View: x.view(seq), after: 5000, cancel: cancel}
		sel := listing.Selector{Tenant: "t", Kinds: events.Kinds, MaxPassed: math.MaxInt}
		if _, err := listing.List(ctx, src, sel, nil, 3, func(rows.Face) {}); !errors.Is(err, context.Canceled) || src.visits > 5000+256 {
			t.Fatalf("at %d: %d keys were visited, %v", seq, src.visits, err)
		}
		src.Close()
	}
}
