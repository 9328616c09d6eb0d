package ibmverify

import (
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

func at(kind events.Kind, id, ent string) listing.Position {
	return listing.Position{Assignee: events.Assignee{Kind: kind, ID: id}, EntID: ent}
}

// Users keep codes, so one may not change. This is the first version's form.
func TestCodeIsAsItEverWas(t *testing.T) {
	if got := Code("acme", at(events.KindUser, "aaron.fischer", "Web_Shared_Edit")); got != "AQEADWFhcm9uLmZpc2NoZXIAD1dlYl9TaGFyZWRfRWRpdOD4FsdEKBJ4" {
		t.Errorf("%s", got)
	}
}

// Codes lead back, never to another tenant's assignment, and are told apart where
// ids run into one another.
func TestCodesAreUnique(t *testing.T) {
	ids := []string{"u", "u\x00", "uu", "\x00", "\x00\x01u", "a/b", "é", "日本", "..", strings.Repeat("x", events.MaxIDBytes)}
	seen := map[string]bool{}
	for _, tenant := range []string{"t", "tt", "t_", strings.Repeat("t", events.MaxTenantBytes)} {
		for _, kind := range Kinds {
			for _, id := range ids {
				for _, ent := range ids {
					code := Code(tenant, at(kind, id, ent))
					if seen[code] || len(code) > maxCodeText || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
						t.Fatalf("%q of %s %q %q", code, tenant, id, ent)
					}
					seen[code] = true
					if got, ok := ParseCode(tenant, code); !ok || got != at(kind, id, ent) {
						t.Fatalf("%+v, %v", got, ok)
					}
					if _, ok := ParseCode(tenant+"x", code); ok {
						t.Fatalf("a code of %s is taken in another tenant", tenant)
					}
				}
			}
		}
	}
}

// A code that is well made but names what no assignment can have is refused.
func TestParseCodeRefuses(t *testing.T) {
	long := strings.Repeat("x", events.MaxIDBytes+1)
	for name, p := range map[string]listing.Position{
		"kind ALL": at(events.KindAll, "", "e"), "kind ALL with an id": at(events.KindAll, "u", "e"), "no kind": at(0, "u", "e"), "another kind": at(9, "u", "e"),
		"no assignee": at(events.KindUser, "", "e"), "no entitlement": at(events.KindUser, "u", ""), "a long assignee": at(events.KindUser, long, "e"),
		"a long entitlement": at(events.KindUser, "u", long), "an id that is not UTF-8": at(events.KindUser, "\xff", "e"),
	} {
		if _, ok := ParseCode("t", Code("t", p)); ok {
			t.Errorf("%s is taken", name)
		}
	}
	good := Code("t", at(events.KindUser, "u", "e"))
	for _, code := range []string{"", "A", good + "=", good + "A", good + "\n", good[:4] + "\n" + good[4:], "+" + good[1:], good[1:]} {
		if _, ok := ParseCode("t", code); ok {
			t.Errorf("%q is taken", code)
		}
	}
}

// What is taken is what Code makes, and there is one text for it.
func FuzzParseCode(f *testing.F) {
	f.Add("t", Code("t", at(events.KindUser, "u", "e")))
	f.Add("t", Code("other", at(events.KindGroup, "g", "e")))
	f.Add("", "")
	f.Fuzz(func(t *testing.T, tenant, code string) {
		tenant = tenant[:min(len(tenant), events.MaxTenantBytes)] // none has a longer name
		if p, ok := ParseCode(tenant, code); ok && Code(tenant, p) != code {
			t.Fatalf("%q of %q is taken, and would be %q", code, tenant, Code(tenant, p))
		}
	})
}
