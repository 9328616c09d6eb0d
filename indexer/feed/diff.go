package feed

import (
	"context"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
)

// Diff visits the assignments that differ between two sequences as a filter sees
// them, each once, in the order of their last changes in between: Before is the row
// at the lower sequence, which must not be below the floor, After the one at upto.
// It visits at most limit of them from a place on, and looks at no more than budget
// changes. A new listing begins at After(lower).
func Diff(
	ctx context.Context, open Open, sel listing.Selector, lower uint64, from Place, upto uint64, limit, budget int, visit func(*Change) error,
) (Page, error) {
	then, err := open(lower)
	if err != nil {
		return Page{}, err
	}
	defer then.Close()
	now, err := open(upto)
	if err != nil {
		return Page{}, err
	}
	defer now.Close()
	page, err := read(ctx, open, sel, from, upto, limit, budget, func(r *reader, l keys.Logged, c *Change) (bool, error) {
		last, err := lastChange(now, l.Make(keys.ByAssignee))
		if err != nil || last != c.Seq {
			return false, err // told at its last change
		}
		if c.Before, err = r.row(then, l); err != nil {
			return false, err
		}
		if c.After, err = r.row(now, l); err != nil || (c.Before == nil && c.After == nil) {
			return false, err
		}
		if c.Before != nil && c.After != nil && c.Before.Row.SameAs(&c.After.Row) && c.Before.Created == c.After.Created {
			return false, nil // changed and changed back
		}
		return true, visit(c)
	})
	if err != nil {
		return page, err
	}
	return page, then.Check()
}

// lastChange gives the sequence of the last change of an assignment, 0 when it has
// never been there. Undoing after a crash leaves versions that repeat the one
// before and are no changes.
func lastChange(src Snapshot, key []byte) (seq uint64, err error) {
	err = eachVersion(src, key, func(v version) bool {
		seq = v.seq
		return false
	})
	return seq, err
}
