package fold

import (
	"fmt"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

func (f *folding) upsertEntity(s subject, oldValue []byte) error {
	record, err := rows.MakeRecord(s.record)
	if err != nil {
		return err
	}
	entity := rows.Entity{Created: f.at, Updated: f.at, Record: record}
	if s.class == keys.ClassEntitlement {
		entity.Rules = rows.RulesOf(f.ev.Entitlement)
	}
	var old rows.Entity // empty: not known
	if oldValue != nil {
		if old, err = rows.DecodeEntity(oldValue); err != nil {
			return err
		}
		if entity.SameAs(&old) {
			return nil
		}
		entity.Created = old.Created
	}
	if err := f.put(s.key, entity.Encode()); err != nil {
		return err
	}
	if s.class == keys.ClassEntitlement {
		return f.followEntitlement(old.Rules, entity.Rules)
	}
	return nil
}

// followEntitlement lets the entitlement's assignments follow what it now says:
// those without an application of their own move with it, and the values of
// parameters that it newly declares secret are masked.
func (f *folding) followEntitlement(before, now rows.Rules) error {
	var declared []string
	for _, name := range now.SecretParams {
		if !before.IsSecret(name) {
			declared = append(declared, name)
		}
	}
	if before.AppID == now.AppID && len(declared) == 0 {
		return nil
	}
	return f.eachRowOf(keys.ByEntitlement, f.ev.Entitlement.EntID, func(id keys.Row, value []byte) error {
		old, err := rows.DecodeRow(value)
		if err != nil {
			return err
		}
		row := old
		if !row.OwnApp {
			row.AppID = now.AppID
		}
		if len(declared) > 0 && len(row.Detail) > 0 {
			detail, err := rows.DecodeDetail(row.Detail)
			if err != nil {
				return err
			}
			if detail.Mask(declared) {
				if row.Detail, err = detail.Encode(); err != nil {
					return err
				}
			}
		}
		if row.SameAs(&old) {
			return nil
		}
		row.Updated = f.at
		f.w.Recount(id, &old, &row)
		if err := f.put(id.Make(keys.ByAssignee), row.Encode()); err != nil {
			return err
		}
		return f.relist(id, old, row)
	})
}

// deleteEntity removes an entity, if it is known, and revokes its assignments
// all the same.
func (f *folding) deleteEntity(s subject, oldValue []byte) error {
	if oldValue != nil {
		if err := f.del(s.key); err != nil {
			return err
		}
	}
	switch s.class {
	case keys.ClassUser:
		return f.revokeAssignee(events.Assignee{Kind: events.KindUser, ID: s.id})
	case keys.ClassGroup:
		if err := f.revokeAssignee(events.Assignee{Kind: events.KindGroup, ID: s.id}); err != nil {
			return err
		}
		return f.revokeAssignee(events.Assignee{Kind: events.KindDynamicGroup, ID: s.id})
	case keys.ClassEntitlement:
		return f.eachRowOf(keys.ByEntitlement, s.id, f.revoke)
	default:
		return f.eachRowOf(keys.ByApp, s.id, f.revoke)
	}
}

func (f *folding) revokeAssignee(a events.Assignee) error {
	prefix := keys.AppendAssignee(keys.Prefix(nil, keys.ByAssignee, f.ev.Tenant), a)
	return f.state.Scan(prefix, func(key, value []byte) error {
		_, id, err := keys.ParseRow(key)
		if err != nil {
			return err
		}
		return f.revoke(id, value)
	})
}

// eachRowOf visits the assignments of one entitlement or application with their
// values in the family by assignee.
func (f *folding) eachRowOf(family keys.Tag, id string, visit func(id keys.Row, value []byte) error) error {
	prefix := keys.Append(keys.Prefix(nil, family, f.ev.Tenant), id)
	return f.state.Scan(prefix, func(key, _ []byte) error {
		_, row, err := keys.ParseRow(key)
		if err != nil {
			return err
		}
		row.AppID = "" // an identity has none
		value, err := f.state.Get(row.Make(keys.ByAssignee))
		if err != nil {
			return err
		}
		if value == nil {
			return fmt.Errorf("a row listed in family %q has no assignment: %w", family, rows.ErrCorrupt)
		}
		return visit(row, value)
	})
}
