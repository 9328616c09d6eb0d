package store_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

// lost are the writes of a batch that a crash left above the watermark, for each
// key in the order of sequences: "+" is a put, "-" a deletion. The first of each
// name says whether the key was there before.
var lost = slices.Sorted(slices.Values([]string{
	"live +", "live -", "live + +", "live + -", "live - +", "live - -", "gone +", "gone -", "gone + -", "gone - +", "gone + + -",
}))

// crashed gives a store at sequence 10 after a crash that left lost from
// sequence 12 on.
func crashed(t *testing.T) *index {
	t.Helper()
	x := openIndex(t, t.TempDir())
	b := x.NewBatch(nil)
	b.At(9)
	for _, name := range lost {
		for _, prefix := range []string{"a", "b", "c"} { // three of each, for what comes after
			if name[:4] == "live" {
				if err := b.Put([]byte(prefix+name), []byte("kept")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := b.Commit(at(10)); err != nil {
		t.Fatal(err)
	}
	b = x.NewBatch(nil)
	for i := range uint64(3) {
		b.At(12 + 2*i)
		for _, name := range lost {
			writes := name[5:]
			if int(2*i) >= len(writes) {
				continue
			}
			for _, prefix := range []string{"a", "b", "c"} {
				var err error
				if writes[2*i] == '+' {
					err = b.Put([]byte(prefix+name), []byte("lost"))
				} else {
					err = b.Delete([]byte(prefix + name))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := b.Spill(); err != nil {
		t.Fatal(err)
	}
	return x
}

// kept is what a key reads that nothing was done to since.
func kept(prefix string) []string {
	var all []string
	for _, name := range lost {
		if name[:4] == "live" {
			all = append(all, prefix+name+"=kept")
		}
	}
	return all
}

// After a crash every key reads as it did at the watermark, at each sequence that
// the crash had written to and above, although Badger cannot take a version back:
// also when what was lost and what undid it lie in different levels, and when
// compaction has merged them.
func TestUndo(t *testing.T) {
	for _, settled := range []bool{false, true} {
		x := crashed(t)
		if settled {
			x.settleAndReopen()
		}
		for range 2 { // undoing what was undone changes nothing
			x.reopen()
			if got := x.Applied().Seq; got != 10 {
				t.Fatalf("the watermark is %d", got)
			}
		}
		if err := x.NewBatch(nil).Commit(at(20)); err != nil {
			t.Fatal(err)
		}
		for _, merged := range []bool{false, true} {
			if merged {
				x.settleAndReopen()
				put(t, x.Store, at(21), "d", "")
				x.reopen()
				if err := x.Badger().Flatten(1); err != nil {
					t.Fatal(err)
				}
			}
			for seq := uint64(9); seq <= 20; seq++ {
				for _, prefix := range []string{"a", "b", "c"} {
					if got := read(t, x.Store, seq, prefix, nil); !reflect.DeepEqual(got, kept(prefix)) {
						t.Errorf("settled %v, merged %v, at %d: %q, want %q", settled, merged, seq, got, kept(prefix))
					}
				}
			}
		}
	}
}

// What is written after the undoing, at other sequences than before, holds from
// its sequence on: the versions that undoing left above must not hide it.
func TestWritesOverWhatWasUndone(t *testing.T) {
	for _, seq := range []uint64{11, 12, 13, 14, 15, 16, 17} {
		t.Run(fmt.Sprint("at ", seq), func(t *testing.T) {
			x := crashed(t)
			x.reopen()
			b := x.NewBatch(nil)
			b.At(seq)
			var put []string
			for _, name := range lost {
				if err := b.Put([]byte("a"+name), []byte("new")); err != nil {
					t.Fatal(err)
				}
				put = append(put, "a"+name+"=new")
				if err := b.Delete([]byte("b" + name)); err != nil {
					t.Fatal(err)
				}
			}
			if b.Full() != (seq < 16) {
				t.Errorf("the batch is full: %v; 16 was the last sequence that was undone", b.Full())
			}
			if err := b.Commit(at(seq)); err != nil {
				t.Fatal(err)
			}
			if err := x.NewBatch(nil).Commit(at(20)); err != nil {
				t.Fatal(err)
			}
			for _, again := range []bool{false, true} {
				if again {
					x.reopen()
				}
				for s := uint64(10); s <= 20; s++ {
					wantA, wantB := kept("a"), kept("b")
					if s >= seq {
						wantA, wantB = put, nil
					}
					if got := read(t, x.Store, s, "a", nil); !reflect.DeepEqual(got, wantA) {
						t.Errorf("puts at %d, read at %d: %q, want %q", seq, s, got, wantA)
					}
					if got := read(t, x.Store, s, "b", nil); !reflect.DeepEqual(got, wantB) {
						t.Errorf("deletions at %d, read at %d: %q, want %q", seq, s, got, wantB)
					}
					if got := read(t, x.Store, s, "c", nil); !reflect.DeepEqual(got, kept("c")) {
						t.Errorf("untouched keys at %d: %q", s, got)
					}
				}
			}
		})
	}
}

// A second crash, before what was written over the undone became committed.
func TestUndoOfWritesOverWhatWasUndone(t *testing.T) {
	x := crashed(t)
	x.reopen()
	b := x.NewBatch(nil)
	b.At(11)
	for _, name := range lost {
		if err := b.Put([]byte("a"+name), []byte("new")); err != nil {
			t.Fatal(err)
		}
		if err := b.Delete([]byte("b" + name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Spill(); err != nil {
		t.Fatal(err)
	}
	x.reopen()
	if err := x.NewBatch(nil).Commit(at(20)); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(10); seq <= 20; seq++ {
		for _, prefix := range []string{"a", "b", "c"} {
			if got := read(t, x.Store, seq, prefix, nil); !reflect.DeepEqual(got, kept(prefix)) {
				t.Errorf("at %d: %q, want %q", seq, got, kept(prefix))
			}
		}
	}
}
