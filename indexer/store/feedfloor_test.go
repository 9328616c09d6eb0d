package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
)

// A read of changes that the floor overtakes, with what it would have read being
// removed, is refused and never short.
func TestFloorOvertakesChanges(t *testing.T) {
	const n = 700 // more than are read from the log at a time
	x := openIndex(t, t.TempDir())
	logRows(t, x, n)
	open := func(seq uint64) (feed.Snapshot, error) { return x.View(seq) }
	sel := listing.Selector{Tenant: "t", Kinds: []events.Kind{events.KindUser}}
	forget := func(floor uint64) {
		if err := x.AdvanceFloor(floor); err != nil {
			t.Fatal(err)
		}
		if _, err := x.PruneChanges(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	read := func(sel listing.Selector, open feed.Open, visit func(*feed.Change) error) error {
		_, err := feed.Changes(t.Context(), open, sel, feed.After(x.Floor()), n, n, n+1, visit)
		return err
	}
	nothing := func(*feed.Change) error { return nil }

	// While a row is read.
	floor := uint64(100)
	err := read(sel, open, func(c *feed.Change) error {
		if c.Seq == 1 {
			forget(floor)
		}
		return nil
	})
	if !errors.Is(err, listing.ErrPruned) {
		t.Errorf("floor %d: %v", floor, err)
	}
	// At the last row of all.
	err = read(sel, open, func(c *feed.Change) error {
		if c.Seq == n {
			forget(n)
		}
		return nil
	})
	if !errors.Is(err, listing.ErrPruned) {
		t.Errorf("floor %d: %v", n, err)
	}
	if err := read(sel, open, nothing); err != nil {
		t.Errorf("nothing to read at the floor: %v", err)
	}
}

// The same where no row is read, since the filter has none of them.
func TestFloorOvertakesNarrowFilter(t *testing.T) {
	const n = 700
	x := openIndex(t, t.TempDir())
	logRows(t, x, n)
	opened := 0
	open := func(seq uint64) (feed.Snapshot, error) {
		if opened++; opened == 3 { // behind the first entries
			if err := x.AdvanceFloor(400); err != nil {
				return nil, err
			}
		}
		return x.View(seq)
	}
	sel := listing.Selector{Tenant: "t", Kinds: []events.Kind{events.KindUser}, EntID: "none"}
	_, err := feed.Changes(t.Context(), open, sel, feed.After(0), n, n, n+1, func(*feed.Change) error { return nil })
	if !errors.Is(err, listing.ErrPruned) {
		t.Errorf("%v after %d snapshots", err, opened)
	}
}

// logRows makes n assignments, one at each sequence.
func logRows(t *testing.T, x *index, n int) {
	t.Helper()
	batch := x.NewBatch(nil)
	var last message
	for i := range n {
		last = message{events.Message{
			Subject: "assignments.t.hr", Header: map[string][]string{events.TypeHeader: {"assignment.upserted"}},
			Data: fmt.Appendf(nil, `{"usr_id":"u","ent_id":"%d"}`, i),
		}, modeltest.Moment{Seq: uint64(i + 1), Nano: int64(i + 1)}}
		apply(t, batch, last)
	}
	if err := batch.Commit(watermark(last)); err != nil {
		t.Fatal(err)
	}
}
