package feed

import (
	"context"
	"errors"
	"fmt"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Snapshot is the index at one sequence.
type Snapshot interface {
	listing.DetailSource
	// Versions visits what a key held at the snapshot's sequence and before, the
	// newest first, with the sequence of each; a nil value is a deletion.
	Versions(key []byte, visit func(seq uint64, value []byte) (more bool)) error
	// Check returns listing.ErrPruned when the floor has passed the sequence.
	Check() error
	Close()
}

// Open opens the index at a sequence. It returns listing.ErrPruned and
// listing.ErrAhead.
type Open func(seq uint64) (Snapshot, error)

// Place is a place in the change log: before the change with this number of this
// sequence. Number 0 is before all of the sequence.
type Place = keys.Change

// After is the place behind every change of a sequence.
func After(seq uint64) Place { return Place{Seq: seq + 1} }

// Change is a net change of one assignment by one event, as a filter sees it. It is
// valid until visit returns.
type Change struct {
	Seq           uint64
	Nano          int64 // time of the event, Unix nanoseconds
	Next          Place // behind this change
	Identity      listing.Position
	Before, After *Row // nil: it was not there, or outside the filter
}

// Row is an assignment before or after a change.
type Row struct {
	rows.Row
	src listing.DetailSource
	sel listing.Selector
	at  listing.Position
}

// Told gives the row as a listing tells it, with what the selector includes.
func (r *Row) Told() (rows.Face, error) { return listing.Told(r.src, r.sel, r.at, r.Row) }

// ErrEnough is what visit returns to end a page before the change that it was
// given. It is not an error of the page, whose Next is that change.
var ErrEnough = errors.New("the page is full")

// Page says how far a read of the log came.
type Page struct {
	Next Place // where to go on
	More bool  // there is more to read up to the sequence that the read was to end at
}

// Changes visits at most limit changes from a place on, up to and with the
// sequence upto, and looks at no more than budget changes for them.
func Changes(
	ctx context.Context, open Open, sel listing.Selector, from Place, upto uint64, limit, budget int, visit func(*Change) error,
) (Page, error) {
	return read(ctx, open, sel, from, upto, limit, budget, func(r *reader, l keys.Logged, c *Change) (bool, error) {
		err := r.move(c.Seq)
		if err != nil {
			return false, err
		}
		if c.Before, err = r.row(r.before, l); err != nil {
			return false, err
		}
		if c.After, err = r.row(r.at, l); err != nil || (c.Before == nil && c.After == nil) {
			return false, err
		}
		return true, visit(c)
	})
}

// entry is a change as the log has it.
type entry struct {
	place Place
	keys.Logged
}

// batch is how many entries are read from the log at a time.
const batch = 256

// read goes through the log. take is given the reader at the sequence of each
// change that the identity in the selector allows, and tells whether it counts for
// the limit.
func read(
	ctx context.Context, open Open, sel listing.Selector, from Place, upto uint64, limit, budget int,
	take func(r *reader, l keys.Logged, c *Change) (bool, error),
) (Page, error) {
	log, err := open(upto)
	if err != nil {
		return Page{}, err
	}
	defer log.Close()
	r := &reader{open: open, sel: sel}
	page, err := r.read(ctx, log, from, upto, limit, budget, take)
	if closeErr := r.close(); err == nil {
		err = closeErr
	}
	return page, err
}

func (r *reader) read(
	ctx context.Context, log Snapshot, from Place, upto uint64, limit, budget int,
	take func(r *reader, l keys.Logged, c *Change) (bool, error),
) (Page, error) {
	for {
		// One more than are taken: whether a change is the last of its sequence is
		// known by the next one.
		entries, err := logged(log, r.sel.Tenant, from, upto, min(batch, budget)+1)
		if err == nil {
			err = r.reach(from)
		}
		if err != nil {
			return Page{}, err
		}
		all := len(entries) <= min(batch, budget)
		for i, e := range entries {
			if !all && i == len(entries)-1 {
				break
			}
			if limit == 0 {
				return Page{Next: from, More: true}, nil
			}
			if err := ctx.Err(); err != nil {
				return Page{}, err
			}
			before := from
			from = Place{Seq: e.place.Seq, N: e.place.N + 1}
			if i+1 == len(entries) || entries[i+1].place.Seq != e.place.Seq {
				from = After(e.place.Seq)
			}
			budget--
			at := listing.Position{Assignee: e.Assignee, EntID: e.EntID}
			if !r.sel.Contains(at) {
				continue
			}
			took, err := take(r, e.Logged, &Change{Seq: e.place.Seq, Nano: e.Nano, Next: from, Identity: at})
			if errors.Is(err, ErrEnough) {
				return Page{Next: before, More: true}, nil
			}
			if err != nil {
				return Page{}, err
			}
			if took {
				limit--
			}
		}
		if all {
			return Page{Next: After(upto)}, nil
		}
		if budget <= 0 {
			return Page{Next: from, More: true}, nil
		}
	}
}

// logged gives at most limit entries of the log from a place on.
func logged(log Snapshot, tenant string, from Place, upto uint64, limit int) (entries []entry, err error) {
	var parseErr error
	err = log.Walk(keys.Prefix(nil, keys.ChangeTag, tenant), keys.ChangeOf(tenant, from), func(key, value []byte, _ int) bool {
		if value == nil {
			return true
		}
		var e entry
		if _, e.place, parseErr = keys.ParseChange(key); parseErr != nil || e.place.Seq > upto {
			return false
		}
		if e.Logged, parseErr = keys.ParseLogged(tenant, value); parseErr != nil {
			return false
		}
		entries = append(entries, e)
		return len(entries) < limit
	})
	if err == nil && parseErr != nil {
		err = fmt.Errorf("change log: %w", parseErr)
	}
	return entries, err
}

// reader holds the index just before an event and at it.
type reader struct {
	open       Open
	sel        listing.Selector
	seq        uint64
	before, at Snapshot
}

// reach returns listing.ErrPruned when the floor has passed a place: what was read
// of the log from there on may lack changes, which are removed up to the floor.
func (r *reader) reach(from Place) error {
	src, err := r.open(from.Seq - 1)
	if err == nil {
		src.Close()
	}
	return err
}

// close releases the index. It returns listing.ErrPruned when the floor has passed
// it, so that the rows that were read may not be right.
func (r *reader) close() (err error) {
	if r.at != nil {
		err = r.before.Check()
		r.at.Close()
		r.before.Close()
		r.at, r.before = nil, nil
	}
	return err
}

// move opens the index around the event of a sequence.
func (r *reader) move(seq uint64) (err error) {
	if r.at != nil && r.seq == seq {
		return nil
	}
	if err := r.close(); err != nil {
		return err
	}
	before, err := r.open(seq - 1)
	if err != nil {
		return err
	}
	at, err := r.open(seq)
	if err != nil {
		before.Close()
		return err
	}
	r.seq, r.before, r.at = seq, before, at
	return nil
}

// row gives an assignment as the filter sees it, nil when there is none.
func (r *reader) row(src Snapshot, l keys.Logged) (*Row, error) {
	value, err := src.Get(l.Make(keys.ByAssignee))
	if err != nil || value == nil {
		return nil, err
	}
	row, err := rows.DecodeRow(value)
	if err != nil {
		return nil, err
	}
	if !r.sel.Picks(&row) {
		return nil, nil
	}
	return &Row{Row: row, src: src, sel: r.sel, at: listing.Position{Assignee: l.Assignee, EntID: l.EntID}}, nil
}
