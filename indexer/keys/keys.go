package keys

import (
	"encoding/binary"

	"github.com/assigndex/assigndex/events"
)

// Tag is the first byte of a key; it names the family.
type Tag byte

// The families. See the key table in the package documentation.
const (
	ByAssignee    Tag = 'a'
	ByEntitlement Tag = 'e'
	ByApp         Tag = 'p'
	ByAppAndEnt   Tag = 'q'
	EntityTag     Tag = 'n'
	GuardTag      Tag = 'g'
	QuarantineTag Tag = 'z'
	AttributeTag  Tag = 'x'
	ChangeTag     Tag = 'c'
	CounterTag    Tag = 'k'
	MetaTag       Tag = 'm'
)

// RowFamilies are the families that hold every assignment once (the latter two
// only those that have an application).
var RowFamilies = []Tag{ByAssignee, ByEntitlement, ByApp, ByAppAndEnt}

// DigestFamilies are the families whose contents a digest covers: what the
// stream says, without what follows from it.
var DigestFamilies = []Tag{ByAssignee, EntityTag, GuardTag}

// Class tells entities apart, and guards.
type Class byte

// The classes. ClassAssignment has guards but no entities.
const (
	ClassAssignment  Class = 0
	ClassUser        Class = 1
	ClassGroup       Class = 2
	ClassEntitlement Class = 3
	ClassApplication Class = 4
)

// Row is the identity of an assignment and the application it is listed under.
type Row struct {
	Tenant   string
	Assignee events.Assignee
	EntID    string
	AppID    string // empty: none
}

// Make gives the row's key in family, which must be one of RowFamilies, and in
// the latter two the row must have an application.
func (r Row) Make(family Tag) []byte {
	key := make([]byte, 0, 24+len(r.Tenant)+len(r.Assignee.ID)+len(r.EntID)+len(r.AppID))
	key = Prefix(key, family, r.Tenant)
	switch family {
	case ByEntitlement:
		key = Append(key, r.EntID)
	case ByApp:
		key = Append(key, r.AppID)
	case ByAppAndEnt:
		key = Append(key, r.AppID)
		key = Append(key, r.EntID)
	}
	key = AppendAssignee(key, r.Assignee)
	if family == ByAssignee || family == ByApp {
		key = Append(key, r.EntID)
	}
	return key
}

// ParseRow reads a key of one of RowFamilies. AppID is empty where the family
// does not hold it.
func ParseRow(key []byte) (family Tag, r Row, err error) {
	if len(key) == 0 {
		return 0, r, ErrMalformed
	}
	family = Tag(key[0])
	if r.Tenant, key, err = Cut(key[1:]); err != nil {
		return family, r, err
	}
	if family == ByApp || family == ByAppAndEnt {
		if r.AppID, key, err = Cut(key); err != nil {
			return family, r, err
		}
	}
	if family == ByEntitlement || family == ByAppAndEnt {
		if r.EntID, key, err = Cut(key); err != nil {
			return family, r, err
		}
	}
	if r.Assignee, key, err = CutAssignee(key); err != nil {
		return family, r, err
	}
	switch family {
	case ByAssignee, ByApp:
		if r.EntID, key, err = Cut(key); err != nil {
			return family, r, err
		}
	case ByEntitlement, ByAppAndEnt:
	default:
		return family, r, ErrMalformed
	}
	if len(key) != 0 {
		return family, r, ErrMalformed
	}
	return family, r, nil
}

// Prefix begins the keys of a tenant in a family. What follows is appended with
// Append, AppendKind and AppendAssignee, in the order of the key table.
func Prefix(key []byte, family Tag, tenant string) []byte {
	return Append(append(key, byte(family)), tenant)
}

// AppendKind adds the kind of an assignee.
func AppendKind(key []byte, k events.Kind) []byte { return append(key, byte(k)) }

// AppendAssignee adds the kind and the id of an assignee.
func AppendAssignee(key []byte, a events.Assignee) []byte {
	return Append(AppendKind(key, a.Kind), a.ID)
}

// CutAssignee reads what AppendAssignee added.
func CutAssignee(key []byte) (a events.Assignee, rest []byte, err error) {
	if len(key) == 0 || key[0] < byte(events.KindUser) || key[0] > byte(events.KindAll) {
		return a, nil, ErrMalformed
	}
	a.Kind = events.Kind(key[0])
	a.ID, rest, err = Cut(key[1:])
	return a, rest, err
}

// Entity is the key of a user, group, entitlement or application.
func Entity(tenant string, class Class, id string) []byte {
	key := make([]byte, 0, 8+len(tenant)+len(id))
	return Append(append(Prefix(key, EntityTag, tenant), byte(class)), id)
}

// ParseEntity reads a key that Entity made.
func ParseEntity(key []byte) (tenant string, class Class, id string, err error) {
	if len(key) == 0 || Tag(key[0]) != EntityTag {
		return "", 0, "", ErrMalformed
	}
	tenant, rest, err := Cut(key[1:])
	if err != nil {
		return "", 0, "", err
	}
	if len(rest) == 0 || rest[0] < byte(ClassUser) || rest[0] > byte(ClassApplication) {
		return "", 0, "", ErrMalformed
	}
	class = Class(rest[0])
	id, rest, err = Cut(rest[1:])
	if err != nil || len(rest) != 0 {
		return "", 0, "", ErrMalformed
	}
	return tenant, class, id, nil
}

// EntityGuard is the key of an entity's revision guard.
func EntityGuard(tenant string, class Class, id string) []byte {
	key := make([]byte, 0, 8+len(tenant)+len(id))
	return Append(append(Prefix(key, GuardTag, tenant), byte(class)), id)
}

// AssignmentGuard is the key of an assignment's revision guard.
func AssignmentGuard(tenant string, a events.Assignee, entID string) []byte {
	key := make([]byte, 0, 12+len(tenant)+len(a.ID)+len(entID))
	key = append(Prefix(key, GuardTag, tenant), byte(ClassAssignment))
	return Append(AppendAssignee(key, a), entID)
}

// Guard is what a revision guard guards.
type Guard struct {
	Tenant   string
	Class    Class
	ID       string          // of the entity; of an assignment, its entitlement's
	Assignee events.Assignee // of an assignment
}

// ParseGuard reads a key that EntityGuard or AssignmentGuard made.
func ParseGuard(key []byte) (g Guard, err error) {
	if len(key) == 0 || Tag(key[0]) != GuardTag {
		return g, ErrMalformed
	}
	var rest []byte
	if g.Tenant, rest, err = Cut(key[1:]); err != nil {
		return g, err
	}
	if len(rest) == 0 || rest[0] > byte(ClassApplication) {
		return g, ErrMalformed
	}
	g.Class, rest = Class(rest[0]), rest[1:]
	if g.Class == ClassAssignment {
		if g.Assignee, rest, err = CutAssignee(rest); err != nil {
			return g, err
		}
	}
	if g.ID, rest, err = Cut(rest); err != nil || len(rest) != 0 {
		return g, ErrMalformed
	}
	return g, nil
}

// Scope is what a counter counts the assignments of.
type Scope byte

// The scopes of counters.
const (
	OfTenant      Scope = 0
	OfApplication Scope = 1
	OfEntitlement Scope = 2
)

// Counter is the key of the number of assignments of one kind in a scope. The id
// is that of the application or entitlement, empty for a tenant.
func Counter(tenant string, scope Scope, id string, kind events.Kind) []byte {
	key := make([]byte, 0, 8+len(tenant)+len(id))
	return AppendKind(Append(append(Prefix(key, CounterTag, tenant), byte(scope)), id), kind)
}

// Counted is what a counter counts.
type Counted struct {
	Tenant string
	Scope  Scope
	ID     string // of the application or entitlement; empty for a tenant
	Kind   events.Kind
}

// ParseCounter reads a key that Counter made.
func ParseCounter(key []byte) (c Counted, err error) {
	if len(key) == 0 || Tag(key[0]) != CounterTag {
		return c, ErrMalformed
	}
	var rest []byte
	if c.Tenant, rest, err = Cut(key[1:]); err != nil {
		return c, err
	}
	if len(rest) == 0 || rest[0] > byte(OfEntitlement) {
		return c, ErrMalformed
	}
	c.Scope = Scope(rest[0])
	if c.ID, rest, err = Cut(rest[1:]); err != nil {
		return c, err
	}
	if len(rest) != 1 || rest[0] < byte(events.KindUser) || rest[0] > byte(events.KindAll) {
		return c, ErrMalformed
	}
	c.Kind = events.Kind(rest[0])
	return c, nil
}

// Quarantine is the key of the message that could not be applied.
func Quarantine(sequence uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(QuarantineTag)}, sequence)
}

// ParseQuarantine reads a key that Quarantine made.
func ParseQuarantine(key []byte) (sequence uint64, err error) {
	if len(key) != 9 || Tag(key[0]) != QuarantineTag {
		return 0, ErrMalformed
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// Meta is the key of one of the store's own values.
func Meta(name string) []byte { return append([]byte{byte(MetaTag)}, name...) }

// End gives the first key after every key with this prefix, or nil when there is none.
func End(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xFF {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
