package store_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// Counters have no snapshots: once a commit has failed they may be those of either
// sequence. They are refused until the next open, which knows.
func TestCountersAfterAFailedCommit(t *testing.T) {
	for _, done := range []bool{false, true} {
		t.Run(fmt.Sprint(done), func(t *testing.T) {
			x := counted(t)
			x.close()
			hook := func(at fault.Point, wasDone bool) error {
				if at == fault.Watermark && wasDone == done {
					return errFault
				}
				return nil
			}
			var err error
			if x.Store, err = store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop(), Fault: hook}); err != nil {
				t.Fatal(err)
			}
			before := x.Applied().Seq
			b := x.NewBatch(nil)
			row := rows.Row{}
			b.At(before + 1)
			if err := b.Changed(rows.Moment{Seq: before + 1}, keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: "w"}, EntID: "e"}, nil, &row); err != nil {
				t.Fatal(err)
			}
			if err := b.Commit(at(before + 1)); !errors.Is(err, errFault) || x.Applied().Seq != before {
				t.Fatalf("the commit gave %v, applied are %d", err, x.Applied().Seq)
			}
			if got, at, err := x.Counts("t", keys.OfTenant, "", events.Kinds); !errors.Is(err, errFault) {
				t.Errorf("counted %v at %d, %v", got, at.Seq, err)
			}
			x.reopen()
			want := uint64(2)
			if done {
				want++
			}
			if got, at, err := x.Counts("t", keys.OfTenant, "", events.Kinds); err != nil || got.Total() != int64(want) || at.Seq != before+want-2 {
				t.Errorf("after the next open: %v at %d, %v", got, at.Seq, err)
			}
		})
	}
}
