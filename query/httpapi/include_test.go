package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
)

const allMembers = `"app_id","type","rights","params","attributes","valid_from","valid_until","created_at","updated_at","user","group","entitlement","application"`

// Rows tell what is included, in one order, and nothing else; what there is not is
// null, or empty where it is a list or an object.
func TestIncludedMembers(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme",
		event{"entitlement.upserted", `{"ent_id":"e","ent_name":"Edit","app_id":"web","ent_type":"role","secret_params":["pw"],"x":1.50}`}, // 1
		event{"user.upserted", `{"usr_id":"u","usr_name":"U","email":"u@example.com","grp_id":"g"}`},
		event{"group.upserted", `{"grp_id":"g","grp_name":"G"}`},
		event{"application.upserted", `{"app_id":"web","app_name":"Web","app_owner_id":"o"}`},
		event{"assignment.upserted", `{"usr_id":"u","ent_id":"e","score":0.60,"justification":[{"id":"CITY","title":"city","value":"Jacksonville"}],` + // 5
			`"rights":[{"name":"r","values":["a","b"]}],"params":{"pw":"hunter2","n":1.50},"valid_from":"2026-01-31","valid_until":"2027-01-31T12:00:00Z","cost":{"b":1,"a":[2]}}`},
		event{"assignment.upserted", `{"usr_id":"nobody","ent_id":"f"}`},
		event{"assignment.upserted", `{"grp_id":"g","type":"GROUP","ent_id":"e","app_id":"own"}`},
		event{"assignment.upserted", `{"grp_id":"none","type":"DYNAMIC_GROUP","ent_id":"e"}`},
		event{"assignment.upserted", `{"type":"ALL","ent_id":"f","params":{"n":1}}`}, // 9
	)
	const (
		bare        = `{"ent_id":"e","usr_id":"u","score":0.6,"justification":[{"id":"CITY","title":"city","value":"Jacksonville"}]`
		details     = `"rights":[{"name":"r","values":["a","b"]}],"params":{"n":1.50,"pw":"***"},"attributes":{"cost":{"a":[2],"b":1}},"valid_from":"2026-01-31","valid_until":"2027-01-31T12:00:00Z"`
		noDetails   = `"rights":[],"params":{},"attributes":{},"valid_from":null,"valid_until":null`
		entitlement = `"entitlement":{"ent_id":"e","ent_name":"Edit","ent_type":"role","app_id":"web","secret_params":["pw"],"attributes":{"x":1.50}}`
		application = `"application":{"app_id":"web","app_name":"Web","app_owner_id":"o"}`
		group       = `"group":{"grp_id":"g","grp_name":"G"}`
	)
	at := func(seq int) string {
		return fmt.Sprintf(`"created_at":"1970-01-01T00:00:%02dZ","updated_at":"1970-01-01T00:00:%02dZ"`, seq, seq)
	}
	for _, c := range []struct{ request, want string }{
		{`{"usr_id":"u"}`, bare + `}`},
		{`{"usr_id":"u","include":[]}`, bare + `}`},
		{`{"usr_id":"u","include":null}`, bare + `}`},
		{`{"usr_id":"u","include":["app_id"]}`, bare + `,"app_id":"web"}`},
		{`{"usr_id":"u","include":["application","type","app_id","type"]}`, bare + `,"app_id":"web","type":"USER",` + application + `}`},
		{`{"usr_id":"u","include":[` + allMembers + `]}`, bare + `,"app_id":"web","type":"USER",` + details + `,` + at(5) +
			`,"user":{"usr_id":"u","usr_name":"U","email":"u@example.com","grp_id":"g"},` + group + `,` + entitlement + `,` + application + `}`},
		{`{"usr_id":"nobody","include":[` + allMembers + `]}`, `{"ent_id":"f","usr_id":"nobody","score":null,"justification":[],"app_id":null,"type":"USER",` + noDetails + `,` + at(6) +
			`,"user":null,"group":null,"entitlement":null,"application":null}`},
		{`{"grp_id":"g","include":[` + allMembers + `]}`, `{"ent_id":"e","grp_id":"g","type":"GROUP","score":null,"justification":[],"app_id":"own",` + noDetails + `,` + at(7) +
			`,"user":null,` + group + `,` + entitlement + `,"application":null}`},
		{`{"type":"DYNAMIC_GROUP","include":[` + allMembers + `]}`, `{"ent_id":"e","grp_id":"none","type":"DYNAMIC_GROUP","score":null,"justification":[],"app_id":"web",` + noDetails + `,` + at(8) +
			`,"user":null,"group":null,` + entitlement + `,` + application + `}`},
		{`{"type":"ALL","include":["type","params","user","group"]}`, `{"ent_id":"f","type":"ALL","score":null,"justification":[],"params":{"n":"***"},"user":null,"group":null}`},
	} {
		if _, a := f.list(c.request); string(a.body) != `{"cursor":null,"assignments":[`+c.want+`]}` {
			t.Errorf("%s\n got %s\nwant %s", c.request, a.body, c.want)
		}
	}
	// From whatever family the rows are read.
	_, whole := f.list(`{"usr_id":"u","include":[` + allMembers + `]}`)
	for _, filter := range []string{`"ent_id":"e"`, `"app_id":"web"`, `"ent_id":"e","app_id":"web"`, `"usr_id":"u","app_id":"web"`, `"level":"medium"`} {
		if _, a := f.list(`{` + filter + `,"include":[` + allMembers + `]}`); string(a.body) != string(whole.body) {
			t.Errorf("%s: %s", filter, a.body)
		}
	}
}

// Details are those of the listing's snapshot, page after page.
func TestDetailsAreOfTheSnapshot(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme",
		event{"entitlement.upserted", `{"ent_id":"e","ent_name":"old"}`},
		event{"assignment.upserted", `{"usr_id":"a","ent_id":"e","params":{"pw":"hunter2"},"x":1}`},
		event{"assignment.upserted", `{"usr_id":"b","ent_id":"e","params":{"pw":"hunter2"},"x":1}`},
	)
	const include = `,"include":["params","attributes","entitlement"],"pageSize":1`
	row := func(usr, params, name string) string {
		return `{"ent_id":"e","usr_id":"` + usr + `","score":null,"justification":[],"params":{"pw":"` + params + `"},"attributes":{"x":1},"entitlement":{"ent_id":"e","ent_name":"` + name + `"}}`
	}
	p, _ := f.list(`{"ent_id":"e"` + include + `}`)
	if got := string(p.Assignments[0]); got != row("a", "hunter2", "old") {
		t.Fatalf("%s", got)
	}
	f.index.apply("acme",
		event{"assignment.upserted", `{"usr_id":"b","ent_id":"e","params":{"pw":"other"},"x":2}`},
		event{"entitlement.upserted", `{"ent_id":"e","ent_name":"new","secret_params":["pw"]}`},
	)
	next, a := f.list(`{"ent_id":"e","cursor":"` + *p.Cursor + `"` + include + `}`)
	if got := string(next.Assignments[0]); got != row("b", "***", "old") || a.header.Get("Assigndex-Seq") != "3" {
		t.Fatalf("%s at %s", got, a.header.Get("Assigndex-Seq"))
	}
	if p, _ = f.list(`{"as_of":3,"usr_id":"a"` + include + `}`); string(p.Assignments[0]) != row("a", "***", "old") {
		t.Fatalf("%s", p.Assignments)
	}
	if _, a = f.list(`{"include":["params","entitlement"]}`); strings.Contains(string(a.body), "hunter2") || strings.Contains(string(a.body), "other") || !strings.Contains(string(a.body), `"ent_name":"new"`) {
		t.Fatalf("%s", a.body)
	}
	// Another tenant's records are not there.
	f.index.apply("other", event{"assignment.upserted", `{"usr_id":"a","ent_id":"e"}`})
	if _, a = f.as("other").list(`{"include":["entitlement"]}`); !strings.Contains(string(a.body), `"entitlement":null`) {
		t.Fatalf("%s", a.body)
	}
}

// A page whose budget is spent is short or empty, has a cursor, and the listing
// goes on to its end.
func TestSpentPages(t *testing.T) {
	f := newFixture(t, nil)
	var batch []event
	for i := range 40 {
		batch = append(batch, event{"assignment.upserted", fmt.Sprintf(`{"usr_id":"u%02d","ent_id":"e","score":%s}`, i, map[bool]string{true: "0.9", false: "0.1"}[i == 25])})
	}
	f.index.apply("acme", batch...)
	f.server.lister = query.NewLister(f.index, query.Options{MaxPageSize: 10, Levels: rows.DefaultThresholds, Budget: 7})
	cursor, found, pages := "", 0, 0
	for {
		p, _ := f.list(`{"level":"high","pageSize":10` + cursor + `}`)
		pages++
		found += len(p.Assignments)
		if p.Cursor == nil {
			break
		}
		cursor = `,"cursor":"` + *p.Cursor + `"`
	}
	if found != 1 || pages != 6 {
		t.Errorf("%d rows on %d pages", found, pages)
	}
}
