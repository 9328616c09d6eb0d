package semaphor

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

// What stands before and behind the items of an answer, which have commas between
// them.
const (
	Begin = `{"ok":true,"data":{"assignments":[`
	End   = `]}}`
)

// ScopeType says in Semaphor's terms who an assignment is for.
type ScopeType string

// The scope types.
const (
	AllTenants ScopeType = "ALL_TENANTS" // everyone in the project
	Tenant     ScopeType = "TENANT"      // a group, dynamic or not
	TenantUser ScopeType = "TENANT_USER" // a user that belongs to a group
	OrgUser    ScopeType = "ORG_USER"    // any other user, one that is not known among them
)

// Item is an assignment with all that an answer tells of it. Entities are nil when
// they are not known.
type Item struct {
	Project  string
	Assignee events.Assignee
	EntID    string
	AppID    string // the application that it is listed under; empty: none
	Params   rows.Params
	Created  time.Time
	Updated  time.Time

	User        *events.User  // of a user's assignment
	Group       *events.Group // of a group's assignment, and the one that a user belongs to
	Entitlement *events.Entitlement
	Application *events.Application
}

// ItemOf resolves an assignment of a project. The error is a fault of the index.
func ItemOf(project string, a *listing.Assignment) (Item, error) {
	i := Item{
		Project: project, Assignee: a.Assignee, EntID: a.EntID, AppID: a.AppID,
		Created: a.Created.Time(), Updated: a.Updated.Time(),
	}
	detail, err := a.Detail()
	if err != nil {
		return i, err
	}
	i.Params = detail.Params
	if i.User, err = a.User(); err != nil {
		return i, err
	}
	if i.Group, err = a.Group(); err != nil {
		return i, err
	}
	if i.Entitlement, err = a.Entitlement(); err != nil {
		return i, err
	}
	i.Application, err = a.Application()
	return i, err
}

// Scope gives the scope type.
func (i *Item) Scope() ScopeType {
	switch {
	case i.Assignee.Kind == events.KindAll:
		return AllTenants
	case i.Assignee.Kind != events.KindUser:
		return Tenant
	case i.User != nil && i.User.GrpID != "":
		return TenantUser
	default:
		return OrgUser
	}
}

// Append prints the item as one JSON object. The error is about a parameter that is
// no JSON.
func (i *Item) Append(b []byte) ([]byte, error) {
	scope := i.Scope()
	b, err := i.appendAssignment(append(b, `{"assignment":`...), scope)
	if err != nil {
		return b, err
	}
	b = i.appendDefinition(append(b, `,"definition":`...))
	b = i.appendConnection(append(b, `,"connection":`...))
	b = append(b, `,"orgUser":`...)
	if scope == OrgUser {
		b = append(i.appendUser(b), '}')
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"tenant":`...)
	if scope == Tenant {
		b = i.appendTenant(b, i.Assignee.ID)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"tenantUser":`...)
	if scope == TenantUser {
		b = i.appendUser(b)
		b = appendText(append(b, `,"tenantId":`...), i.User.GrpID)
		b = i.appendTenant(append(b, `,"tenant":`...), i.User.GrpID)
		b = append(b, '}')
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}'), nil
}

// appendAssignment prints who has what. Of the three ids of actors only that of the
// scope is set.
func (i *Item) appendAssignment(b []byte, scope ScopeType) ([]byte, error) {
	b = append(b, `{"id":"`...)
	b = assignmentcode.Append(b, i.Project, listing.Position{Assignee: i.Assignee, EntID: i.EntID})
	b = appendText(append(b, `","definitionId":`...), i.EntID)
	b = append(b, `,"scopeType":"`...)
	b = append(b, scope...)
	b = append(b, '"')
	for _, id := range [...]struct {
		member string
		scope  ScopeType
	}{{`,"orgUserId":`, OrgUser}, {`,"tenantId":`, Tenant}, {`,"tenantUserId":`, TenantUser}} {
		b = append(b, id.member...)
		if scope == id.scope {
			b = appendText(b, i.Assignee.ID)
		} else {
			b = append(b, "null"...)
		}
	}
	b = append(b, `,"params":`...)
	if len(i.Params) == 0 {
		b = append(b, "{}"...)
	} else {
		params, err := json.Marshal(i.Params, json.Deterministic(true))
		if err != nil {
			return b, err
		}
		b = append(b, params...)
	}
	b = appendTime(append(b, `,"createdAt":`...), i.Created)
	b = appendTime(append(b, `,"updatedAt":`...), i.Updated)
	return append(b, '}'), nil
}

func (i *Item) appendDefinition(b []byte) []byte {
	b = appendText(append(b, `{"id":`...), i.EntID)
	b = appendText(append(b, `,"projectId":`...), i.Project)
	var e events.Entitlement
	if i.Entitlement != nil {
		e = *i.Entitlement
	}
	b = appendKnown(append(b, `,"name":`...), e.EntName)
	return append(b, '}')
}

func (i *Item) appendConnection(b []byte) []byte {
	if i.AppID == "" {
		return append(b, "null"...)
	}
	var a events.Application
	if i.Application != nil {
		a = *i.Application
	}
	b = appendText(append(b, `{"id":`...), i.AppID)
	b = appendKnown(append(b, `,"name":`...), a.AppName)
	b = appendKnown(append(b, `,"type":`...), a.AppType)
	return append(b, '}')
}

// appendUser prints the user, without the brace at its end.
func (i *Item) appendUser(b []byte) []byte {
	var u events.User
	if i.User != nil {
		u = *i.User
	}
	b = appendText(append(b, `{"id":`...), i.Assignee.ID)
	b = appendKnown(append(b, `,"name":`...), u.UsrName)
	return appendKnown(append(b, `,"email":`...), u.Email)
}

func (i *Item) appendTenant(b []byte, id string) []byte {
	var g events.Group
	if i.Group != nil {
		g = *i.Group
	}
	b = appendText(append(b, `{"id":`...), id)
	b = appendKnown(append(b, `,"name":`...), g.GrpName)
	return append(b, '}')
}

// appendKnown prints a text, and null for the empty one, which is not known.
func appendKnown(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendText(b, s)
}

func appendText(b []byte, s string) []byte {
	// Events were checked to be UTF-8 when they were decoded.
	out, err := jsontext.AppendQuote(b, s)
	if err != nil {
		return append(b, `""`...)
	}
	return out
}

func appendTime(b []byte, t time.Time) []byte {
	b = t.AppendFormat(append(b, '"'), time.RFC3339Nano)
	return append(b, '"')
}
