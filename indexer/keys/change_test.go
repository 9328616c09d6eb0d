package keys

import (
	"bytes"
	"errors"
	"testing"

	"github.com/assigndex/assigndex/events"
)

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

func TestLogged(t *testing.T) {
	for i, id := range hostile {
		for _, a := range []events.Assignee{{Kind: events.KindUser, ID: id}, {Kind: events.KindGroup, ID: "\x00" + id}, {Kind: events.KindAll}} {
			l := Logged{Nano: int64(i) - 3, Row: Row{Tenant: "t", Assignee: a, EntID: id + "\x00"}}
			b := l.Encode()
			if got, err := ParseLogged("t", b); err != nil || got != l {
				t.Errorf("%v became %v, %v", l, got, err)
			}
			for cut := range b {
				if _, err := ParseLogged("t", b[:cut]); !errors.Is(err, ErrMalformed) {
					t.Errorf("%v cut to %d: %v", l, cut, err)
				}
			}
		}
	}
}
