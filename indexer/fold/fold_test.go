package fold_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
)

// memory is a State and a Writer over a map. Each call counts, and the one whose
// turn is failAt fails.
type memory struct {
	data          map[string][]byte
	calls, failAt int
}

var errStorage = errors.New("storage")

func (m *memory) call() error {
	m.calls++
	if m.calls == m.failAt {
		return errStorage
	}
	return nil
}

func (m *memory) Get(key []byte) ([]byte, error) { return m.data[string(key)], m.call() }

func (m *memory) Scan(prefix []byte, visit func(key, value []byte) error) error {
	if err := m.call(); err != nil {
		return err
	}
	before := maps.Clone(m.data)
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if strings.HasPrefix(key, string(prefix)) {
			// Both are gone when visit returns, as the State says they may be.
			k, v := []byte(key), bytes.Clone(before[key])
			if err := visit(k, v); err != nil {
				return err
			}
			clear(k)
			clear(v)
		}
	}
	return nil
}

func (m *memory) Put(key, value []byte) error { m.data[string(key)] = value; return m.call() }

func (m *memory) Delete(key []byte) error { delete(m.data, string(key)); return m.call() }

func decode(t *testing.T, line string) events.Event {
	t.Helper()
	typ, data, _ := strings.Cut(line, " ")
	ev, err := events.DecodeData("t", events.Type(typ), []byte(data))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return ev
}

func (m *memory) Changed(rows.Moment, keys.Row, *rows.Row, *rows.Row) error { return m.call() }

func run(t *testing.T, m *memory, lines ...string) fold.Outcome {
	t.Helper()
	var last fold.Outcome
	for i, line := range lines {
		ev := decode(t, line)
		o, err := fold.Apply(&ev, rows.Moment{Seq: uint64(i + 1), Nano: int64(i)}, m, m)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		last = o
	}
	return last
}

func TestExamples(t *testing.T) {
	for _, e := range modeltest.Examples {
		t.Run(e.Name, func(t *testing.T) {
			m := &memory{data: map[string][]byte{}}
			run(t, m, e.Events...)
			var got []string
			perEnt, perApp := 0, 0
			for _, key := range slices.Sorted(maps.Keys(m.data)) {
				switch keys.Tag(key[0]) {
				case keys.ByEntitlement:
					perEnt++
				case keys.ByApp, keys.ByAppAndEnt:
					perApp++
				case keys.ByAssignee:
					got = append(got, describe(t, key, m.data[key]))
				}
			}
			if !slices.Equal(got, e.Want) {
				t.Errorf("\n got %q\nwant %q", got, e.Want)
			}
			listed := 0
			for _, w := range e.Want {
				if !strings.Contains(w, " - ") {
					listed++
				}
			}
			if perEnt != len(e.Want) || perApp != 2*listed {
				t.Errorf("%d rows by entitlement and %d by application, for %d rows of which %d have one", perEnt, perApp, len(e.Want), listed)
			}
		})
	}
}

func describe(t *testing.T, key string, value []byte) string {
	t.Helper()
	_, id, err := keys.ParseRow([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rows.DecodeRow(value)
	if err != nil {
		t.Fatal(err)
	}
	d, err := rows.DecodeDetail(r.Detail)
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{}
	for name, v := range d.Params {
		params[name] = string(v)
	}
	app := r.AppID
	if app == "" {
		app = "-"
	}
	return fmt.Sprintf("%s %s %s %v %d/%d", id.Assignee.ID, id.EntID, app, params, r.Created.Seq, r.Updated.Seq)
}

func TestOutcomes(t *testing.T) {
	const row = `"usr_id":"u","ent_id":"e"`
	for _, c := range []struct {
		name   string
		events []string // the last one's outcome is looked at
		want   fold.Outcome
	}{
		{"a new row", []string{`assignment.upserted {` + row + `}`}, fold.Changed},
		{"a repeat", []string{`assignment.upserted {` + row + `,"score":1}`, `assignment.upserted {` + row + `,"score":1.0}`}, fold.Unchanged},
		{"a repeat in other words", []string{
			`assignment.upserted {` + row + `,"score":0,"rights":[],"params":{},"x":{"a":1,"b":"\u0041"}}`, `assignment.upserted {` + row + `,"x":{"b":"A","a":1},"score":-0,"justification":[]}`,
		}, fold.Unchanged},
		{"a number in another form is another attribute", []string{`assignment.upserted {` + row + `,"x":1.0}`, `assignment.upserted {` + row + `,"x":1}`}, fold.Changed},
		{"a repeat with a higher revision moves the guard", []string{`assignment.upserted {` + row + `,"revision":1}`, `assignment.upserted {` + row + `,"revision":2}`}, fold.Changed},
		{"an equal revision", []string{`assignment.upserted {` + row + `,"revision":1}`, `assignment.upserted {` + row + `,"score":1,"revision":1}`}, fold.Outdated},
		{"the highest revision", []string{fmt.Sprintf(`assignment.upserted {%s,"revision":%d}`, row, math.MaxInt64), `assignment.revoked {` + row + `,"revision":0}`}, fold.Outdated},
		{"the lowest revision", []string{fmt.Sprintf(`assignment.upserted {%s,"revision":%d}`, row, math.MinInt64), `assignment.revoked {` + row + `,"revision":-1}`}, fold.Changed},
		{"below zero", []string{`assignment.upserted {` + row + `,"revision":0}`, `assignment.revoked {` + row + `,"revision":-1}`}, fold.Outdated},
		{"a guard is of one kind of assignee", []string{`assignment.upserted {"type":"GROUP","grp_id":"u","ent_id":"e","revision":9}`, `assignment.upserted {` + row + `,"revision":1}`}, fold.Changed},
		{"a guard is of one class", []string{`user.upserted {"usr_id":"u","revision":9}`, `group.upserted {"grp_id":"u","revision":1}`}, fold.Changed},
		{"a guard of an entity outlives it", []string{`user.upserted {"usr_id":"u","revision":1}`, `user.deleted {"usr_id":"u","revision":2}`, `user.upserted {"usr_id":"u","revision":2}`}, fold.Outdated},
		{"revoking nothing", []string{`assignment.revoked {` + row + `}`}, fold.Unchanged},
		{"deleting nobody", []string{`user.deleted {"usr_id":"u"}`}, fold.Unchanged},
		{"deleting somebody unknown who holds something", []string{`assignment.upserted {` + row + `}`, `user.deleted {"usr_id":"u"}`}, fold.Changed},
		{"an unmet condition", []string{`assignment.upserted {` + row + `,"if":"present"}`}, fold.Unmet},
		{"a revision comes before a condition", []string{`assignment.upserted {` + row + `,"revision":1}`, `assignment.upserted {` + row + `,"revision":1,"if":"absent"}`}, fold.Outdated},
		{"a condition that holds", []string{`assignment.upserted {` + row + `}`, `assignment.upserted {` + row + `,"if":"present","score":1}`}, fold.Changed},
		{"a row whose entitlement became known", []string{
			`assignment.upserted {` + row + `,"params":{"a":1}}`, `entitlement.upserted {"ent_id":"e"}`, `assignment.upserted {` + row + `,"params":{"a":1}}`,
		}, fold.Changed},
		{"an entitlement that says the same", []string{
			`entitlement.upserted {"ent_id":"e","secret_params":["a","b","a"]}`, `assignment.upserted {` + row + `}`, `entitlement.upserted {"secret_params":["b","a"],"ent_id":"e"}`,
		}, fold.Unchanged},
		{"an entitlement that lists nothing as secret", []string{`entitlement.upserted {"ent_id":"e"}`, `entitlement.upserted {"ent_id":"e","secret_params":[]}`}, fold.Unchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{data: map[string][]byte{}}
			run(t, m, c.events[:len(c.events)-1]...)
			before := maps.Clone(m.data)
			got := run(t, m, c.events[len(c.events)-1])
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if changed := !maps.EqualFunc(before, m.data, bytes.Equal); changed != (c.want == fold.Changed) {
				t.Errorf("the state changed: %v", changed)
			}
		})
	}
	names := map[fold.Outcome]string{fold.Changed: "changed", fold.Unchanged: "unchanged", fold.Outdated: "outdated", fold.Unmet: "unmet"}
	for o, name := range names {
		if o.String() != name {
			t.Errorf("outcome %d is called %s, want %s", o, o, name)
		}
	}
}

// The value of a secret is in no byte of the index, from the event on that
// declares it.
func TestSecretsAreNotKept(t *testing.T) {
	for _, lines := range [][]string{
		{`assignment.upserted {"usr_id":"u","ent_id":"e","params":{"pw":"hunter2"}}`},
		{`entitlement.upserted {"ent_id":"e","secret_params":["pw"]}`, `assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"own","params":{"pw":{"x":["hunter2"]}}}`},
		{
			`entitlement.upserted {"ent_id":"e","app_id":"p"}`, `assignment.upserted {"usr_id":"u","ent_id":"e","params":{"pw":"hunter2","n":1}}`,
			`assignment.upserted {"usr_id":"v","ent_id":"e","app_id":"own","params":{"pw":"hunter2"}}`, `entitlement.upserted {"ent_id":"e","app_id":"p","secret_params":["pw"]}`,
		},
		{
			`entitlement.upserted {"ent_id":"e"}`, `assignment.upserted {"usr_id":"u","ent_id":"e","params":{"pw":"hunter2"}}`, `entitlement.deleted {"ent_id":"e"}`,
			`assignment.upserted {"usr_id":"u","ent_id":"e","params":{"pw":"hunter2"}}`,
		},
	} {
		m := &memory{data: map[string][]byte{}}
		run(t, m, lines...)
		for key, value := range m.data {
			if bytes.Contains(value, []byte("hunter2")) || strings.Contains(key, "hunter2") {
				t.Errorf("after %q the index holds %q: %q", lines, key, value)
			}
		}
	}
}

// A fault of the storage, wherever it strikes, comes out of Apply as it is.
func TestStorageFaults(t *testing.T) {
	before := []string{
		`entitlement.upserted {"ent_id":"e","app_id":"p","revision":1}`, `assignment.upserted {"usr_id":"u","ent_id":"e","params":{"a":1},"revision":1}`,
		`assignment.upserted {"type":"GROUP","grp_id":"g","ent_id":"e"}`, `assignment.upserted {"type":"DYNAMIC_GROUP","grp_id":"g","ent_id":"e","app_id":"q"}`, `user.upserted {"usr_id":"u"}`,
	}
	for _, line := range []string{
		`assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"q","score":1,"params":{"a":2},"revision":2}`,
		`assignment.upserted {"usr_id":"u","ent_id":"e","app_id":"q","params":{"a":1},"revision":2}`,
		`assignment.upserted {"usr_id":"new","ent_id":"e","revision":2}`,
		`assignment.revoked {"usr_id":"u","ent_id":"e","revision":2}`,
		`entitlement.upserted {"ent_id":"e","app_id":"q","secret_params":["a"],"revision":2}`,
		`user.upserted {"usr_id":"u","email":"x"}`, `user.deleted {"usr_id":"u"}`, `group.deleted {"grp_id":"g"}`, `entitlement.deleted {"ent_id":"e"}`, `application.deleted {"app_id":"p"}`,
	} {
		ev := decode(t, line)
		calls := math.MaxInt
		for failAt := 1; failAt <= calls; failAt++ {
			m := &memory{data: map[string][]byte{}}
			run(t, m, before...)
			m.calls, m.failAt = 0, failAt
			if _, err := fold.Apply(&ev, rows.Moment{Seq: 9}, m, m); !errors.Is(err, errStorage) && m.calls >= failAt {
				t.Errorf("%s: the fault of call %d came out as %v", line, failAt, err)
			}
			if m.calls < failAt {
				calls = m.calls
			}
		}
		if calls < 2 {
			t.Errorf("%s: %d calls", line, calls)
		}
	}
}

// Stored bytes that are not ours stop the fold; they are never guessed at.
func TestCorruptState(t *testing.T) {
	user := events.Assignee{Kind: events.KindUser, ID: "u"}
	id := keys.Row{Tenant: "t", Assignee: user, EntID: "e", AppID: "p"}
	for _, c := range []struct {
		name, line string
		corrupt    func(m *memory)
	}{
		{"a guard", `assignment.revoked {"usr_id":"u","ent_id":"e","revision":9}`, func(m *memory) { m.data[string(keys.AssignmentGuard("t", user, "e"))] = []byte("1234567") }},
		{"the row that is upserted", `assignment.upserted {"usr_id":"u","ent_id":"e","score":1}`, func(m *memory) { m.data[string(id.Make(keys.ByAssignee))] = []byte("x") }},
		{"the row that is revoked", `assignment.revoked {"usr_id":"u","ent_id":"e"}`, func(m *memory) { m.data[string(id.Make(keys.ByAssignee))] = []byte("x") }},
		{"a row that is revoked along", `user.deleted {"usr_id":"u"}`, func(m *memory) { m.data[string(id.Make(keys.ByAssignee))] = []byte("x") }},
		{"a row that moves", `entitlement.upserted {"ent_id":"e","app_id":"q"}`, func(m *memory) { m.data[string(id.Make(keys.ByAssignee))] = []byte("x") }},
		{"the detail of a row", `entitlement.upserted {"ent_id":"e","app_id":"p","secret_params":["a"]}`, func(m *memory) {
			r := rows.Row{Face: rows.MakeFace(&events.Assignment{Assignee: user, EntID: "e"}), Detail: []byte("{")}
			m.data[string(id.Make(keys.ByAssignee))] = r.Encode()
		}},
		{"the entitlement of a new row", `assignment.upserted {"usr_id":"v","ent_id":"e"}`, func(m *memory) { m.data[string(keys.Entity("t", keys.ClassEntitlement, "e"))] = []byte("x") }},
		{"the entitlement that is upserted", `entitlement.upserted {"ent_id":"e"}`, func(m *memory) { m.data[string(keys.Entity("t", keys.ClassEntitlement, "e"))] = []byte("x") }},
		{"a row listed by entitlement and nowhere else", `entitlement.deleted {"ent_id":"e"}`, func(m *memory) { delete(m.data, string(id.Make(keys.ByAssignee))) }},
		{"a row listed by application and nowhere else", `application.deleted {"app_id":"p"}`, func(m *memory) { delete(m.data, string(id.Make(keys.ByAssignee))) }},
		{"a key by assignee", `user.deleted {"usr_id":"u"}`, func(m *memory) {
			m.data[string(append(keys.AppendAssignee(keys.Prefix(nil, keys.ByAssignee, "t"), user), 'x'))] = nil
		}},
		{"a key by entitlement", `entitlement.deleted {"ent_id":"e"}`, func(m *memory) {
			m.data[string(append(keys.Append(keys.Prefix(nil, keys.ByEntitlement, "t"), "e"), 9))] = nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{data: map[string][]byte{}}
			run(t, m, `entitlement.upserted {"ent_id":"e","app_id":"p"}`, `assignment.upserted {"usr_id":"u","ent_id":"e","params":{"a":1},"revision":1}`)
			c.corrupt(m)
			ev := decode(t, c.line)
			if _, err := fold.Apply(&ev, rows.Moment{Seq: 9}, m, m); !errors.Is(err, rows.ErrCorrupt) && !errors.Is(err, keys.ErrMalformed) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What the fold writes depends on the event, the moment and the state: not on
// the order of a map.
func TestFoldIsDeterministic(t *testing.T) {
	var first map[string][]byte
	for range 20 {
		m := &memory{data: map[string][]byte{}}
		run(t, m, `entitlement.upserted {"ent_id":"e"}`,
			`assignment.upserted {"usr_id":"u","ent_id":"e","params":{"a":1,"b":2,"c":3,"d":4,"e":5},"z":1,"y":2,"x":3}`, `user.upserted {"usr_id":"u","f":1,"g":2,"h":3}`)
		if first == nil {
			first = m.data
		}
		if !maps.EqualFunc(first, m.data, bytes.Equal) {
			t.Fatalf("%q and %q", first, m.data)
		}
	}
}
