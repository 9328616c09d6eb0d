package listing

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// detailMemory is a DetailSource that counts what it is asked for, and fails from
// a call on.
type detailMemory struct {
	memory
	later  map[string][][]byte
	gets   map[string]int
	calls  int
	failAt int
}

var errBroken = errors.New("broken")

func (m *detailMemory) call() error {
	if m.calls++; m.calls == m.failAt {
		return errBroken
	}
	return nil
}

func (m *detailMemory) Get(key []byte) ([]byte, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	m.gets[string(key)]++
	for _, p := range m.pairs {
		if bytes.Equal(p.key, key) {
			return p.value, nil
		}
	}
	return nil, nil
}

func (m *detailMemory) Later(key []byte, visit func([]byte) error) error {
	if err := m.call(); err != nil {
		return err
	}
	m.gets["later "+string(key)]++
	for _, v := range m.later[string(key)] {
		if err := visit(v); err != nil {
			return err
		}
	}
	return nil
}

// entity stores the record of an entity.
func (m *detailMemory) entity(t *testing.T, class keys.Class, id string, record any) {
	t.Helper()
	b, err := rows.MakeRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	m.pairs = append(m.pairs, pair{keys.Entity("t", class, id), (&rows.Entity{Record: b}).Encode()})
}

// everything includes all members.
func everything() (all Include) {
	for _, m := range Members {
		all |= m.Include
	}
	return all
}

// office has two rows of one user, with all there is to tell.
func office(t *testing.T) *detailMemory {
	t.Helper()
	m := &detailMemory{gets: map[string]int{}, later: map[string][][]byte{}}
	for _, ent := range []string{"e", "f"} {
		a := events.Assignment{Assignee: user("u"), EntID: ent}
		row := rows.Row{
			Created: rows.Moment{Seq: 1, Nano: 1e9}, Updated: rows.Moment{Seq: 2, Nano: 2_500_000_000}, AppID: "p", Face: rows.MakeFace(&a),
			Detail: []byte(`{"rights":[{"name":"r","values":["v"]}],"params":{"pw":"x","q":1},"valid_from":"2026-01-31","attributes":{"cost":1.50}}`),
		}
		id := keys.Row{Tenant: "t", Assignee: user("u"), EntID: ent, AppID: "p"}
		for _, family := range []keys.Tag{keys.ByEntitlement, keys.ByApp, keys.ByAppAndEnt} {
			m.pairs = append(m.pairs, pair{id.Make(family), row.Face})
		}
		m.pairs = append(m.pairs, pair{id.Make(keys.ByAssignee), row.Encode()})
	}
	m.entity(t, keys.ClassUser, "u", &events.User{UsrID: "u", UsrName: "U", GrpID: "g"})
	m.entity(t, keys.ClassGroup, "g", &events.Group{GrpID: "g"})
	m.entity(t, keys.ClassApplication, "p", &events.Application{AppID: "p"})
	declared := rows.Entity{Rules: rows.Rules{SecretParams: []string{"pw"}}, Record: []byte(`{}`)}
	m.later[string(keys.Entity("t", keys.ClassEntitlement, "e"))] = [][]byte{declared.Encode()}
	slices.SortFunc(m.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	return m
}

func (m *detailMemory) list(t *testing.T, sel Selector) (list []string, err error) {
	t.Helper()
	sel.Tenant, sel.Kinds = "t", events.Kinds
	_, err = ListDetailed(t.Context(), m, sel, nil, 10, func(f rows.Face) { list = append(list, string(f.JSON())) })
	return list, err
}

// The members stand behind the face in one order, whatever family the rows are
// read from, and each record is looked up once a page.
func TestListDetailed(t *testing.T) {
	row := func(ent, pw string) string {
		return `{"ent_id":"` + ent + `","usr_id":"u","score":null,"justification":[],"app_id":"p","type":"USER","rights":[{"name":"r","values":["v"]}],` +
			`"params":{"pw":` + pw + `,"q":1},"attributes":{"cost":1.50},"valid_from":"2026-01-31","valid_until":null,` +
			`"created_at":"1970-01-01T00:00:01Z","updated_at":"1970-01-01T00:00:02.5Z","user":{"usr_id":"u","usr_name":"U","grp_id":"g"},"group":{"grp_id":"g"},` +
			`"entitlement":null,"application":{"app_id":"p"}}`
	}
	e, f := row("e", `"***"`), row("f", `"x"`)
	for _, c := range []struct {
		sel  Selector
		want []string
	}{
		{Selector{}, []string{e, f}}, {Selector{AssigneeID: "u"}, []string{e, f}}, {Selector{AppID: "p"}, []string{e, f}},
		{Selector{EntID: "e"}, []string{e}}, {Selector{EntID: "f", AppID: "p"}, []string{f}},
	} {
		m := office(t)
		c.sel.Include = everything()
		got, err := m.list(t, c.sel)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v\n got %q\nwant %q", c.sel, err, got, c.want)
		}
		for key, n := range m.gets {
			if n > 1 {
				t.Errorf("%+v: %q was read %d times", c.sel, key, n)
			}
		}
	}
	// What is not included is not looked up.
	m := office(t)
	if got, err := m.list(t, Selector{Include: IncludeType}); err != nil || m.calls != 0 || got[0] != `{"ent_id":"e","usr_id":"u","score":null,"justification":[],"type":"USER"}` {
		t.Errorf("%q, %v after %d look-ups", got, err, m.calls)
	}
}

// A failing source, wherever it fails, ends the listing with its error.
func TestListDetailedFails(t *testing.T) {
	for _, sel := range []Selector{{Include: everything()}, {Include: everything(), AppID: "p"}} {
		calls := 0
		for failAt := 1; calls == 0 || failAt <= calls; failAt++ {
			m := office(t)
			if failAt == 1 {
				if _, err := m.list(t, sel); err != nil {
					t.Fatal(err)
				}
				calls, m = m.calls, office(t)
			}
			m.failAt = failAt
			if _, err := m.list(t, sel); !errors.Is(err, errBroken) {
				t.Errorf("call %d of %d fails: %v", failAt, calls, err)
			}
		}
	}
}

func TestListDetailedFindsCorruption(t *testing.T) {
	replace := func(m *detailMemory, key, value []byte) {
		for i := range m.pairs {
			if bytes.Equal(m.pairs[i].key, key) {
				m.pairs[i].value = value
			}
		}
	}
	id := keys.Row{Tenant: "t", Assignee: user("u"), EntID: "e"}
	for name, spoil := range map[string]func(m *detailMemory){
		"an application's row without an assignment": func(m *detailMemory) {
			m.pairs = slices.DeleteFunc(m.pairs, func(p pair) bool { return bytes.Equal(p.key, id.Make(keys.ByAssignee)) })
		},
		"a row":      func(m *detailMemory) { replace(m, id.Make(keys.ByAssignee), []byte("x")) },
		"its detail": func(m *detailMemory) { replace(m, id.Make(keys.ByAssignee), spoiled(`{"params":7}`)) },
		"a user":     func(m *detailMemory) { replace(m, keys.Entity("t", keys.ClassUser, "u"), []byte("x")) },
		"a user's record": func(m *detailMemory) {
			replace(m, keys.Entity("t", keys.ClassUser, "u"), (&rows.Entity{Record: []byte(`[]`)}).Encode())
		},
		"a declaration": func(m *detailMemory) {
			m.later[string(keys.Entity("t", keys.ClassEntitlement, "e"))] = [][]byte{[]byte("x")}
		},
	} {
		m := office(t)
		spoil(m)
		if _, err := m.list(t, Selector{AppID: "p", Include: everything()}); !errors.Is(err, rows.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func spoiled(detail string) []byte {
	a := events.Assignment{Assignee: user("u"), EntID: "e"}
	return (&rows.Row{AppID: "p", Face: rows.MakeFace(&a), Detail: []byte(detail)}).Encode()
}
