package query

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// historyBody is a request for a history as it is sent.
type historyBody struct {
	Cursor   *string        `json:"cursor"`
	PageSize jsontext.Value `json:"pageSize"`
	UsrID    *string        `json:"usr_id"`
	GrpID    *string        `json:"grp_id"`
	Type     *string        `json:"type"`
	EntID    *string        `json:"ent_id"`
	AsOf     jsontext.Value `json:"as_of"`
	AtLeast  jsontext.Value `json:"at_least"`
	Include  jsontext.Value `json:"include"`
}

const historyFields = "cursor, pageSize, usr_id, grp_id, type, ent_id, as_of, at_least and include"

// ParseHistory reads the body of a request to History. Every error is an *Error.
func ParseHistory(data []byte, maxPageSize int) (Request, error) {
	var b historyBody
	if err := ParseObject(data, &b, historyFields); err != nil {
		return Request{}, err
	}
	shared := body{
		Cursor: b.Cursor, PageSize: b.PageSize, UsrID: b.UsrID, GrpID: b.GrpID, Type: b.Type, EntID: b.EntID,
		AsOf: b.AsOf, AtLeast: b.AtLeast, Include: b.Include,
	}
	return shared.request(maxPageSize)
}

// identity gives the one assignment that a selection is of.
func (r *Request) identity(sel listing.Selector) (listing.Position, error) {
	at := listing.Position{Assignee: events.Assignee{Kind: sel.Kinds[0], ID: sel.AssigneeID}, EntID: sel.EntID}
	switch {
	case len(sel.Kinds) > 1:
		return at, invalidField("type", "must be GROUP or DYNAMIC_GROUP beside grp_id: a history is of one assignment")
	case at.Assignee.Kind == events.KindUser && r.UsrID == "":
		return at, invalidField("usr_id", "must be given, or grp_id with type GROUP or DYNAMIC_GROUP, or type ALL: a history is of one assignment")
	case at.Assignee.Kind != events.KindUser && at.Assignee.Kind != events.KindAll && r.GrpID == "":
		return at, invalidField("grp_id", "must be given with type GROUP and DYNAMIC_GROUP: a history is of one assignment")
	case r.EntID == "":
		return at, invalidField("ent_id", "must be given: a history is of one assignment")
	default:
		return at, nil
	}
}

// Version is what one assignment was from an event on. It is valid until visit
// returns.
type Version struct {
	Seq  uint64
	Time time.Time // of the event, as the stream's server stamped it, in UTC
	Row  rows.Face // as a listing tells it; nil: the event revoked it
}

// History visits the versions of one page of one assignment's history, the newest
// first: those in the history window up to the last applied sequence or AsOf. What
// was visited before an error must not be believed; the error and the Page are as
// those of Lister.Page.
func (l *Lister) History(ctx context.Context, tenant string, req *Request, visit func(*Version)) (Page, error) {
	page := l.Place()
	if err := page.of(req.Stream); err != nil {
		return page, err
	}
	sel, err := req.selector(tenant, l.opts.Levels)
	if err != nil {
		return page, err
	}
	at, err := req.identity(sel)
	if err != nil {
		return page, err
	}
	limit, err := req.pageSize(l.opts.MaxPageSize)
	if err != nil {
		return page, err
	}
	next := feedCursor{version: historyVersion, stream: page.Stream, query: feedHash(historyVersion, queryHash(sel, req.AsOf))}
	asOf := req.AsOf
	if req.Cursor != "" {
		if err := next.open(req.Cursor); err != nil {
			return page, err
		}
		asOf = &AsOf{Seq: next.to}
	}
	seq, err := l.reach(ctx, &page, req.AtLeast, asOf)
	if err != nil {
		return page, err
	}
	if req.Cursor == "" {
		next.from, next.to, next.at = seq, seq, feed.Place{Seq: seq}
	}
	v := versions{visit: visit, room: maxPageBytes}
	more, err := l.index.History(ctx, sel, at, next.at.Seq, limit, v.version)
	if now, err := l.Still(page); err != nil {
		return now, err
	}
	if errors.Is(err, feed.ErrEnough) {
		more, err = true, nil
	}
	if err != nil {
		return page, l.readError(err, next.at.Seq)
	}
	page.Seq = seq
	if more {
		next.at = feed.Place{Seq: v.last - 1}
		page.Cursor = next.encode()
	}
	return page, nil
}

// versions passes on the versions that fit into a page.
type versions struct {
	visit func(*Version)
	room  int    // bytes that the page has left
	last  uint64 // the last version that was passed on; 0: none
}

func (p *versions) version(v *feed.Version) (err error) {
	told := Version{Seq: v.Seq, Time: time.Unix(0, v.Nano).UTC()}
	if v.Row != nil {
		if told.Row, err = tell(v.Row); err != nil {
			return err
		}
	}
	if len(told.Row) > p.room && p.last > 0 {
		return feed.ErrEnough
	}
	p.room -= len(told.Row)
	p.last = v.Seq
	p.visit(&told)
	return nil
}
