package fold

import (
	"bytes"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

func (f *folding) assignmentRow() keys.Row {
	a := f.ev.Assignment
	return keys.Row{Tenant: f.ev.Tenant, Assignee: a.Assignee, EntID: a.EntID}
}

func (f *folding) upsertAssignment(s subject, oldValue []byte) error {
	a := f.ev.Assignment
	row := rows.Row{Created: f.at, Updated: f.at, AppID: a.AppID, OwnApp: a.AppID != "", Face: rows.MakeFace(a)}

	var ent *rows.Rules // nil: not known, or of no matter
	var err error
	if !row.OwnApp || len(a.Params) > 0 {
		if ent, err = f.rules(a.EntID); err != nil {
			return err
		}
	}
	if !row.OwnApp && ent != nil {
		row.AppID = ent.AppID
	}
	if row.Detail, err = rows.MakeDetail(a, func(param string) bool { return ent != nil && !ent.IsSecret(param) }); err != nil {
		return err
	}

	id := f.assignmentRow()
	if oldValue == nil {
		if err := f.save(s.key, id, nil, &row); err != nil {
			return err
		}
		return f.list(id, row)
	}
	old, err := rows.DecodeRow(oldValue)
	if err != nil {
		return err
	}
	if row.SameAs(&old) {
		return nil
	}
	row.Created = old.Created
	if err := f.save(s.key, id, &old, &row); err != nil {
		return err
	}
	if bytes.Equal(row.Face, old.Face) {
		return f.relist(id, old, row)
	}
	if old.AppID != row.AppID {
		if err := f.unlistApp(id, old.AppID); err != nil {
			return err
		}
	}
	return f.list(id, row)
}

// save makes a row what it is after the event, nil for none, in the family that
// holds it whole, and tells of the change.
func (f *folding) save(key []byte, id keys.Row, before, after *rows.Row) error {
	if err := f.w.Changed(f.at, id, before, after); err != nil {
		return err
	}
	if after == nil {
		return f.del(key)
	}
	return f.put(key, after.Encode())
}

// list writes the row's face into every family but the first.
func (f *folding) list(id keys.Row, row rows.Row) error {
	if err := f.put(id.Make(keys.ByEntitlement), row.Face); err != nil {
		return err
	}
	return f.listApp(id, row)
}

// relist moves the row's face between applications, where that changed.
func (f *folding) relist(id keys.Row, old, row rows.Row) error {
	if old.AppID == row.AppID {
		return nil
	}
	if err := f.unlistApp(id, old.AppID); err != nil {
		return err
	}
	return f.listApp(id, row)
}

func (f *folding) listApp(id keys.Row, row rows.Row) error {
	if row.AppID == "" {
		return nil
	}
	id.AppID = row.AppID
	if err := f.put(id.Make(keys.ByApp), row.Face); err != nil {
		return err
	}
	return f.put(id.Make(keys.ByAppAndEnt), row.Face)
}

func (f *folding) unlistApp(id keys.Row, app string) error {
	if app == "" {
		return nil
	}
	id.AppID = app
	if err := f.del(id.Make(keys.ByApp)); err != nil {
		return err
	}
	return f.del(id.Make(keys.ByAppAndEnt))
}

// revoke removes a row, whose stored value is given, from every family.
func (f *folding) revoke(id keys.Row, value []byte) error {
	row, err := rows.DecodeRow(value)
	if err != nil {
		return err
	}
	if err := f.save(id.Make(keys.ByAssignee), id, &row, nil); err != nil {
		return err
	}
	if err := f.del(id.Make(keys.ByEntitlement)); err != nil {
		return err
	}
	return f.unlistApp(id, row.AppID)
}

// rules reads the rules of an entitlement, nil when it is not known.
func (f *folding) rules(entID string) (*rows.Rules, error) {
	value, err := f.state.Get(keys.Entity(f.ev.Tenant, keys.ClassEntitlement, entID))
	if value == nil || err != nil {
		return nil, err
	}
	entity, err := rows.DecodeEntity(value)
	return &entity.Rules, err
}
