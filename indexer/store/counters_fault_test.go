package store_test

import (
	"errors"
	"fmt"
	"testing"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// constant is the timestamp of counters and of the mark that they count.
const constant = 1

// spoil writes a key behind the store's back; a nil value deletes it.
func (x *index) spoil(key, value []byte) {
	x.t.Helper()
	txn := x.Badger().NewTransactionAt(constant, true)
	defer txn.Discard()
	err := txn.Set(key, value)
	if value == nil {
		err = txn.Delete(key)
	}
	if err := errors.Join(err, txn.CommitAt(constant, nil)); err != nil {
		x.t.Fatal(err)
	}
}

// counted is an index with two assignments of users, in one application.
func counted(t *testing.T) *index {
	t.Helper()
	x := openIndex(t, t.TempDir())
	applyRecords(t, x.Store, `assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"a","score":0.9}`, `assignment.upserted {"usr_id":"v","ent_id":"e","app_id":"a"}`)
	if err := x.CheckCounters(); err != nil {
		t.Fatal(err)
	}
	return x
}

// faults are counters that do not agree with the rows.
var faults = map[string]struct {
	scope keys.Scope
	id    string
	kind  events.Kind
	value []byte
}{
	"one too many":          {keys.OfTenant, "", events.KindUser, rows.Counts{rows.High: 1, rows.Unscored: 2}.Encode()},
	"of another level":      {keys.OfEntitlement, "e", events.KindUser, rows.Counts{rows.Medium: 1, rows.Unscored: 1}.Encode()},
	"missing":               {keys.OfApplication, "a", events.KindUser, nil},
	"of nothing":            {keys.OfApplication, "gone", events.KindUser, rows.Counts{rows.Low: 1}.Encode()},
	"of nothing, and none":  {keys.OfEntitlement, "gone", events.KindGroup, rows.Counts{}.Encode()},
	"not one of this index": {keys.OfTenant, "", events.KindUser, []byte("x")},
}

// The check of the counters finds every fault, or it would prove nothing.
func TestCheckCountersFindsFaults(t *testing.T) {
	for name, f := range faults {
		x := counted(t)
		x.spoil(keys.Counter("t", f.scope, f.id, f.kind), f.value)
		if err := x.CheckCounters(); err == nil {
			t.Errorf("a counter that is %s passes", name)
		}
	}
	x := counted(t)
	x.spoil(keys.Counter("t", keys.OfTenant, "", events.KindUser), []byte("x"))
	if _, _, err := x.Counts("t", keys.OfTenant, "", events.Kinds); !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("a corrupt counter: %v", err)
	}
}

// A count that a crash interrupted is done again at the next open, whatever it
// left, and the counters go on from there.
func TestInterruptedCountIsRepeated(t *testing.T) {
	for _, mark := range []string{`{"thresholds":{"high":0.75,"medium":0.35},"valid":false}`, `{"thresholds":{"high":0.8,"medium":0.35},"valid":true}`, ""} {
		x := counted(t)
		for _, f := range faults {
			x.spoil(keys.Counter("t", f.scope, f.id, f.kind), f.value)
		}
		if mark == "" { // an index from before there were counters
			x.spoil(keys.Meta("counting"), nil)
		} else {
			x.spoil(keys.Meta("counting"), []byte(mark))
		}
		x.reopen()
		wantCounts(t, x.Store, keys.OfTenant, "", rows.Counts{rows.High: 1, rows.Unscored: 1})
		wantCounts(t, x.Store, keys.OfApplication, "gone", rows.Counts{})
		applyRecords(t, x.Store, `assignment.upserted {"usr_id":"v","ent_id":"e","app_id":"a","score":0.1}`)
		wantCounts(t, x.Store, keys.OfApplication, "a", rows.Counts{rows.High: 1, rows.Low: 1})
		x.reopen()
		wantCounts(t, x.Store, keys.OfApplication, "a", rows.Counts{rows.High: 1, rows.Low: 1})
	}
}

func TestCorruptMarkOfCountersIsRefused(t *testing.T) {
	x := counted(t)
	x.spoil(keys.Meta("counting"), []byte("{"))
	x.close()
	st, err := store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop()})
	if !errors.Is(err, rows.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if err == nil {
		t.Error(st.Close())
	}
	// The directory is let go of.
	db, err := badger.OpenManaged(badger.DefaultOptions(x.dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// What is counted while events are applied is true at the sequence that comes with
// it: every event here adds one user's assignment and one group's.
func TestCountsWhileEventsAreApplied(t *testing.T) {
	x := openIndex(t, t.TempDir())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 150 {
			applyRecords(t, x.Store, fmt.Sprintf(`assignment.upserted {"usr_id":"u%d","ent_id":"e"}`, i), fmt.Sprintf(`assignment.upserted {"type":"GROUP","grp_id":"g%d","ent_id":"e"}`, i))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got, at, err := x.Counts("t", keys.OfEntitlement, "e", events.Kinds)
		if err != nil || uint64(got.Total()) != at.Seq {
			t.Fatalf("%v at %d, %v", got, at.Seq, err)
		}
	}
}
