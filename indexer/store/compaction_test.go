package store_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
)

// settle moves what a closed store has written into a lower level and drops
// nothing. Flatten compacts only what lies in several levels.
func settle(t *testing.T, dir string) {
	t.Helper()
	db, err := badger.OpenManaged(badger.DefaultOptions(dir).WithCompactL0OnClose(true).WithLogger(nil).
		WithMemTableSize(8 << 20).WithValueThreshold(1 << 20).WithValueLogFileSize(1 << 20).WithNumVersionsToKeep(math.MaxInt))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// settleAndReopen leaves the store with tables in two levels once it has been
// written to and reopened again.
func (x *index) settleAndReopen() {
	x.t.Helper()
	x.close()
	settle(x.t, x.dir)
	x.start()
}

// versions gives the sequences of all versions of a key that Badger still holds.
func versions(x *index, key string) []uint64 {
	txn := x.Badger().NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions = true
	it := txn.NewKeyIterator([]byte(key), o)
	defer it.Close()
	var all []uint64
	for it.Rewind(); it.Valid(); it.Next() {
		all = append(all, it.Item().Version())
	}
	slices.Sort(all)
	return all
}

func upTo(low, high uint64) []uint64 {
	var all []uint64
	for seq := low; seq <= high; seq++ {
		all = append(all, seq)
	}
	return all
}

// Compaction drops what is below the floor, but for the version that is read at
// it, and nothing else: in the process that moved the floor and in the next one.
func TestCompactionKeepsTheWindow(t *testing.T) {
	x := openIndex(t, t.TempDir())
	write := func(from, to uint64) {
		t.Helper()
		for seq := from; seq <= to; seq++ {
			put(t, x.Store, at(seq), "ak", fmt.Sprint(seq))
		}
	}
	check := func(floor, applied uint64) {
		t.Helper()
		if err := x.Badger().Flatten(1); err != nil {
			t.Fatal(err)
		}
		if got := versions(x, "ak"); !reflect.DeepEqual(got, upTo(floor, applied)) {
			t.Fatalf("with the floor at %d there are the versions %v", floor, got)
		}
		for seq := floor; seq <= applied; seq++ {
			if got := read(t, x.Store, seq, "a", nil); !reflect.DeepEqual(got, []string{fmt.Sprint("ak=", seq)}) {
				t.Fatalf("at %d: %q", seq, got)
			}
		}
	}
	write(1, 10)
	x.settleAndReopen()
	write(11, 20)
	x.reopen() // writes the memtable out
	if got := versions(x, "ak"); !reflect.DeepEqual(got, upTo(1, 20)) {
		t.Fatalf("without a floor there are the versions %v", got)
	}
	if err := x.AdvanceFloor(7); err != nil {
		t.Fatal(err)
	}
	check(7, 20)
	write(21, 25)
	if err := x.AdvanceFloor(15); err != nil {
		t.Fatal(err)
	}
	x.reopen()
	check(15, 25)
}
