package client

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

// Page is one answer.
type Page struct {
	Assignments []Assignment
	Cursor      string // of the next page; empty: this was the last
	Seq         uint64 // the sequence of the snapshot
	Stream      string // the incarnation of the stream that Seq counts
	Raw         []byte // the answer as the server sent it
}

// Assignment is one row. UsrID is set for users, GrpID and Type for groups, and
// Type alone for everyone.
type Assignment struct {
	EntID         string   `json:"ent_id"`
	UsrID         string   `json:"usr_id,omitzero"`
	GrpID         string   `json:"grp_id,omitzero"`
	Type          string   `json:"type,omitzero"` // of users only where the request includes it
	Score         *float64 `json:"score"`         // 0 to 1; nil: not scored
	Justification []Reason `json:"justification"`

	Details

	Raw jsontext.Value `json:"-"` // the row as the server sent it
}

// Details are what a row tells where the request includes it. What was not included
// is zero, as is what the row does not have.
type Details struct {
	AppID       string                    `json:"app_id,omitzero"` // that the row is listed under
	Rights      []events.Right            `json:"rights,omitzero"`
	Params      map[string]jsontext.Value `json:"params,omitzero"`      // a value that may be a secret is "***"
	Attributes  map[string]jsontext.Value `json:"attributes,omitzero"`  // further fields of the event
	ValidFrom   string                    `json:"valid_from,omitzero"`  // a date or RFC 3339
	ValidUntil  string                    `json:"valid_until,omitzero"` // a date or RFC 3339
	CreatedAt   time.Time                 `json:"created_at,omitzero"`  // when the row came into the stream
	UpdatedAt   time.Time                 `json:"updated_at,omitzero"`  // when it last changed there
	User        *events.User              `json:"user,omitzero"`        // nil: not known
	Group       *events.Group             `json:"group,omitzero"`       // of a user's row the group that the user belongs to; nil: not known
	Entitlement *events.Entitlement       `json:"entitlement,omitzero"` // nil: not known
	Application *events.Application       `json:"application,omitzero"` // nil: not known
}

// Reason is a user attribute that led to a score.
type Reason struct {
	ID    string         `json:"id"`
	Title string         `json:"title"`
	Value jsontext.Value `json:"value"` // a string, number, boolean or null
}

// answer is what came with status 200.
type answer struct {
	header  http.Header
	content []byte
}

// place reads the headers that say where in the stream an answer stands.
func (a answer) place() (seq uint64, stream string, err error) {
	if seq, err = strconv.ParseUint(a.header.Get("Assigndex-Seq"), 10, 64); err != nil {
		return 0, "", malformed("header Assigndex-Seq", err)
	}
	if stream = a.header.Get("Assigndex-Stream"); stream == "" {
		return 0, "", malformed("it has no header Assigndex-Stream", nil)
	}
	return seq, stream, nil
}

func parsePage(a answer) (*Page, error) {
	var body struct {
		Cursor      jsontext.Value   `json:"cursor"` // null is the end, absent is not
		Assignments []jsontext.Value `json:"assignments"`
	}
	if err := json.Unmarshal(a.content, &body); err != nil {
		return nil, malformed("it is no page of assignments", err)
	}
	if body.Assignments == nil {
		return nil, malformed("it has no assignments", nil)
	}
	page := &Page{Assignments: make([]Assignment, len(body.Assignments)), Raw: a.content}
	if body.Cursor.Kind() != 'n' {
		if err := json.Unmarshal(body.Cursor, &page.Cursor); err != nil || page.Cursor == "" {
			return nil, malformed("its cursor is neither a text nor null", err)
		}
	}
	for i, raw := range body.Assignments {
		row := &page.Assignments[i]
		if err := json.Unmarshal(raw, row); err != nil {
			return nil, malformed(fmt.Sprintf("row %d", i), err)
		}
		if row.EntID == "" || (row.UsrID == "" && row.Type == "") {
			return nil, malformed(fmt.Sprintf("row %d names no entitlement or nobody", i), nil)
		}
		row.Raw = raw
	}
	var err error
	if page.Seq, page.Stream, err = a.place(); err != nil {
		return nil, err
	}
	return page, nil
}
