package keys

import (
	"strings"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
)

// Attribute is what an entitlement can be found by, besides its id.
type Attribute byte

// The attributes. A change of their number or order is a change of format.
const (
	AttrName        Attribute = 1
	AttrType        Attribute = 2
	AttrCategory    Attribute = 3
	AttrApplication Attribute = 4
	AttrExtRef      Attribute = 5
)

// AttributeValue is the value that an entitlement has of an attribute.
type AttributeValue struct {
	Attribute
	Value string // empty: it has none
}

// AttributesOf gives every attribute of an entitlement, in order.
func AttributesOf(e *events.Entitlement) []AttributeValue {
	return []AttributeValue{
		{AttrName, e.EntName}, {AttrType, e.EntType}, {AttrCategory, e.Category}, {AttrApplication, e.AppID}, {AttrExtRef, e.ExtRef},
	}
}

// maxAttributeBytes bounds the value within a key: Badger takes keys of 65,000
// bytes, and a name may be longer.
const maxAttributeBytes = 512

// AttributePrefix begins the keys of the entitlements that have a value of an
// attribute, in bytewise order of their ids. Longer values are cut: values that
// begin with the same maxAttributeBytes share their keys, so who reads them looks
// at the entitlement itself as well.
func AttributePrefix(tenant string, attr Attribute, value string) []byte {
	if len(value) > maxAttributeBytes {
		value = strings.ToValidUTF8(value[:maxAttributeBytes], "")
	}
	key := make([]byte, 0, 12+len(tenant)+len(value))
	return Append(append(Prefix(key, AttributeTag, tenant), byte(attr)), value)
}

// AttributeOf is the key that says that an entitlement has a value of an attribute.
func AttributeOf(tenant string, attr Attribute, value, entID string) []byte {
	return Append(AttributePrefix(tenant, attr, value), entID)
}

// ParseAttribute reads a key that AttributeOf made.
func ParseAttribute(key []byte) (tenant string, attr Attribute, value, entID string, err error) {
	fail := func() (string, Attribute, string, string, error) { return "", 0, "", "", ErrMalformed }
	if len(key) == 0 || Tag(key[0]) != AttributeTag {
		return fail()
	}
	tenant, rest, err := Cut(key[1:])
	if err != nil || len(rest) == 0 || rest[0] < byte(AttrName) || rest[0] > byte(AttrExtRef) {
		return fail()
	}
	attr = Attribute(rest[0])
	if value, rest, err = Cut(rest[1:]); err != nil || len(value) > maxAttributeBytes || !utf8.ValidString(value) {
		return fail()
	}
	if entID, rest, err = Cut(rest); err != nil || len(rest) != 0 {
		return fail()
	}
	return tenant, attr, value, entID, nil
}
