package query

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// ChangesRequest asks for one page of changes. Of the filter, Cursor and AsOf are of
// no matter; PageSize is in changes.
type ChangesRequest struct {
	Filter   Request
	Since    Position
	Earliest bool // since the lowest sequence that can be read; Since is of no matter
	MaxBytes int  // of the rows of one page together; 0, or more than a page of rows may have: as that
}

const (
	sinceRule = "must be a position: a sequence, as digits; SEQ.N inside a sequence, as a page of changes has it in next; or earliest"
	limitRule = "must be an integer from 1 to %d, the maximum of this server"
)

var (
	changeNames = append(slices.Clone(filterNames), "since", "limit")
	watchNames  = append(slices.Clone(filterNames), "since")
)

// ParseChanges reads the part of a URL behind the question mark as a request to
// Changes. Every error is an *Error.
func ParseChanges(raw string, maxPageSize int) (r ChangesRequest, err error) {
	params, err := parameters(raw, changeNames...)
	if err != nil {
		return r, err
	}
	if r.Filter, err = filterParameters(params); err != nil {
		return r, err
	}
	since, given := params["since"]
	if !given {
		return r, invalidField("since", "must be given: where to go on, or earliest")
	}
	if err := r.since(since); err != nil {
		return r, err
	}
	if text, given := params["limit"]; given {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil || limit < 1 || limit > uint64(maxPageSize) {
			return r, invalidField("limit", fmt.Sprintf(limitRule, maxPageSize))
		}
		r.Filter.PageSize = int(limit)
	}
	return r, nil
}

// ParseWatch reads the part of a URL behind the question mark as a request to follow
// changes. It reports false when the request says not since when. Every error is an
// *Error.
func ParseWatch(raw string) (r ChangesRequest, since bool, err error) {
	params, err := parameters(raw, watchNames...)
	if err != nil {
		return r, false, err
	}
	if r.Filter, err = filterParameters(params); err != nil {
		return r, false, err
	}
	text, since := params["since"]
	if since {
		err = r.since(text)
	}
	return r, since, err
}

func (r *ChangesRequest) since(text string) error {
	if r.Earliest = text == "earliest"; r.Earliest {
		return nil
	}
	var ok bool
	if r.Since, ok = ParsePosition(text); !ok {
		return invalidField("since", sinceRule)
	}
	return nil
}

// Change is a change as a filter sees it, or a difference. It is valid until visit
// returns.
type Change struct {
	Seq  uint64
	Next Position // behind this change; not of a difference
	// Before and After are the row as a listing tells it; nil: it was not there, or
	// outside the filter. Changes gives Before only where there is no After.
	Before, After rows.Face
}

// ChangePage says how far a page of changes came.
type ChangePage struct {
	Page
	Next Position // where to go on
	More bool     // there is more to read up to the page's sequence
}

// Changes visits the changes of one page, in order. The page goes as far as its Seq,
// the last sequence that was applied when the request came. Changes to entities are
// not told unless they change the row itself. What was visited before an error must
// not be believed; the error and the Page are as those of Lister.Page.
func (l *Lister) Changes(ctx context.Context, tenant string, req *ChangesRequest, visit func(*Change)) (ChangePage, error) {
	sel, err := req.Filter.selector(tenant, l.opts.Levels)
	if err != nil {
		return ChangePage{Page: l.Place()}, err
	}
	limit, err := req.Filter.pageSize(l.opts.MaxPageSize)
	if err != nil {
		return ChangePage{Page: l.Place()}, err
	}
	page := ChangePage{}
	page.Page, err = l.Snapshot(ctx, When{AtLeast: req.Filter.AtLeast, Stream: req.Filter.Stream})
	if err != nil {
		return page, err
	}
	since, floor := req.Since, l.index.Floor()
	if req.Earliest {
		since = Position{Seq: floor}
	}
	if err := since.readable(floor, page.Seq); err != nil {
		return page, err
	}
	p := pager{visit: visit, room: maxPageBytes}
	if req.MaxBytes > 0 {
		p.room = min(p.room, req.MaxBytes)
	}
	read, err := l.index.Changes(ctx, sel, since.place(), page.Seq, limit, l.opts.Budget, p.change)
	if now, err := l.Still(page.Page); err != nil {
		return ChangePage{Page: now}, err
	}
	if err != nil {
		return page, l.readError(err, since.read())
	}
	page.Next, page.More = positionOf(read.Next), read.More
	return page, nil
}

// pager passes on the changes that fit into a page.
type pager struct {
	visit func(*Change)
	room  int // bytes that the page has left
	some  bool
	both  bool // tell the row before as well as the one after
}

func (p *pager) change(c *feed.Change) (err error) {
	told := Change{Seq: c.Seq, Next: positionOf(c.Next)}
	if c.After != nil {
		if told.After, err = tell(c.After); err != nil {
			return err
		}
	}
	if c.Before != nil && (p.both || c.After == nil) {
		if told.Before, err = tell(c.Before); err != nil {
			return err
		}
	}
	size := len(told.Before) + len(told.After)
	if size > p.room && p.some {
		return feed.ErrEnough
	}
	p.room -= size
	p.some = true
	p.visit(&told)
	return nil
}

func tell(r *feed.Row) (rows.Face, error) {
	face, err := r.Told()
	if err == nil && face.JSON() == nil {
		err = fmt.Errorf("a row of the change log: %w", rows.ErrCorrupt)
	}
	return face, err
}

// Feed is what is read of changes. It is part of Index.
type Feed interface {
	// Changes visits at most limit changes from a place on, up to and with a sequence,
	// and looks at no more than budget of them. It returns listing.ErrPruned when the
	// floor is above the place or passes it.
	Changes(ctx context.Context, sel listing.Selector, from feed.Place, upto uint64, limit, budget int,
		visit func(*feed.Change) error) (feed.Page, error)
	// Diff visits at most limit assignments that differ between two sequences, from a
	// place on, and looks at no more than budget changes.
	Diff(ctx context.Context, sel listing.Selector, lower uint64, from feed.Place, upto uint64, limit, budget int,
		visit func(*feed.Change) error) (feed.Page, error)
	// History visits at most limit versions of one assignment, the newest first, from a
	// sequence back to the floor, and reports whether there are more.
	History(ctx context.Context, sel listing.Selector, at listing.Position, upto uint64, limit int,
		visit func(*feed.Version) error) (more bool, err error)
}
