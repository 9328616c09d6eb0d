package query

import (
	"context"
	"fmt"
	"math"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

const (
	// maxPageBytes bounds the rows of one page together: with the largest rows
	// that an event can make, the largest page would take gigabytes. The page ends
	// early instead, with a cursor. A single larger row is still a page.
	maxPageBytes = 16 << 20
	// chunkRows is how many rows are visited between looks at that bound.
	chunkRows = 512
	// detailedRows is the same for rows with details, each of which may bring as
	// many records of entities along.
	detailedRows = 32
)

// read visits at most limit rows after a position and gives the position to go on
// from, or nil when there are no more rows behind it. The budgets of rows that a
// test of scores drops, and of deleted ones, end the page early.
func (l *Lister) read(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position,
	limit int, visit func(rows.Face),
) (*listing.Position, error) {
	c := chunk{visit: visit, first: true}
	sel.Budget, sel.MaxPassed = l.opts.Budget, l.opts.MaxPassed
	for room := maxPageBytes; ; {
		c.rows, c.room, c.full = 0, room, false
		page, err := l.index.List(ctx, seq, sel, after, min(limit, rowsAtATime(sel)), c.row)
		if err == nil && c.corrupt {
			err = fmt.Errorf("list at sequence %d: %w", seq, rows.ErrCorrupt)
		}
		if err != nil {
			return nil, err
		}
		if c.full {
			if c.rows == 0 {
				return after, nil // the chunk before was the end of it
			}
			// Only the end of a listing names its position: end it at the row that still fitted.
			sel.Include = 0             // its details were told
			sel.MaxPassed = math.MaxInt // the rows up to it must be reached
			page, err = l.index.List(ctx, seq, sel, after, c.rows, func(rows.Face) {})
			return &page.Last, err
		}
		if !page.More {
			return nil, nil
		}
		limit -= page.Rows
		sel.Budget -= page.Read
		sel.MaxPassed -= page.Passed
		if limit == 0 || sel.MaxPassed <= 0 || (sel.Scores != nil && sel.Budget <= 0) {
			return &page.Last, nil
		}
		room = c.room
		after = &page.Last
	}
}

func rowsAtATime(sel listing.Selector) int {
	if sel.Include != 0 {
		return detailedRows
	}
	return chunkRows
}

// chunk takes the rows of one call of Index.List.
type chunk struct {
	visit   func(rows.Face)
	rows    int  // passed on
	room    int  // bytes that the page has left
	first   bool // no row of the page was passed on yet
	full    bool // a row did not fit: it and those behind it are left to the next page
	corrupt bool
}

func (c *chunk) row(f rows.Face) {
	if len(f) > c.room && !c.first {
		c.full = true
	}
	if c.full {
		return
	}
	if f.JSON() == nil {
		c.corrupt = true
		return
	}
	c.first = false
	c.rows++
	c.room -= len(f)
	c.visit(f)
}
