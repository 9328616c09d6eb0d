package events

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits on what the index accepts. An event beyond them is quarantined.
const (
	// MaxIDBytes is the length of the longest id, in bytes of UTF-8.
	MaxIDBytes = 1024
	// MaxEventBytes is the size of the largest message body, in bytes.
	MaxEventBytes = 256 << 10
	// MaxDepth is how deep arrays and objects of an upsert's data may be nested.
	MaxDepth = 1000
	// MaxElements is how many reasons, or rights, one assignment may have.
	MaxElements = 10_000
	// MaxTenantBytes is the length of the longest tenant name, in bytes.
	MaxTenantBytes = 64
)

// Type says what an event does to which kind of record.
type Type string

// The event types. An upsert replaces the whole record. QuarantineDropped is about
// no record: it is how operators settle a message that could not be applied.
const (
	AssignmentUpserted  Type = "assignment.upserted"
	AssignmentRevoked   Type = "assignment.revoked"
	UserUpserted        Type = "user.upserted"
	UserDeleted         Type = "user.deleted"
	GroupUpserted       Type = "group.upserted"
	GroupDeleted        Type = "group.deleted"
	EntitlementUpserted Type = "entitlement.upserted"
	EntitlementDeleted  Type = "entitlement.deleted"
	ApplicationUpserted Type = "application.upserted"
	ApplicationDeleted  Type = "application.deleted"
	QuarantineDropped   Type = "quarantine.dropped"
)

// Types lists every event type, in the order of the documentation.
var Types = []Type{
	AssignmentUpserted, AssignmentRevoked,
	UserUpserted, UserDeleted,
	GroupUpserted, GroupDeleted,
	EntitlementUpserted, EntitlementDeleted,
	ApplicationUpserted, ApplicationDeleted,
	QuarantineDropped,
}

// Known reports whether t is one of Types.
func (t Type) Known() bool {
	for _, k := range Types {
		if t == k {
			return true
		}
	}
	return false
}

// Removes reports whether t revokes or deletes, so that only the identity, the
// revision and the condition of its data count.
func (t Type) Removes() bool {
	return strings.HasSuffix(string(t), ".revoked") || strings.HasSuffix(string(t), ".deleted")
}

// Kind is the kind of an assignee. Its order is the order of listings.
type Kind uint8

// The kinds of assignee. The zero Kind is none of them.
const (
	KindUser         Kind = 1
	KindGroup        Kind = 2
	KindDynamicGroup Kind = 3
	KindAll          Kind = 4 // everyone in the tenant; its assignee id is empty
)

// Kinds lists every kind in the order of listings.
var Kinds = []Kind{KindUser, KindGroup, KindDynamicGroup, KindAll}

var kindNames = map[Kind]string{
	KindUser: "USER", KindGroup: "GROUP", KindDynamicGroup: "DYNAMIC_GROUP", KindAll: "ALL",
}

// String gives the kind's name in events and answers, such as "USER".
func (k Kind) String() string {
	if n, ok := kindNames[k]; ok {
		return n
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind reads a kind's name. It reports false for any other text.
func ParseKind(name string) (Kind, bool) {
	for _, k := range Kinds {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// Assignee is who holds an assignment: a user, a group, or everyone.
type Assignee struct {
	Kind Kind
	ID   string // empty for KindAll, otherwise 1 to MaxIDBytes bytes
}

// Condition makes an event do nothing unless it holds just before the event.
type Condition string

// The conditions of the field "if". The empty Condition always holds.
const (
	IfAbsent  Condition = "absent"  // the record must not exist
	IfPresent Condition = "present" // the record must exist
)

// Event is one decoded message: what to do, to which record. Exactly one of the
// pointers to a record or a drop is set, the one that Type names.
type Event struct {
	Type     Type
	Tenant   string    // from the subject, never from the body
	ID       string    // CloudEvents id; empty for a bare body
	Source   string    // CloudEvents source; empty for a bare body
	If       Condition // empty: always
	Revision *int64    // nil: applies whatever the guard, and leaves it

	Assignment  *Assignment
	User        *User
	Group       *Group
	Entitlement *Entitlement
	Application *Application
	Drop        *Drop
}

// Assignment is the data of assignment.upserted. For assignment.revoked only
// Assignee and EntID are set.
type Assignment struct {
	Assignee      Assignee
	EntID         string
	AppID         string   // the event's own application; empty: the entitlement's
	Score         *float64 // 0 to 1; nil: not scored
	Justification []Reason
	Rights        []Right
	Params        []Param // sorted by name
	ValidFrom     string  // RFC 3339 as sent; empty: none
	ValidUntil    string  // RFC 3339 as sent; empty: none
	Attributes    jsontext.Value
}

// Reason is one user attribute that led to a score. It holds nothing else: other
// members of its object are not kept.
type Reason struct {
	ID    string         `json:"id"`
	Title string         `json:"title"`
	Value jsontext.Value `json:"value"` // a string, number, boolean or null
}

// Right is one right of the application that an assignment carries. It holds
// nothing else: other members of its object are not kept.
type Right struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Param is one parameter of an assignment. Its value may be a secret.
type Param struct {
	Name  string
	Value jsontext.Value
}

// User is the data of user.upserted; user.deleted sets only UsrID.
type User struct {
	UsrID        string         `json:"usr_id"`
	UsrName      string         `json:"usr_name,omitzero"`
	Email        string         `json:"email,omitzero"`
	UsrManagerID string         `json:"usr_manager_id,omitzero"`
	GrpID        string         `json:"grp_id,omitzero"` // the group or customer it belongs to
	Attributes   jsontext.Value `json:"attributes,omitzero"`
}

// Group is the data of group.upserted; group.deleted sets only GrpID.
type Group struct {
	GrpID      string         `json:"grp_id"`
	GrpName    string         `json:"grp_name,omitzero"`
	Attributes jsontext.Value `json:"attributes,omitzero"`
}

// Entitlement is the data of entitlement.upserted; entitlement.deleted sets only EntID.
type Entitlement struct {
	EntID        string         `json:"ent_id"`
	EntName      string         `json:"ent_name,omitzero"`
	Description  string         `json:"description,omitzero"`
	EntType      string         `json:"ent_type,omitzero"` // role or permission
	SubType      string         `json:"sub_type,omitzero"` // regular or dynamic
	Category     string         `json:"category,omitzero"`
	ExtRef       string         `json:"ext_ref,omitzero"`
	EntOwnerID   string         `json:"ent_owner_id,omitzero"`
	AppID        string         `json:"app_id,omitzero"`
	SecretParams []string       `json:"secret_params,omitzero"` // sorted, without repeats
	Attributes   jsontext.Value `json:"attributes,omitzero"`
}

// Application is the data of application.upserted; application.deleted sets only AppID.
type Application struct {
	AppID      string         `json:"app_id"`
	AppName    string         `json:"app_name,omitzero"`
	AppType    string         `json:"app_type,omitzero"`
	AppOwnerID string         `json:"app_owner_id,omitzero"`
	Attributes jsontext.Value `json:"attributes,omitzero"`
}
