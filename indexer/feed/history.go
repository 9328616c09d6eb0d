package feed

import (
	"context"
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
// time of the event that made it so. It reports whether there are more versions;
// they are those up to one less than the last sequence that was visited.
func History(
	ctx context.Context, open Open, sel listing.Selector, at listing.Position, upto uint64, limit int, visit func(*Version) error,
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
		var told Version
		if told, visitErr = v.told(open, src, sel, at); visitErr == nil {
			visitErr = visit(&told)
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

// told gives the version with the time of its event, which a row knows and the log
// knows of a revocation. Details are those at the version's sequence, or at the
// floor when that is above it.
func (v version) told(open Open, src Snapshot, sel listing.Selector, at listing.Position) (Version, error) {
	if v.row != nil {
		return Version{Seq: v.seq, Nano: v.row.Updated.Nano, Row: &Row{Row: *v.row, src: src, sel: sel, at: at}}, nil
	}
	entries, err := logged(src, sel.Tenant, Place{Seq: v.seq}, v.seq, 1)
	if err != nil {
		return Version{}, err
	}
	if len(entries) == 0 {
		return Version{}, fmt.Errorf("sequence %d revoked an assignment and is not in the change log: %w", v.seq, rows.ErrCorrupt)
	}
	return Version{Seq: v.seq, Nano: entries[0].Nano}, nil
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
