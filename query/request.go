package query

import (
	"fmt"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// DefaultPageSize is the size of a page when a request names none, in rows. A
// lower maximum takes its place.
const DefaultPageSize = 100

// Request asks for one page of assignments. Fields that are zero are absent, an
// absent filter selects everything.
type Request struct {
	Cursor   string // of the page before; empty: the first page
	PageSize int    // rows; 0: the default

	UsrID string
	GrpID string
	EntID string
	AppID string
	Type  string // the name of a kind of assignee

	MinScore *float64 // rows with at least this score; nil: any
	MaxScore *float64 // rows with at most this score; nil: any
	Scored   *bool    // rows with a score, or without one; nil: both
	Level    string   // rows of this level: high, medium or low; empty: any

	Include listing.Include // what rows tell beyond their identity, score and justification

	AsOf    *AsOf  // read the state of then; nil: at the last applied sequence
	AtLeast uint64 // wait until this sequence has been applied

	Stream string // the incarnation that the caller means; empty: whichever it is
}

// What a request can select without naming one kind. They are shared and must
// not be changed.
var (
	userKinds  = []events.Kind{events.KindUser}
	groupKinds = []events.Kind{events.KindGroup, events.KindDynamicGroup}
)

// selector checks the filters and gives what they select.
func (r *Request) selector(tenant string, levels rows.Thresholds) (listing.Selector, error) {
	sel := listing.Selector{Tenant: tenant, Kinds: userKinds, AssigneeID: r.UsrID, EntID: r.EntID, AppID: r.AppID}
	for _, id := range [...]struct{ field, value string }{
		{"usr_id", r.UsrID}, {"grp_id", r.GrpID}, {"ent_id", r.EntID}, {"app_id", r.AppID},
	} {
		if len(id.value) > events.MaxIDBytes || !utf8.ValidString(id.value) {
			return sel, invalidField(id.field, idRule)
		}
	}
	if r.UsrID != "" && r.GrpID != "" {
		return sel, &Error{ConflictingFields, "grp_id", "a row is of a user or of a group: send usr_id or grp_id, not both"}
	}
	if r.GrpID != "" {
		sel.AssigneeID, sel.Kinds = r.GrpID, groupKinds
	}
	var err error
	if sel.Scores, err = r.scores(levels); err != nil {
		return sel, err
	}
	sel.Include = r.Include
	if r.Type == "" {
		return sel, nil
	}
	kind, ok := events.ParseKind(r.Type)
	if !ok {
		return sel, invalidField("type", "must be USER, GROUP, DYNAMIC_GROUP or ALL, in capital letters")
	}
	if r.UsrID != "" && kind != events.KindUser {
		return sel, &Error{ConflictingFields, "type", "usr_id selects rows of type USER; leave type out"}
	}
	if r.GrpID != "" && kind != events.KindGroup && kind != events.KindDynamicGroup {
		return sel, &Error{ConflictingFields, "type", "grp_id selects rows of type GROUP or DYNAMIC_GROUP"}
	}
	sel.Kinds = events.Kinds[kind-1 : kind : kind]
	return sel, nil
}

var idRule = fmt.Sprintf("must be a string of 1 to %d bytes of UTF-8; leave the field out to list every one", events.MaxIDBytes)

// pageSize gives the number of rows that a page may have.
func (r *Request) pageSize(most int) (int, error) {
	if r.PageSize == 0 {
		return min(DefaultPageSize, most), nil
	}
	if r.PageSize < 1 || r.PageSize > most {
		return 0, badPageSize(most)
	}
	return r.PageSize, nil
}

func badPageSize(most int) *Error {
	return invalidField("pageSize", fmt.Sprintf("must be an integer from 1 to %d, the maximum of this server", most))
}

func invalidField(field, detail string) *Error { return &Error{InvalidField, field, detail} }
