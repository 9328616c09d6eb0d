package ibmverify

import (
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

// assignment is one assignment of an answer. A member without a value is left out.
type assignment struct {
	Code        string         `json:"code"`
	Type        string         `json:"type"`
	User        *user          `json:"user,omitzero"`  // of an assignment of type USER
	Group       *group         `json:"group,omitzero"` // of one of the other types
	Entitlement entitlement    `json:"entitlement"`
	Score       *float64       `json:"score,omitzero"`
	CreatedAt   string         `json:"createdAt"`
	UpdatedAt   string         `json:"updatedAt"`
	Rights      []events.Right `json:"rights,omitempty"`
}

// user, group and entitlement have their codes alone where nothing else is known.
type user struct {
	Code  string `json:"code"`
	Name  string `json:"name,omitzero"`
	Email string `json:"email,omitzero"`
}

type group struct {
	Code string `json:"code"`
	Name string `json:"name,omitzero"`
}

type entitlement struct {
	Code        string `json:"code"`
	Name        string `json:"name,omitzero"`
	Description string `json:"description,omitzero"`
	Type        string `json:"type,omitzero"`
	SubType     string `json:"subType,omitzero"`
	Application string `json:"application,omitzero"`
	Category    string `json:"category,omitzero"`
	ExtRef      string `json:"extRef,omitzero"`
}

// appendAssignment prints an assignment.
func appendAssignment(b []byte, tenant string, a *listing.Assignment, withRights bool) ([]byte, error) {
	shown := assignment{
		Code:      codeOf(tenant, a),
		Type:      a.Assignee.Kind.String(),
		CreatedAt: a.Created.Time().Format(time.RFC3339Nano),
		UpdatedAt: a.Updated.Time().Format(time.RFC3339Nano),
	}
	var err error
	if a.Assignee.Kind == events.KindUser {
		shown.User, err = userOf(a)
	} else {
		shown.Group, err = groupOf(a)
	}
	if err != nil {
		return b, err
	}
	if shown.Entitlement, err = entitlementOf(a); err != nil {
		return b, err
	}
	if score, scored := a.Face.Score(); scored {
		shown.Score = &score
	}
	if withRights {
		detail, err := a.Detail()
		if err != nil {
			return b, err
		}
		shown.Rights = detail.Rights
	}
	object, err := json.Marshal(shown)
	return append(b, object...), err
}

func userOf(a *listing.Assignment) (*user, error) {
	shown := user{Code: a.Assignee.ID}
	u, err := a.User()
	if u != nil {
		shown.Name, shown.Email = u.UsrName, u.Email
	}
	return &shown, err
}

func groupOf(a *listing.Assignment) (*group, error) {
	shown := group{Code: a.Assignee.ID}
	g, err := a.Group()
	if g != nil {
		shown.Name = g.GrpName
	}
	return &shown, err
}

func entitlementOf(a *listing.Assignment) (entitlement, error) {
	shown := entitlement{Code: a.EntID}
	e, err := a.Entitlement()
	if e != nil {
		shown = entitlement{
			Code: a.EntID, Name: e.EntName, Description: e.Description, Type: e.EntType, SubType: e.SubType,
			Application: e.AppID, Category: e.Category, ExtRef: e.ExtRef,
		}
		if shown.SubType == "" {
			shown.SubType = defaultSubType
		}
	}
	return shown, err
}

// Rights adds the JSON of an assignment's rights to b and gives the extended
// buffer.
func Rights(b []byte, tenant string, a *listing.Assignment) ([]byte, error) {
	detail, err := a.Detail()
	if err != nil {
		return b, err
	}
	object, err := json.Marshal(struct {
		Code   string         `json:"code"`
		Rights []events.Right `json:"rights"`
	}{codeOf(tenant, a), detail.Rights})
	return append(b, object...), err
}
