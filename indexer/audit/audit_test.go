package audit

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// memory is an index in a map.
type memory map[string][]byte

var errBroken = errors.New("broken")

func (m memory) Get(key []byte) ([]byte, error) {
	if m["broken get"] != nil {
		return nil, errBroken
	}
	return m[string(key)], nil
}

func (m memory) Range(prefix, from []byte, visit func(key, value []byte) bool) error {
	if m["broken "+string(prefix)] != nil {
		return errBroken
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, string(prefix)) && bytes.Compare([]byte(key), from) >= 0 && !visit([]byte(key), m[key]) {
			return nil
		}
	}
	return nil
}

func row(id, ent, app string) keys.Row {
	return keys.Row{Tenant: "t", Assignee: events.Assignee{Kind: events.KindUser, ID: id}, EntID: ent, AppID: app}
}

func (m memory) put(r keys.Row) {
	stored := rows.Row{AppID: r.AppID, Face: rows.MakeFace(&events.Assignment{Assignee: r.Assignee, EntID: r.EntID})}
	m[string(r.Make(keys.ByAssignee))] = stored.Encode()
	m[string(r.Make(keys.ByEntitlement))] = stored.Face
	if r.AppID != "" {
		m[string(r.Make(keys.ByApp))] = stored.Face
		m[string(r.Make(keys.ByAppAndEnt))] = stored.Face
	}
}

func sound() memory {
	m := memory{}
	for _, r := range []keys.Row{row("u", "e", "p"), row("u", "f", ""), row("v", "e", "q"), row("v", "\x00", "p")} {
		m.put(r)
	}
	m[string(keys.Entity("t", keys.ClassUser, "u"))] = []byte("entity")
	m[string(keys.EntityGuard("t", keys.ClassUser, "u"))] = make([]byte, 8)
	m[string(keys.Quarantine(1))] = []byte("q")
	m[string(keys.Meta("watermark"))] = []byte("w")
	return m
}

func TestAgree(t *testing.T) {
	if found, err := Agree(sound(), 10); err != nil || len(found) != 0 {
		t.Fatalf("a sound index: %v, %v", found, err)
	}
	if found, err := Agree(memory{}, 10); err != nil || len(found) != 0 {
		t.Fatalf("an empty index: %v, %v", found, err)
	}
	u := row("u", "e", "p")
	other := rows.MakeFace(&events.Assignment{Assignee: u.Assignee, EntID: "other"})
	for _, c := range []struct {
		name    string
		damage  func(m memory)
		key     []byte
		problem string
	}{
		{"missing by entitlement", func(m memory) { delete(m, string(u.Make(keys.ByEntitlement))) }, u.Make(keys.ByAssignee), "missing in family 'e'"},
		{"missing by application", func(m memory) { delete(m, string(u.Make(keys.ByApp))) }, u.Make(keys.ByAssignee), "missing in family 'p'"},
		{"missing by both", func(m memory) { delete(m, string(u.Make(keys.ByAppAndEnt))) }, u.Make(keys.ByAssignee), "missing in family 'q'"},
		{"another face by entitlement", func(m memory) { m[string(u.Make(keys.ByEntitlement))] = other }, u.Make(keys.ByAssignee), "differently in family 'e'"},
		{"another face by application", func(m memory) { m[string(u.Make(keys.ByApp))] = other }, u.Make(keys.ByAssignee), "differently in family 'p'"},
		{"another face by both", func(m memory) { m[string(u.Make(keys.ByAppAndEnt))] = other }, u.Make(keys.ByAssignee), "differently in family 'q'"},
		{"a stray by entitlement", func(m memory) { m[string(row("w", "e", "").Make(keys.ByEntitlement))] = other }, row("w", "e", "").Make(keys.ByEntitlement), "without an assignment"},
		{"a stray by application", func(m memory) { m[string(row("w", "e", "p").Make(keys.ByApp))] = other }, row("w", "e", "p").Make(keys.ByApp), "without an assignment"},
		{"a stray by both", func(m memory) { m[string(row("w", "e", "p").Make(keys.ByAppAndEnt))] = other }, row("w", "e", "p").Make(keys.ByAppAndEnt), "without an assignment"},
		{"listed under a former application", func(m memory) { m[string(row("u", "e", "old").Make(keys.ByApp))] = other }, row("u", "e", "old").Make(keys.ByApp), `under application "old", the assignment's is "p"`},
		{"listed under an application without having one", func(m memory) { m[string(row("u", "f", "p").Make(keys.ByAppAndEnt))] = other }, row("u", "f", "p").Make(keys.ByAppAndEnt), `the assignment's is ""`},
		{"a stray in place of a missing one", func(m memory) {
			delete(m, string(u.Make(keys.ByApp)))
			m[string(row("w", "e", "p").Make(keys.ByApp))] = other
		}, row("w", "e", "p").Make(keys.ByApp), "without an assignment"},
		{"no assignment", func(m memory) { delete(m, string(u.Make(keys.ByAssignee))) }, u.Make(keys.ByEntitlement), "without an assignment"},
		{"a corrupt row", func(m memory) { m[string(u.Make(keys.ByAssignee))] = []byte("x") }, u.Make(keys.ByAssignee), "not a row"},
		{"a corrupt key", func(m memory) { m["a\xff"] = nil }, []byte("a\xff"), "not a key"},
		{"a corrupt key of another family", func(m memory) { m["p\xff"] = nil }, []byte("p\xff"), "not a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := sound()
			c.damage(m)
			found, err := Agree(m, 10)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(d Difference) bool { return bytes.Equal(d.Key, c.key) && strings.Contains(d.Problem, c.problem) }) {
				t.Errorf("found %v, not %q: %s", found, c.key, c.problem)
			}
			if len(found) > 0 && !strings.Contains(found[0].String(), found[0].Problem) {
				t.Errorf("%s hides the problem", found[0])
			}
		})
	}
}

func TestAgreeStopsAtItsLimit(t *testing.T) {
	m := sound()
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		m[string(row(id, "e", "p").Make(keys.ByApp))] = []byte("x")
		delete(m, string(row("v", "e", "q").Make(keys.ByAppAndEnt)))
	}
	for limit := 1; limit <= 6; limit++ {
		found, err := Agree(m, limit)
		if err != nil || len(found) != limit {
			t.Errorf("limit %d: %d found, %v", limit, len(found), err)
		}
	}
	if found, _ := Agree(m, 100); len(found) != 6 {
		t.Errorf("%d found, want 6", len(found))
	}
}

func TestErrorsComeThrough(t *testing.T) {
	for _, what := range []string{"broken a", "broken e", "broken q", "broken get"} {
		m := sound()
		m[what] = []byte{}
		if _, err := Agree(m, 10); !errors.Is(err, errBroken) {
			t.Errorf("%s: Agree says %v", what, err)
		}
	}
	for _, what := range []string{"broken a", "broken n", "broken g"} {
		m := sound()
		m[what] = []byte{}
		if _, _, err := Digest(m); !errors.Is(err, errBroken) {
			t.Errorf("%s: Digest says %v", what, err)
		}
	}
}

func TestDigest(t *testing.T) {
	base, assignments, err := Digest(sound())
	if err != nil || assignments != 4 || len(base) != 64 {
		t.Fatalf("%s, %d assignments, %v", base, assignments, err)
	}
	if again, _, _ := Digest(sound()); again != base {
		t.Errorf("the same index has the digests %s and %s", base, again)
	}
	seen := map[string]string{base: "the index"}
	for name, change := range map[string]func(m memory){
		"a row less":                func(m memory) { delete(m, string(row("u", "e", "p").Make(keys.ByAssignee))) },
		"a row of another value":    func(m memory) { m[string(row("u", "e", "p").Make(keys.ByAssignee))] = []byte("x") },
		"an entity more":            func(m memory) { m[string(keys.Entity("t", keys.ClassUser, "v"))] = []byte("entity") },
		"an entity of another":      func(m memory) { m[string(keys.Entity("t", keys.ClassUser, "u"))] = []byte("entit") },
		"a guard of another value":  func(m memory) { m[string(keys.EntityGuard("t", keys.ClassUser, "u"))][7] = 1 },
		"a guard less":              func(m memory) { delete(m, string(keys.EntityGuard("t", keys.ClassUser, "u"))) },
		"a byte from value to key":  func(m memory) { move(m, keys.Entity("t", keys.ClassUser, "u"), 1) },
		"two bytes from it to that": func(m memory) { move(m, keys.Entity("t", keys.ClassUser, "u"), 2) },
	} {
		m := sound()
		change(m)
		d, _, err := Digest(m)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[d]; taken {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
	}
	m := sound() // what is local to an index, and what follows from the rest
	for _, key := range [][]byte{
		keys.Quarantine(1), keys.Meta("watermark"), row("u", "e", "").Make(keys.ByEntitlement), row("u", "e", "p").Make(keys.ByApp), row("u", "e", "p").Make(keys.ByAppAndEnt),
	} {
		delete(m, string(key))
	}
	if d, _, _ := Digest(m); d != base {
		t.Error("the digest covers what is local")
	}
}

// move takes bytes of a value over to its key.
func move(m memory, key []byte, n int) {
	value := m[string(key)]
	delete(m, string(key))
	m[string(key)+string(value[:n])] = value[n:]
}
