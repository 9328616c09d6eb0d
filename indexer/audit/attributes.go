package audit

import (
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// attributes compares what entitlements can be found by with what they are.
func (a *agreement) attributes() error {
	if err := a.src.Range([]byte{byte(keys.EntityTag)}, nil, a.entity); err != nil {
		return err
	}
	// Each attribute was found where it should be, so more of them are strays.
	count := 0
	err := a.src.Range([]byte{byte(keys.AttributeTag)}, nil, func(_, _ []byte) bool { count++; return true })
	if err != nil || count == a.expected[keys.AttributeTag] {
		return err
	}
	return a.src.Range([]byte{byte(keys.AttributeTag)}, nil, a.attribute)
}

func (a *agreement) entity(key, value []byte) bool {
	tenant, class, id, err := keys.ParseEntity(key)
	if err != nil {
		a.report(key, "not a key: %v", err)
		return true
	}
	if class != keys.ClassEntitlement {
		return true
	}
	ent, err := decodeEntitlement(value)
	if err != nil {
		a.report(key, "not an entitlement: %v", err)
		return true
	}
	for _, v := range keys.AttributesOf(&ent) {
		if v.Value == "" {
			continue
		}
		a.checked++
		found, err := a.src.Get(keys.AttributeOf(tenant, v.Attribute, v.Value, id))
		if err != nil {
			a.err = err
			return false
		}
		if found == nil {
			a.report(key, "not found by its attribute %d", v.Attribute)
			continue
		}
		a.expected[keys.AttributeTag]++
	}
	return true
}

// attribute reports an attribute that no entitlement has.
func (a *agreement) attribute(key, _ []byte) bool {
	tenant, attr, _, entID, err := keys.ParseAttribute(key)
	if err != nil {
		a.report(key, "not a key: %v", err)
		return true
	}
	value, err := a.src.Get(keys.Entity(tenant, keys.ClassEntitlement, entID))
	if err != nil {
		a.err = err
		return false
	}
	if value == nil {
		a.report(key, "found by an attribute without an entitlement")
		return true
	}
	ent, err := decodeEntitlement(value)
	if err != nil {
		return true // reported with the entitlement
	}
	for _, v := range keys.AttributesOf(&ent) {
		if v.Attribute == attr && string(keys.AttributeOf(tenant, attr, v.Value, entID)) != string(key) {
			a.report(key, "found by an attribute that the entitlement has not")
		}
	}
	return true
}

// isRecord reports whether a record is one of its class.
func isRecord(class keys.Class, record []byte) bool {
	var into any
	switch class {
	case keys.ClassUser:
		into = new(events.User)
	case keys.ClassGroup:
		into = new(events.Group)
	case keys.ClassEntitlement:
		into = new(events.Entitlement)
	default:
		into = new(events.Application)
	}
	return json.Unmarshal(record, into) == nil
}

func decodeEntitlement(value []byte) (ent events.Entitlement, err error) {
	entity, err := rows.DecodeEntity(value)
	if err != nil {
		return ent, err
	}
	if err := json.Unmarshal(entity.Record, &ent); err != nil {
		return ent, rows.ErrCorrupt
	}
	return ent, nil
}
