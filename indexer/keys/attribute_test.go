package keys

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

func TestAttributeKeys(t *testing.T) {
	if got := string(AttributeOf("t", AttrName, "Edit", "e")); got != "xt\x00\x01\x01Edit\x00\x01e\x00\x01" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("x", maxAttributeBytes+1)
	for _, value := range append([]string{long, strings.Repeat("é", maxAttributeBytes)}, hostile...) {
		if !strings.Contains(value, "\xff") { // attributes are UTF-8, ids too
			for _, id := range []string{"e", "\x00", "日本"} {
				key := AttributeOf("t", AttrExtRef, value, id)
				tenant, attr, cut, entID, err := ParseAttribute(key)
				if err != nil || tenant != "t" || attr != AttrExtRef || entID != id || !strings.HasPrefix(value, cut) {
					t.Errorf("%q: %q %v %q %q %v", key, tenant, attr, cut, entID, err)
				}
				if !bytes.HasPrefix(key, AttributePrefix("t", AttrExtRef, value)) || len(value) <= maxAttributeBytes && cut != value {
					t.Errorf("%q: the value became %q", key, cut)
				}
			}
		}
	}
	key := AttributeOf("t", AttrName, "Edit", "e")
	for _, bad := range [][]byte{nil, {'x'}, key[:len(key)-1], append(bytes.Clone(key), 0), bytes.Replace(key, []byte{1, 'E'}, []byte{6, 'E'}, 1), Entity("t", ClassUser, "u")} {
		if _, _, _, _, err := ParseAttribute(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Every attribute of an entitlement is found under its own key.
func TestAttributesOf(t *testing.T) {
	e := events.Entitlement{EntID: "e", EntName: "1", EntType: "2", Category: "3", AppID: "4", ExtRef: "5"}
	for i, v := range AttributesOf(&e) {
		if v.Attribute != Attribute(i+1) || v.Value != string(rune('1'+i)) {
			t.Errorf("%d: %v", i, v)
		}
	}
}

func TestChangeKeys(t *testing.T) {
	key := ChangeOf("t", Change{7, 258})
	if string(key) != "ct\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x01\x02" {
		t.Errorf("%q", key)
	}
	tenant, c, err := ParseChange(key)
	if err != nil || tenant != "t" || c != (Change{7, 258}) {
		t.Errorf("%q %v %v", tenant, c, err)
	}
	for _, bad := range [][]byte{nil, {'c'}, key[:len(key)-1], append(bytes.Clone(key), 0), Quarantine(7)} {
		if _, _, err := ParseChange(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// In order of sequence and then number, whatever the tenant's name.
	var last []byte
	for _, c := range []Change{{0, 0}, {0, 1}, {0, 1 << 31}, {1, 0}, {255, 9}, {256, 0}, {1 << 63, 0}} {
		next := ChangeOf("t", c)
		if bytes.Compare(last, next) >= 0 {
			t.Errorf("%v does not come after the one before", c)
		}
		last = next
	}
}

func TestIdentity(t *testing.T) {
	for _, id := range hostile {
		for _, a := range []events.Assignee{{Kind: events.KindUser, ID: id}, {Kind: events.KindGroup, ID: "\x00" + id}, {Kind: events.KindAll}} {
			row := Row{Tenant: "t", Assignee: a, EntID: id + "\x00"}
			b := AppendIdentity(nil, row)
			if got, err := ParseIdentity("t", b); err != nil || got != row {
				t.Errorf("%v became %v, %v", row, got, err)
			}
			if _, err := ParseIdentity("t", b[:len(b)-1]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v cut short: %v", row, err)
			}
		}
	}
}
