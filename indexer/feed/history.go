package feed

import (
	"context"
	"errors"
	"fmt"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Version is what one assignment was from an event on. It is valid until visit
// returns.
type Version struct {
	Seq  uint64
	Nano int64 // time of the event, Unix nanoseconds
	Row  *Row  // nil: the event revoked it
}

// History visits at most limit versions of the assignment that the selector
// includes details of, from the sequence upto back to the floor, the newest first.
// The last one is what it was at the floor, if it was there, with the sequence and
// time of the event that made it so. floor gives where that is, and may move while
// this reads. It reports whether there are more versions;
// they are those up to one less than the last sequence that was visited.
func History(
	ctx context.Context, open Open, floor func() uint64, sel listing.Selector, at listing.Position, upto uint64, limit int,
	visit func(*Version) error,
) (more bool, err error) {
	src, err := open(upto)
	if err != nil {
		return false, err
	}
	defer src.Close()
	key := keys.Row{Tenant: sel.Tenant, Assignee: at.Assignee, EntID: at.EntID}.Make(keys.ByAssignee)
	var visitErr error
	err = eachVersion(src, key, func(v version) bool {
		if visitErr = ctx.Err(); visitErr != nil {
			return false
		}
		if limit == 0 {
			more = true
			return false
		}
		limit--
		if v.row == nil {
			visitErr = v.revoked(open, src, sel.Tenant, visit)
		} else {
			visitErr = v.upserted(open, floor, sel, at, visit)
		}
		return visitErr == nil
	})
	if err == nil {
		err = visitErr
	}
	if err != nil {
		return false, err
	}
	return more, src.Check()
}

// version is a change of one assignment.
type version struct {
	seq uint64
	row *rows.Row // nil: revoked
}

// upserted visits a row, which knows its time. Details are those at the version's
// sequence, or at the floor when that is above it.
func (v version) upserted(
	open Open, floor func() uint64, sel listing.Selector, at listing.Position, visit func(*Version) error,
) error {
	lowest := floor()
	src, err := open(max(v.seq, lowest))
	for errors.Is(err, listing.ErrPruned) && floor() > lowest { // it has moved meanwhile
		lowest = floor()
		src, err = open(max(v.seq, lowest))
	}
	if err != nil {
		return err
	}
	defer src.Close()
	err = visit(&Version{Seq: v.seq, Nano: v.row.Updated.Nano, Row: &Row{Row: *v.row, src: src, sel: sel, at: at}})
	if err != nil || sel.Include == 0 {
		return err
	}
	return src.Check()
}

// revoked visits a revocation, the time of which only the log knows.
func (v version) revoked(open Open, src Snapshot, tenant string, visit func(*Version) error) error {
	entries, err := logged(src, tenant, Place{Seq: v.seq}, v.seq, 1)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		before, err := open(v.seq - 1)
		if err != nil {
			return err // the floor has passed it, and the log was removed
		}
		before.Close()
		return fmt.Errorf("sequence %d revoked an assignment and is not in the change log: %w", v.seq, rows.ErrCorrupt)
	}
	return visit(&Version{Seq: v.seq, Nano: entries[0].Nano})
}

// eachVersion visits the changes of one assignment, the newest first. Undoing after
// a crash writes again what a key held, at sequences above: such a version names an
// older event in its row, and a deletion of what was already deleted has no row
// before it.
func eachVersion(src Snapshot, key []byte, visit func(version) bool) error {
	var decodeErr error
	var revoked uint64 // the lowest deletion since the last row; 0: none
	last := ^uint64(0) // the last event that was visited
	more := true
	err := src.Versions(key, func(seq uint64, value []byte) bool {
		if value == nil {
			revoked = seq
			return true
		}
		row, err := rows.DecodeRow(value)
		if err != nil {
			decodeErr = err
			return false
		}
		if revoked > 0 {
			more = visit(version{seq: revoked})
			revoked = 0
		}
		if more && row.Updated.Seq < last {
			last = row.Updated.Seq
			more = visit(version{seq: last, row: &row})
		}
		return more
	})
	if err == nil {
		err = decodeErr
	}
	return err
}
