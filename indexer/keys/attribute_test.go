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
