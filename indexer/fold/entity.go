package fold

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"

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
	if s.class != keys.ClassEntitlement {
		return nil
	}
	if err := f.reattribute(s.id, old.Record, f.ev.Entitlement); err != nil {
		return err
	}
	return f.followEntitlement(old.Rules, entity.Rules)
}

// reattribute lets an entitlement be found by what it is now and no longer by
// what it was: its old record, empty when it was not known, and nil when it is no
// more.
func (f *folding) reattribute(entID string, oldRecord []byte, now *events.Entitlement) error {
	var old events.Entitlement
	if len(oldRecord) > 0 {
		if err := json.Unmarshal(oldRecord, &old); err != nil {
			return fmt.Errorf("entitlement: %w", rows.ErrCorrupt)
		}
	}
	if now == nil {
		now = new(events.Entitlement)
	}
	before, after := keys.AttributesOf(&old), keys.AttributesOf(now)
	for i, was := range before {
		is := after[i]
		wasKey, isKey := keys.AttributeOf(f.ev.Tenant, was.Attribute, was.Value, entID), keys.AttributeOf(f.ev.Tenant, is.Attribute, is.Value, entID)
		if bytes.Equal(wasKey, isKey) {
			continue // also when they differ behind what a key holds
		}
		if was.Value != "" {
			if err := f.del(wasKey); err != nil {
				return err
			}
		}
		if is.Value != "" {
			if err := f.put(isKey, nil); err != nil {
				return err
			}
		}
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
		if err := f.save(id.Make(keys.ByAssignee), id, &old, &row); err != nil {
			return err
		}
		return f.relist(id, old, row)
	})
}

// deleteEntity removes an entity, if it is known, and revokes its assignments
// all the same.
func (f *folding) deleteEntity(s subject, oldValue []byte) error {
	if oldValue != nil {
		if err := f.forget(s, oldValue); err != nil {
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

// forget removes an entity, whose stored value is given.
func (f *folding) forget(s subject, value []byte) error {
	if err := f.del(s.key); err != nil || s.class != keys.ClassEntitlement {
		return err
	}
	old, err := rows.DecodeEntity(value)
	if err != nil {
		return err
	}
	return f.reattribute(s.id, old.Record, nil)
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
