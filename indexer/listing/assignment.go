package listing

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Assignment is a selected row with what belongs to it, at the sequence that is
// read. It is valid until visit returns. The entities that its methods give are
// nil when they are not known, and shared: they must not be changed.
type Assignment struct {
	Assignee events.Assignee
	EntID    string
	rows.Row

	d *detailer
}

// Detail gives what the assignment has beyond its face. Parameters are masked that
// are declared secret, or were since.
func (a *Assignment) Detail() (rows.Detail, error) {
	return a.d.detailOf(a.EntID, a.Row)
}

// User gives the user, nil for an assignment of another kind.
func (a *Assignment) User() (*events.User, error) {
	if a.Assignee.Kind != events.KindUser {
		return nil, nil
	}
	return entityAs[events.User](a.d, keys.ClassUser, a.Assignee.ID)
}

// Group gives the group of a group's assignment, and of a user's the group that
// the user belongs to.
func (a *Assignment) Group() (*events.Group, error) {
	id, err := a.d.groupID(a.Assignee)
	if err != nil {
		return nil, err
	}
	return entityAs[events.Group](a.d, keys.ClassGroup, id)
}

// Entitlement gives the entitlement.
func (a *Assignment) Entitlement() (*events.Entitlement, error) {
	return entityAs[events.Entitlement](a.d, keys.ClassEntitlement, a.EntID)
}

// Application gives the application that the assignment is listed under.
func (a *Assignment) Application() (*events.Application, error) {
	return entityAs[events.Application](a.d, keys.ClassApplication, a.AppID)
}

// Resolved gives the size of the entities that the call read so far, in bytes of
// their records. It keeps those: who lists without an end ends calls by it.
func (a *Assignment) Resolved() int { return a.d.resolved }

// ListAssignments is List with whole assignments. An error of visit ends it and is
// returned.
func ListAssignments(ctx context.Context, src DetailSource, sel Selector, after *Position, limit int, visit func(*Assignment) error) (Page, error) {
	d := newDetailer(src, sel)
	return list(ctx, src, sel, after, limit, func(key, value []byte, _ rows.Face) error {
		id, row, err := d.row(key, value)
		if err != nil {
			return err
		}
		return visit(&Assignment{Assignee: id.Assignee, EntID: id.EntID, Row: row, d: d})
	})
}

// Lookup gives the assignment of an identity, nil when there is none. It is valid
// for as long as the source is.
func Lookup(src DetailSource, tenant string, at Position) (*Assignment, error) {
	value, err := src.Get(keys.Row{Tenant: tenant, Assignee: at.Assignee, EntID: at.EntID}.Make(keys.ByAssignee))
	if value == nil || err != nil {
		return nil, err
	}
	row, err := rows.DecodeRow(value)
	if err != nil {
		return nil, err
	}
	d := newDetailer(src, Selector{Tenant: tenant})
	return &Assignment{Assignee: at.Assignee, EntID: at.EntID, Row: row, d: d}, nil
}

// entityAs gives the record of an entity, nil when it is not known.
func entityAs[T any](d *detailer, class keys.Class, id string) (*T, error) {
	if id == "" {
		return nil, nil
	}
	key := string(keys.Entity(d.tenant, class, id))
	if known, ok := d.decoded[key].(*T); ok {
		return known, nil
	}
	record, err := d.entity(class, id)
	if err != nil {
		return nil, err
	}
	var decoded *T // null: not known
	if err := json.Unmarshal(record, &decoded); err != nil {
		return nil, fmt.Errorf("entity %q: %w", key, rows.ErrCorrupt)
	}
	makeRoom(d.decoded)
	d.decoded[key] = decoded
	return decoded, nil
}
