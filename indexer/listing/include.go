package listing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Include is a set of members that rows tell beyond their faces.
type Include uint16

// The members. Each is null, or empty where it is an array or object, when the
// row has none.
const (
	IncludeAppID Include = 1 << iota
	IncludeType
	IncludeRights
	IncludeParams
	IncludeAttributes
	IncludeValidFrom
	IncludeValidUntil
	IncludeCreatedAt
	IncludeUpdatedAt
	IncludeUser
	IncludeGroup // of a group's row that group, of a user's row the group that the user belongs to
	IncludeEntitlement
	IncludeApplication
)

// Members are the names of all members, in the order in which rows show them.
var Members = []struct {
	Name string
	Include
}{
	{"app_id", IncludeAppID},
	{"type", IncludeType},
	{"rights", IncludeRights},
	{"params", IncludeParams},
	{"attributes", IncludeAttributes},
	{"valid_from", IncludeValidFrom},
	{"valid_until", IncludeValidUntil},
	{"created_at", IncludeCreatedAt},
	{"updated_at", IncludeUpdatedAt},
	{"user", IncludeUser},
	{"group", IncludeGroup},
	{"entitlement", IncludeEntitlement},
	{"application", IncludeApplication},
}

// DetailSource is a Source that details are resolved from.
type DetailSource interface {
	Source
	// Get returns the value of a key, nil when absent.
	Get(key []byte) ([]byte, error)
	// Later visits the values that a key was given after the source's sequence.
	Later(key []byte, visit func(value []byte) error) error
}

// ListDetailed is List with the members that the selector includes added to the
// JSON of each face.
func ListDetailed(ctx context.Context, src DetailSource, sel Selector, after *Position, limit int, visit func(rows.Face)) (Page, error) {
	d := detailer{src: src, tenant: sel.Tenant, include: sel.Include, entities: make(map[string]jsontext.Value), secrets: make(map[string][]string)}
	return list(ctx, src, sel, after, limit, func(key, value []byte, face rows.Face) error {
		extended, err := d.extend(key, value, face)
		if err == nil {
			visit(extended)
		}
		return err
	})
}

// detailer resolves details for one call.
type detailer struct {
	src      DetailSource
	tenant   string
	include  Include
	entities map[string]jsontext.Value // by key; null: not known
	secrets  map[string][]string       // parameters declared secret after the source's sequence, by entitlement
	face     rows.Face                 // the last one made
}

func (d *detailer) extend(key, value []byte, face rows.Face) (rows.Face, error) {
	family, id, err := keys.ParseRow(key)
	if err != nil {
		return nil, err
	}
	if family != keys.ByAssignee {
		id.AppID = ""
		if value, err = d.src.Get(id.Make(keys.ByAssignee)); err != nil {
			return nil, err
		}
		if value == nil {
			return nil, fmt.Errorf("a row listed in family %q has no assignment: %w", family, rows.ErrCorrupt)
		}
	}
	row, err := rows.DecodeRow(value)
	if err != nil {
		return nil, err
	}
	detail, err := d.detail(id, row)
	if err != nil {
		return nil, err
	}
	d.face = append(d.face[:0], face[:len(face)-1]...) // without the brace at its end
	for _, m := range Members {
		if d.include&m.Include == 0 || (m.Include == IncludeType && id.Assignee.Kind != events.KindUser) {
			continue // rows of other kinds name their type in any case
		}
		v, err := d.member(m.Include, id, row, detail)
		if err != nil {
			return nil, err
		}
		d.face = append(d.face, `,"`...)
		d.face = append(d.face, m.Name...)
		d.face = append(d.face, `":`...)
		d.face = append(d.face, v...)
	}
	d.face = append(d.face, '}')
	return d.face, nil
}

// detail reads what is kept beside the face, with what was declared secret since
// masked as well.
func (d *detailer) detail(id keys.Row, row rows.Row) (rows.Detail, error) {
	const inDetail = IncludeRights | IncludeParams | IncludeAttributes | IncludeValidFrom | IncludeValidUntil
	if d.include&inDetail == 0 {
		return rows.Detail{}, nil
	}
	detail, err := rows.DecodeDetail(row.Detail)
	if err != nil || len(detail.Params) == 0 {
		return detail, err
	}
	secrets, known := d.secrets[id.EntID]
	if !known {
		if secrets, err = d.declaredLater(id.EntID); err != nil {
			return detail, err
		}
		d.secrets[id.EntID] = secrets
	}
	detail.Mask(secrets)
	return detail, nil
}

func (d *detailer) declaredLater(entID string) (secrets []string, err error) {
	err = d.src.Later(keys.Entity(d.tenant, keys.ClassEntitlement, entID), func(value []byte) error {
		entity, err := rows.DecodeEntity(value)
		secrets = append(secrets, entity.Rules.SecretParams...)
		return err
	})
	return secrets, err
}

var null = jsontext.Value("null")

// member gives the value of one member.
func (d *detailer) member(m Include, id keys.Row, row rows.Row, detail rows.Detail) (jsontext.Value, error) {
	switch m {
	case IncludeAppID:
		return text(row.AppID)
	case IncludeType:
		return text(id.Assignee.Kind.String())
	case IncludeRights:
		if detail.Rights == nil {
			return jsontext.Value("[]"), nil
		}
		return json.Marshal(detail.Rights)
	case IncludeParams:
		if detail.Params == nil {
			return jsontext.Value("{}"), nil
		}
		return json.Marshal(detail.Params, json.Deterministic(true))
	case IncludeAttributes:
		if detail.Attributes == nil {
			return jsontext.Value("{}"), nil
		}
		return detail.Attributes, nil
	case IncludeValidFrom:
		return text(detail.ValidFrom)
	case IncludeValidUntil:
		return text(detail.ValidUntil)
	case IncludeCreatedAt:
		return text(row.Created.Time().Format(time.RFC3339Nano))
	case IncludeUpdatedAt:
		return text(row.Updated.Time().Format(time.RFC3339Nano))
	case IncludeEntitlement:
		return d.entity(keys.ClassEntitlement, id.EntID)
	case IncludeApplication:
		return d.entity(keys.ClassApplication, row.AppID)
	case IncludeUser:
		if id.Assignee.Kind != events.KindUser {
			return null, nil
		}
		return d.entity(keys.ClassUser, id.Assignee.ID)
	default:
		return d.group(id.Assignee)
	}
}

func text(s string) (jsontext.Value, error) {
	if s == "" {
		return null, nil
	}
	return jsontext.AppendQuote(nil, s)
}

// entity gives the record of an entity, null when it is not known.
func (d *detailer) entity(class keys.Class, id string) (jsontext.Value, error) {
	if id == "" {
		return null, nil
	}
	key := keys.Entity(d.tenant, class, id)
	if known, ok := d.entities[string(key)]; ok {
		return known, nil
	}
	value, err := d.src.Get(key)
	if err != nil {
		return nil, err
	}
	record := null
	if value != nil {
		entity, err := rows.DecodeEntity(value)
		if err != nil {
			return nil, err
		}
		record = slices.Clone(entity.Record)
	}
	d.entities[string(key)] = record
	return record, nil
}

func (d *detailer) group(a events.Assignee) (jsontext.Value, error) {
	switch a.Kind {
	case events.KindGroup, events.KindDynamicGroup:
		return d.entity(keys.ClassGroup, a.ID)
	case events.KindUser:
		record, err := d.entity(keys.ClassUser, a.ID)
		if err != nil {
			return nil, err
		}
		var user *events.User // nil: not known
		if err := json.Unmarshal(record, &user); err != nil {
			return nil, fmt.Errorf("user: %w", rows.ErrCorrupt)
		}
		if user == nil {
			return null, nil
		}
		return d.entity(keys.ClassGroup, user.GrpID)
	default:
		return null, nil
	}
}
