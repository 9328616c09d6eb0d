package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/modeltest"
)

// logged counts the change log's entries up to a sequence, and above it.
func (x *index) logged(seq uint64) (upTo, above int) {
	x.t.Helper()
	view, err := x.View(x.Applied().Seq)
	if err != nil {
		x.t.Fatal(err)
	}
	defer view.Close()
	if err := view.Range([]byte{byte(keys.ChangeTag)}, nil, func(key, _ []byte) bool {
		_, c, err := keys.ParseChange(key)
		if err != nil {
			x.t.Error(err)
		}
		if c.Seq <= seq {
			upTo++
		} else {
			above++
		}
		return true
	}); err != nil {
		x.t.Fatal(err)
	}
	return upTo, above
}

// The log is kept above the floor, of every tenant, and nothing of it below.
func TestPruneChanges(t *testing.T) {
	x := openIndex(t, t.TempDir())
	gen := modeltest.NewGenerator(7)
	batch := x.NewBatch(nil)
	stream := makeStream(gen, rand.New(rand.NewPCG(7, 7)), 600)
	for _, m := range stream {
		apply(t, batch, m)
	}
	if err := batch.Commit(watermark(stream[len(stream)-1])); err != nil {
		t.Fatal(err)
	}
	const floor = 400
	below, above := x.logged(floor)
	if below == 0 || above == 0 {
		t.Fatalf("%d and %d changes are not enough for a test", below, above)
	}
	if n, err := x.PruneChanges(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d changes were pruned under the floor 0, %v", n, err)
	}
	if err := x.AdvanceFloor(floor); err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := x.PruneChanges(stopped); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := x.PruneChanges(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, same := x.logged(floor); left != 0 || same != above {
		t.Fatalf("%d changes are left up to the floor, and %d of %d above", left, same, above)
	}
	x.reopen()
	if left, same := x.logged(floor); left != 0 || same != above {
		t.Fatalf("reopened: %d changes are left up to the floor, and %d of %d above", left, same, above)
	}
}
