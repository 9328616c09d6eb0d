package query

import (
	"context"
	"fmt"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// DefaultMaxCounted is how many rows one request counts where there is no counter,
// unless Options.MaxCounted says otherwise.
const DefaultMaxCounted = 1_000_000

// countChunk is how many rows are counted between looks at that bound.
const countChunk = 10_000

// ParseCount reads the part of a URL behind the question mark as a request to
// Count. Every error is an *Error.
func ParseCount(raw string) (Request, error) {
	var r Request
	var w When
	err := ParseParameters(raw, []Parameter{
		{"usr_id", &r.UsrID}, {"grp_id", &r.GrpID}, {"ent_id", &r.EntID}, {"app_id", &r.AppID}, {"type", &r.Type},
	}, &w)
	r.AsOf, r.AtLeast = w.AsOf, w.AtLeast
	return r, err
}

// Count gives the number of selected assignments by level. What is asked about
// the present of a tenant, an application or an entitlement comes from counters;
// everything else is counted, within a limit. Cursor, PageSize and Include of the
// request are of no matter. Errors and the Page are as those of Lister.Page.
func (l *Lister) Count(ctx context.Context, tenant string, req *Request) (rows.Counts, Page, error) {
	sel, err := req.selector(tenant, l.opts.Levels)
	if err != nil {
		return rows.Counts{}, l.Place(), err
	}
	sel.Include = 0
	page, err := l.Snapshot(ctx, When{AsOf: req.AsOf, AtLeast: req.AtLeast, Stream: req.Stream})
	if err != nil {
		return rows.Counts{}, page, err
	}
	seq := page.Seq
	if req.AsOf == nil {
		counts, at, ok, err := l.index.Counts(sel)
		if err != nil {
			return rows.Counts{}, page, err
		}
		if ok {
			page.Seq = at
			page, err = l.Still(page)
			return counts, page, err
		}
	}
	counts, err := l.countRows(ctx, seq, sel)
	if now, err := l.Still(page); err != nil {
		return rows.Counts{}, now, err
	}
	if err != nil {
		return rows.Counts{}, l.Place(), l.readError(err, seq)
	}
	page.Seq = seq
	return counts, page, nil
}

func (l *Lister) countRows(ctx context.Context, seq uint64, sel listing.Selector) (counts rows.Counts, err error) {
	var after *listing.Position
	for left := l.opts.MaxCounted; ; {
		limit := min(countChunk, left)
		sel.Budget, sel.MaxPassed = limit, left
		page, err := l.index.List(ctx, seq, sel, after, limit, func(f rows.Face) { counts[l.opts.Levels.Of(f)]++ })
		if err != nil {
			return counts, err
		}
		if !page.More {
			return counts, nil
		}
		if left -= page.Read + page.Passed; left <= 0 {
			return counts, &Error{TooManyRows, "", fmt.Sprintf(
				"more than %d rows would have to be counted; ask about the present of the tenant, an application or an entitlement",
				l.opts.MaxCounted)}
		}
		after = &page.Last
	}
}
