package httpapi

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/semaphor"
)

// semaphorOf is the path of a project.
func semaphorOf(project string) string {
	return strings.Replace(semaphorPath, "{projectId}", project, 1)
}

func golden(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "semaphor", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Events that carry every field of the page's sample give the answer that is
// written down, in every byte but white space.
func TestSemaphorGolden(t *testing.T) {
	f := newFixture(t, nil)
	for line := range bytes.Lines(golden(t, "events.ndjson")) {
		var e struct {
			Time time.Time      `json:"time"`
			Type string         `json:"type"`
			Data jsontext.Value `json:"data"`
		}
		if err := json.Unmarshal(line, &e, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		f.index.applyAt("my-project", func(uint64) time.Time { return e.Time }, event{e.Type, string(e.Data)})
	}
	want := jsontext.Value(golden(t, "answer.json"))
	if err := want.Compact(); err != nil {
		t.Fatal(err)
	}
	a := f.as("*").do(http.MethodGet, semaphorOf("my-project"), "")
	if a.status != http.StatusOK || string(a.body) != string(want) {
		t.Fatalf("%d\n got %s\nwant %s", a.status, a.body, want)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Assigndex-Seq": "10", "Assigndex-Stream": incarnation,
	} {
		if got := a.header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if bytes.Contains(a.body, []byte("hunter2")) {
		t.Error("a secret is told")
	}
}

// The written answer has the page's shape, member by member: the same names in the
// same order, with values of the same types or null, and each member has a value
// somewhere.
func TestSemaphorShape(t *testing.T) {
	page, answer := shape(t, golden(t, "page.json")), shape(t, golden(t, "answer.json"))
	// The names of parameters are whatever the definition has.
	isParam := func(at string) bool { return strings.Contains(at, "/params/") }
	for at, types := range answer {
		want, ok := page[at]
		switch {
		case isParam(at):
			want, ok = page["/data/assignments/*/assignment/params/property1"]
		case !ok:
			t.Errorf("the page has no %s", at)
			continue
		}
		for kind := range types {
			if kind != "null" && !want[kind] || !ok {
				t.Errorf("%s: %s, the page has %v", at, kind, want)
			}
		}
	}
	for at, types := range page {
		if got := answer[at]; !isParam(at) && !maps.Equal(types, got) && !maps.Equal(types, without(got, "null")) {
			t.Errorf("%s: the page has %v, the answer %v", at, types, got)
		}
	}
	if len(page) < 30 {
		t.Errorf("only %d members are found", len(page))
	}
	pageNames, names := memberNames(t, golden(t, "page.json")), memberNames(t, golden(t, "answer.json"))
	for at, want := range pageNames {
		if got := names[at]; !strings.HasSuffix(at, "/params") && !slices.Equal(got, want) {
			t.Errorf("%s: members %q, the page has %q", at, got, want)
		}
	}
}

// A refusal has the shape of the page's.
func TestSemaphorErrorShape(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"))
	a := f.do(http.MethodGet, semaphorOf("acme")+"?page=2", "")
	want, got := memberNames(t, golden(t, "page_error.json")), memberNames(t, a.body)
	if got["/error/details"] = nil; !maps.EqualFunc(want, got, slices.Equal[[]string]) {
		t.Errorf("members %q, the page has %q", got, want)
	}
	const text = `{"ok":false,"error":{"code":"INVALID_REQUEST","message":"no parameter has this name; there are as_of and at_least","details":{"field":"page"}}}`
	if a.status != http.StatusBadRequest || a.header.Get("Content-Type") != "application/json" || string(a.body) != text {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

type types map[string]bool

func without(of types, name string) types {
	rest := maps.Clone(of)
	delete(rest, name)
	return rest
}

// shape gives the types of every place of a document. The elements of an array are
// one place.
func shape(t *testing.T, doc []byte) map[string]types {
	t.Helper()
	all := map[string]types{}
	walkJSON(t, "", doc, func(at string, value any) {
		if all[at] == nil {
			all[at] = types{}
		}
		name := fmt.Sprintf("%T", value)
		if value == nil {
			name = "null"
		}
		all[at][name] = true
	})
	return all
}

func walkJSON(t *testing.T, at string, doc jsontext.Value, visit func(at string, value any)) {
	t.Helper()
	var value any
	if err := json.Unmarshal(doc, &value); err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	visit(at, value)
	switch doc.Kind() {
	case '{':
		var members map[string]jsontext.Value
		if err := json.Unmarshal(doc, &members); err != nil {
			t.Fatal(err)
		}
		for name, member := range members {
			walkJSON(t, at+"/"+name, member, visit)
		}
	case '[':
		var elements []jsontext.Value
		if err := json.Unmarshal(doc, &elements); err != nil {
			t.Fatal(err)
		}
		for _, element := range elements {
			walkJSON(t, at+"/*", element, visit)
		}
	}
}

// memberNames gives the names of the members of every object, in their order.
func memberNames(t *testing.T, doc []byte) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	type frame struct {
		at    string
		array bool
		name  string
	}
	var stack []frame
	path := func() string {
		if len(stack) == 0 {
			return ""
		}
		top := stack[len(stack)-1]
		if top.array {
			return top.at + "/*"
		}
		return top.at + "/" + top.name
	}
	begun := map[string]int{}
	d := jsontext.NewDecoder(bytes.NewReader(doc))
	for d.PeekKind() != 0 {
		token, err := d.ReadToken()
		if err != nil {
			t.Fatal(err)
		}
		top := len(stack) - 1
		_, length := d.StackIndex(d.StackDepth())
		switch kind := token.Kind(); {
		case kind == '{' || kind == '[':
			at := path()
			stack = append(stack, frame{at: at, array: kind == '['})
			if begun[at]++; kind == '{' && begun[at] == 1 {
				names[at] = nil
			}
		case kind == '}' || kind == ']':
			stack = stack[:top]
		case top >= 0 && !stack[top].array && length%2 == 1: // a name
			stack[top].name = token.String()
			if begun[stack[top].at] == 1 {
				names[stack[top].at] = append(names[stack[top].at], stack[top].name)
			}
		}
	}
	return names
}

// A secret is masked whenever it was declared, in the state of before as well.
func TestSemaphorSecrets(t *testing.T) {
	f := newFixture(t, nil)
	const assigned = `{"usr_id":"u","ent_id":"e","params":{"declared":"hunter1","later":"hunter2","open":"x"}}`
	f.index.apply("acme", event{"assignment.upserted", assigned}) // before its entitlement is known
	steps := []uint64{f.index.apply("acme", event{"entitlement.upserted", `{"ent_id":"e","secret_params":["declared"]}`})}
	steps = append(steps, f.index.apply("acme", event{"assignment.upserted", assigned}))
	ask := func(params string) string {
		t.Helper()
		a := f.do(http.MethodGet, semaphorOf("acme")+params, "")
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		_, rest, _ := strings.Cut(string(a.body), `"params":`)
		told, _, _ := strings.Cut(rest, `,"createdAt"`)
		return told
	}
	if got, want := ask("?as_of=1"), `{"declared":"***","later":"***","open":"***"}`; got != want {
		t.Errorf("of an unknown entitlement: %s", got)
	}
	if got, want := ask(""), `{"declared":"***","later":"hunter2","open":"x"}`; got != want {
		t.Errorf("declared before: %s", got)
	}
	steps = append(steps, f.index.apply("acme", event{"entitlement.upserted", `{"ent_id":"e","secret_params":["declared","later"]}`}))
	steps = append(steps, f.index.apply("acme", event{"entitlement.upserted", `{"ent_id":"e"}`})) // declared no more
	for _, seq := range steps {
		if got := ask(fmt.Sprintf("?as_of=%d", seq)); strings.Contains(got, "hunter") {
			t.Errorf("declared since, at sequence %d: %s", seq, got)
		}
	}
}

// The reference shows what a server answers, and every code of this form.
func TestSemaphorReference(t *testing.T) {
	reference, err := os.ReadFile("../API.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(reference), "\n## `GET "+semaphorPath+"`\n")
	if !found {
		t.Fatal("API.md has no section for " + semaphorPath)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "```")
	if len(blocks) != 7 || !strings.Contains(blocks[1], "http://127.0.0.1:8080"+semaphorOf("acme")+" ") {
		t.Fatalf("%d blocks: %q", len(blocks)/2, blocks[1])
	}
	f := newFixture(t, nil)
	at := func(text string) func(uint64) time.Time {
		stamp, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return func(uint64) time.Time { return stamp }
	}
	f.index.applyAt("acme", at("2026-01-31T12:00:00Z"),
		event{"application.upserted", `{"app_id":"warehouse","app_name":"Warehouse","app_type":"postgres"}`},
		event{"entitlement.upserted", `{"ent_id":"sales-by-region","ent_name":"Sales by region","app_id":"warehouse","secret_params":["password"]}`},
		event{"group.upserted", `{"grp_id":"northwind","grp_name":"Northwind"}`},
		event{"user.upserted", `{"usr_id":"bo-17","usr_name":"Bo Reyes","email":"bo@example.com","grp_id":"northwind"}`},
		give("bo-17", "sales-by-region", ""),
	)
	f.index.applyAt("acme", at("2026-02-01T08:30:00.25Z"),
		event{"assignment.upserted", `{"usr_id":"bo-17","ent_id":"sales-by-region","params":{"region":"north","password":"secret"}}`})
	for i, params := range map[int]string{3: "", 5: "?page=2"} {
		want := strings.TrimSpace(strings.TrimPrefix(blocks[i], "json"))
		if got := f.do(http.MethodGet, semaphorOf("acme")+params, ""); string(got.body) != want {
			t.Errorf("%q\n got %s\nAPI.md %s", params, got.body, want)
		}
	}
	_, table, _ := strings.Cut(section, "\n| status | `code` |")
	for code, k := range kinds {
		row := fmt.Sprintf("\n| %d | `%s` | ", k.status, semaphor.CodeOf(code))
		if ours := strings.Contains(table, "`"+string(code)+"`"); ours != semaphorRefusals[code] || ours && !strings.Contains(table, row) {
			t.Errorf("the table has %s: %v, want %v as%s", code, ours, semaphorRefusals[code], row)
		}
	}
}

// semaphorRefusals are the codes that requests of this path can meet.
var semaphorRefusals = map[query.Code]bool{
	query.UnknownField: true, query.InvalidField: true, query.ConflictingFields: true, InvalidHeader: true,
	Unauthenticated: true, TenantForbidden: true, RoleForbidden: true, MethodNotAllowed: true,
	query.HistoryPruned: true, query.StreamChanged: true, Internal: true, query.NotReady: true, query.NotReached: true,
	RateLimited: true, Overloaded: true,
}
