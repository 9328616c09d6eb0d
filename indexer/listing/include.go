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
	// Later visits the values that a key was given after the source's sequence.
	Later(key []byte, visit func(value []byte) error) error
}

// ListDetailed is List with the members that the selector includes added to the
// JSON of each face.
func ListDetailed(ctx context.Context, src DetailSource, sel Selector, after *Position, limit int, visit func(rows.Face)) (Page, error) {
	d := newDetailer(src, sel)
	return list(ctx, src, sel, after, limit, func(key, value []byte, face rows.Face) error {
		extended, err := d.extend(key, value, face)
		if err == nil {
			visit(extended)
		}
		return err
	})
}

// maxResolved bounds what a call keeps of the entities that it resolved.
const maxResolved = 10_000

// detailer resolves details for one call.
type detailer struct {
	src      DetailSource
	tenant   string
	include  Include
	entities map[string]jsontext.Value // by key; null: not known
	decoded  map[string]any            // by key; *events.User and the like, nil when not known
	secrets  map[string][]string       // parameters declared secret after the source's sequence, by entitlement
	face     rows.Face                 // the last one made
	resolved int                       // bytes of the records of entities that were read
}

func newDetailer(src DetailSource, sel Selector) *detailer {
	return &detailer{
		src: src, tenant: sel.Tenant, include: sel.Include,
		entities: make(map[string]jsontext.Value), decoded: make(map[string]any), secrets: make(map[string][]string),
	}
}

// row gives the identity and the whole of a row that is listed in any family.
func (d *detailer) row(key, value []byte) (id keys.Row, row rows.Row, err error) {
	family, id, err := keys.ParseRow(key)
	if err != nil {
		return id, row, err
	}
	if family != keys.ByAssignee {
		id.AppID = ""
		if value, err = d.src.Get(id.Make(keys.ByAssignee)); err != nil {
			return id, row, err
		}
		if value == nil {
			return id, row, fmt.Errorf("a row listed in family %q has no assignment: %w", family, rows.ErrCorrupt)
		}
	}
	row, err = rows.DecodeRow(value)
	return id, row, err
}

// Told gives the face of a row at the source's sequence with the members that the
// selector includes.
func Told(src DetailSource, sel Selector, at Position, row rows.Row) (rows.Face, error) {
	if sel.Include == 0 {
		return row.Face, nil
	}
	return newDetailer(src, sel).tell(keys.Row{Tenant: sel.Tenant, Assignee: at.Assignee, EntID: at.EntID}, row, row.Face)
}

func (d *detailer) extend(key, value []byte, face rows.Face) (rows.Face, error) {
	id, row, err := d.row(key, value)
	if err != nil {
		return nil, err
	}
	return d.tell(id, row, face)
}

func (d *detailer) tell(id keys.Row, row rows.Row, face rows.Face) (rows.Face, error) {
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
	return d.detailOf(id.EntID, row)
}

func (d *detailer) detailOf(entID string, row rows.Row) (rows.Detail, error) {
	detail, err := rows.DecodeDetail(row.Detail)
	if err != nil || len(detail.Params) == 0 {
		return detail, err
	}
	secrets, known := d.secrets[entID]
	if !known {
		if secrets, err = d.declaredLater(entID); err != nil {
			return detail, err
		}
		makeRoom(d.secrets)
		d.secrets[entID] = secrets
	}
	detail.Mask(secrets)
	return detail, nil
}

// makeRoom empties a map that would become too large.
func makeRoom[V any](m map[string]V) {
	if len(m) >= maxResolved {
		clear(m)
	}
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
		d.resolved += len(record)
	}
	makeRoom(d.entities)
	d.entities[string(key)] = record
	return record, nil
}

func (d *detailer) group(a events.Assignee) (jsontext.Value, error) {
	id, err := d.groupID(a)
	if err != nil {
		return nil, err
	}
	return d.entity(keys.ClassGroup, id)
}

// groupID gives the group that an assignee is or belongs to, empty for none.
func (d *detailer) groupID(a events.Assignee) (string, error) {
	switch a.Kind {
	case events.KindGroup, events.KindDynamicGroup:
		return a.ID, nil
	case events.KindUser:
		user, err := entityAs[events.User](d, keys.ClassUser, a.ID)
		if user == nil || err != nil {
			return "", err
		}
		return user.GrpID, nil
	default:
		return "", nil
	}
}
