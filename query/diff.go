package query

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/feed"
)

// DiffRequest asks for one page of differences between two states. AsOf of the
// filter is of no matter.
type DiffRequest struct {
	Filter Request
	From   AsOf
	To     *AsOf // nil: the last applied sequence
}

// diffBody is a DiffRequest as it is sent.
type diffBody struct {
	From     jsontext.Value `json:"from"`
	To       jsontext.Value `json:"to"`
	Cursor   *string        `json:"cursor"`
	PageSize jsontext.Value `json:"pageSize"`
	UsrID    *string        `json:"usr_id"`
	EntID    *string        `json:"ent_id"`
	AppID    *string        `json:"app_id"`
	GrpID    *string        `json:"grp_id"`
	Type     *string        `json:"type"`
	AtLeast  jsontext.Value `json:"at_least"`
	Include  jsontext.Value `json:"include"`
	MinScore jsontext.Value `json:"min_score"`
	MaxScore jsontext.Value `json:"max_score"`
	Scored   jsontext.Value `json:"scored"`
	Level    *string        `json:"level"`
}

const diffFields = "from, to, cursor, pageSize, usr_id, ent_id, app_id, grp_id, type, at_least, include, min_score, max_score, scored and level"

// ParseDiff reads the body of a request to Diff. Every error is an *Error.
func ParseDiff(data []byte, maxPageSize int) (r DiffRequest, err error) {
	var b diffBody
	if err := ParseObject(data, &b, diffFields); err != nil {
		return r, err
	}
	shared := body{
		Cursor: b.Cursor, PageSize: b.PageSize, UsrID: b.UsrID, EntID: b.EntID, AppID: b.AppID, GrpID: b.GrpID, Type: b.Type,
		AtLeast: b.AtLeast, Include: b.Include, MinScore: b.MinScore, MaxScore: b.MaxScore, Scored: b.Scored, Level: b.Level,
	}
	if r.Filter, err = shared.request(maxPageSize); err != nil {
		return r, err
	}
	from, ok := parseAsOf(b.From)
	if !ok {
		return r, invalidField("from", asOfRule)
	}
	if from == nil {
		return r, invalidField("from", "must be given: the sequence or instant to compare with")
	}
	r.From = *from
	if r.To, ok = parseAsOf(b.To); !ok {
		return r, invalidField("to", asOfRule)
	}
	return r, nil
}

// DiffPage says what was compared, and how the listing goes on.
type DiffPage struct {
	Page          // its Seq is To
	From   uint64 // the sequences that were compared
	Cursor string // of the next page; empty: this is the last one
}

// Diff visits the assignments of one page that differ between two sequences as the
// filter sees them, each once and in the order of their last changes. An assignment
// differs when anything about it does, told or not. What was visited before an
// error must not be believed; the error and the Page are as those of Lister.Page.
func (l *Lister) Diff(ctx context.Context, tenant string, req *DiffRequest, visit func(*Change)) (DiffPage, error) {
	page := DiffPage{Page: l.Place()}
	if err := page.of(req.Filter.Stream); err != nil {
		return page, err
	}
	sel, err := req.Filter.selector(tenant, l.opts.Levels)
	if err != nil {
		return page, err
	}
	limit, err := req.Filter.pageSize(l.opts.MaxPageSize)
	if err != nil {
		return page, err
	}
	next := feedCursor{version: diffVersion, stream: page.Stream, query: feedHash(diffVersion, queryHash(sel, &req.From), queryHash(sel, req.To))}
	if err := l.compare(ctx, &page, req, &next); err != nil {
		return page, err
	}
	p := pager{visit: visit, room: maxPageBytes, both: true}
	read, err := l.index.Diff(ctx, sel, next.from, next.at, next.to, limit, l.opts.Budget, p.change)
	if now, err := l.Still(page.Page); err != nil {
		return DiffPage{Page: now}, err
	}
	if err != nil {
		return page, l.readError(err, next.from)
	}
	page.From, page.Seq = next.from, next.to
	if read.More {
		next.at = read.Next
		page.Cursor = next.encode()
	}
	return page, nil
}

// compare chooses the sequences to compare, waiting for them when it must, and where
// to begin. It brings page up to date.
func (l *Lister) compare(ctx context.Context, page *DiffPage, req *DiffRequest, at *feedCursor) (err error) {
	from, to := req.From, req.To
	if req.Filter.Cursor != "" {
		if err := at.open(req.Filter.Cursor); err != nil {
			return err
		}
		from, to = AsOf{Seq: at.from}, &AsOf{Seq: at.to}
	}
	if to != nil && from.Instant == nil && to.Instant == nil && from.Seq > to.Seq {
		return backwards(from.Seq, to.Seq)
	}
	if at.from, err = l.reach(ctx, &page.Page, 0, &from); err != nil {
		return err
	}
	if at.to, err = l.reach(ctx, &page.Page, req.Filter.AtLeast, to); err != nil {
		return err
	}
	if at.from > at.to {
		return backwards(at.from, at.to)
	}
	if req.Filter.Cursor == "" {
		at.at = feed.After(at.from)
	}
	return nil
}

func backwards(from, to uint64) *Error {
	return &Error{ConflictingFields, "from", fmt.Sprintf("sequence %d comes after sequence %d, which to stands for", from, to)}
}
