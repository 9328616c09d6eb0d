package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/assignmentcode"
)

// ibmVerifyForm is the form of IBM Verify's refusals.
var ibmVerifyForm = form{
	paths:      []string{verifySearchPath, verifyRightsPath},
	components: "Verify",
	want: func(tb testing.TB, a answer, status int, code query.Code, field string) {
		tb.Helper()
		wantMessage(tb, a, status, code, field)
	},
	codes: func(r *openapi3.Response) (codes []string) {
		answer := r.Content.Get("application/json").Schema.Value
		if answer.Properties["messageId"] == nil {
			return nil
		}
		for _, id := range enumOf(answer.Properties["messageId"]) {
			codes = append(codes, strings.ToLower(strings.TrimPrefix(id, "ADX_")))
		}
		return codes
	},
}

// wantMessage checks an error answer in IBM's form, and gives its description.
func wantMessage(tb testing.TB, a answer, status int, code query.Code, field string) string {
	tb.Helper()
	var m struct {
		ID          string `json:"messageId"`
		Description string `json:"messageDescription"`
	}
	if err := json.Unmarshal(a.body, &m, json.RejectUnknownMembers(true)); err != nil {
		tb.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if a.status != status || m.ID != "ADX_"+strings.ToUpper(string(code)) || m.Description == "" ||
		(field != "") != strings.HasPrefix(m.Description, field+": ") {
		tb.Fatalf("%d %s; want %d %s of %q", a.status, a.body, status, code, field)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) ||
		a.header.Get("Cache-Control") != "no-store" {
		tb.Fatalf("headers %v, body %s", a.header, a.body)
	}
	return m.Description
}

// verifyCode gives the code of a user's assignment.
func verifyCode(tenant, usr, ent string) string {
	return assignmentcode.Encode(tenant, listing.Position{Assignee: events.Assignee{Kind: events.KindUser, ID: usr}, EntID: ent})
}

// verifyRights gives the path of the rights of a user's assignment.
func verifyRights(tenant, usr, ent string) string {
	return strings.Replace(verifyRightsPath, "{code}", verifyCode(tenant, usr, ent), 1)
}

func examineIBMVerify(t *testing.T, e *exam, f *contractFixture) {
	examineVerifySearch(t, e, f)
	examineVerifyRights(t, e, f)
	examineVerifyFaults(t, e)
	examineVerifyTime(t, e)
}

func examineVerifySearch(t *testing.T, e *exam, f *contractFixture) {
	post := func(params, body string, q question) {
		t.Helper()
		q.name, q.path, q.body = params+" "+body[:min(len(body), 60)], verifySearchPath+params, body
		e.ask(t, f.reader, q)
	}
	for _, params := range []string{
		"", "?user=u", "?group=g", "?user=u&group=g", "?type=USER", "?type=GROUP", "?type=DYNAMIC_GROUP", "?includeRights=true", "?includeRights=false",
		"?limit=1", "?limit=50&page=2", "?page=0", "?page=-7", "?page=2147483647", "?at_least=10", "?as_of=10", "?as_of=0010",
		"?as_of=1970-01-01T00:00:05Z", "?as_of=1970-01-01T02:00:09.999999999%2B02:00",
		"?user=u&type=USER&includeRights=true&limit=2&page=1&at_least=1&as_of=10",
	} {
		post(params, "", question{status: 200})
	}
	for _, body := range []string{
		`{}`, `{"code":"edit"}`, `{"name":"Edit"}`, `{"description":"d"}`, `{"type":"role"}`, `{"type":"permission"}`, `{"subType":"regular"}`,
		`{"subType":"dynamic"}`, `{"application":"web"}`, `{"category":"c"}`, `{"extRef":"x"}`,
		`{"code":"edit","name":"Edit","description":"d","type":"role","subType":"dynamic","application":"web","category":"c","extRef":"x"}`,
		`{"code":null,"name":null,"description":null,"type":null,"subType":null,"application":null,"category":null,"extRef":null}`,
	} {
		post("?includeRights=true", body, question{status: 200})
	}
	post("", "", question{headers: []string{"Content-Type", ""}, status: 200})
	post("", "", question{headers: []string{"Assigndex-Stream", incarnation, "Assigndex-Tenant", "acme"}, status: 200})
	long := strings.Repeat("x", events.MaxIDBytes+1)
	for params, want := range map[string]question{
		"?usr_id=u":           {code: query.UnknownField, field: "usr_id", illegal: true},
		"?cursor=AQ":          {code: query.UnknownField, field: "cursor", illegal: true},
		"?user=":              {code: query.InvalidField, field: "user", illegal: true},
		"?group=" + long:      {code: query.InvalidField, field: "group", illegal: true},
		"?user=a&user=a":      {code: query.InvalidField, field: "user", illegal: true},
		"?type=ALL":           {code: query.InvalidField, field: "type", illegal: true},
		"?type=user":          {code: query.InvalidField, field: "type", illegal: true},
		"?includeRights=yes":  {code: query.InvalidField, field: "includeRights", illegal: true},
		"?limit=0":            {code: query.InvalidField, field: "limit", illegal: true},
		"?limit=51":           {code: query.InvalidField, field: "limit", illegal: true},
		"?page=1.5":           {code: query.InvalidField, field: "page", illegal: true},
		"?as_of=now":          {code: query.InvalidField, field: "as_of", illegal: true},
		"?at_least=-1":        {code: query.InvalidField, field: "at_least", illegal: true},
		"?as_of=1&at_least=2": {code: query.ConflictingFields, field: "at_least"},
		"?user=u&type=GROUP":  {code: query.ConflictingFields, field: "type"},
		"?group=g&type=USER":  {code: query.ConflictingFields, field: "type"},
	} {
		want.status = 400
		post(params, "", want)
	}
	for body, want := range map[string]question{
		`{`:                         {code: query.InvalidJSON, illegal: true},
		`[]`:                        {code: query.InvalidJSON, illegal: true},
		`{"name":"a","name":"a"}`:   {code: query.InvalidJSON, field: "name"},
		`{"names":"a"}`:             {code: query.UnknownField, field: "names", illegal: true},
		`{"name":""}`:               {code: query.InvalidField, field: "name", illegal: true},
		`{"code":7}`:                {code: query.InvalidField, field: "code", illegal: true},
		`{"code":"` + long + `"}`:   {code: query.InvalidField, field: "code", illegal: true},
		`{"type":"Role"}`:           {code: query.InvalidField, field: "type", illegal: true},
		`{"subType":"permission"}`:  {code: query.InvalidField, field: "subType", illegal: true},
		`{"application":["web"]}`:   {code: query.InvalidField, field: "application", illegal: true},
		`{"extRef":{"id":"x"}}`:     {code: query.InvalidField, field: "extRef", illegal: true},
		`{"category":true}`:         {code: query.InvalidField, field: "category", illegal: true},
		`{"description":{"en":""}}`: {code: query.InvalidField, field: "description", illegal: true},
	} {
		want.status = 400
		post("", body, want)
	}
	post("", "", question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
	post("", "", question{headers: []string{"Assigndex-Stream", " "}, status: 400, code: InvalidHeader, field: "Assigndex-Stream"})
	post("", `{}`+strings.Repeat(" ", maxQueryBody-2), question{status: 200})
	post("", `{}`+strings.Repeat(" ", maxQueryBody-1), question{status: 413, code: BodyTooLarge})
	post("", `{}`, question{headers: []string{"Content-Type", "text/plain"}, status: 415, code: UnsupportedMedia, field: "Content-Type", illegal: true})
	post("", `{}`, question{headers: []string{"Content-Encoding", "gzip"}, status: 415, code: UnsupportedMedia, field: "Content-Encoding"})
	post("?at_least=1000", "", question{status: 503, code: query.NotReached})
}

func examineVerifyRights(t *testing.T, e *exam, f *contractFixture) {
	get := func(code, params string, q question) {
		t.Helper()
		q.method, q.path = http.MethodGet, strings.Replace(verifyRightsPath, "{code}", code, 1)+params
		q.name = q.path
		e.ask(t, f.reader, q)
	}
	mine, none := verifyCode("acme", "u", "edit"), verifyCode("acme", "v", "other")
	for _, params := range []string{"", "?as_of=10", "?at_least=10", "?as_of=2026-01-01T00:00:00Z"} {
		get(mine, params, question{status: 200})
		get(none, params, question{status: 200})
	}
	get(mine, "?as_of=1", question{status: 404, code: NotFound}) // not yet
	for _, code := range []string{verifyCode("other", "u", "edit"), verifyCode("acme", "u", "nothing"), mine[1:], "x", "%00"} {
		get(code, "", question{status: 404, code: NotFound})
	}
	get(mine, "?includeRights=true", question{status: 400, code: query.UnknownField, field: "includeRights", illegal: true})
	get(mine, "?as_of=", question{status: 400, code: query.InvalidField, field: "as_of", illegal: true})
	get(mine, "?as_of=1&at_least=2", question{status: 400, code: query.ConflictingFields, field: "at_least"})
	get(mine, "", question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
	get(mine, "?at_least=1000", question{status: 503, code: query.NotReached})
}

func examineVerifyFaults(t *testing.T, e *exam) {
	f := newContractFixture(t, func(o *Options) {
		o.SearchBudget = 1
		o.Index = &hooked{Index: o.Index, wait: func(context.Context, uint64) error { return errors.New("disk") }}
	})
	f.fill()
	e.ask(t, f.reader, question{name: "search", path: verifySearchPath + "?at_least=1000", status: 500, code: Internal})
	e.ask(t, f.reader, question{name: "rights", method: http.MethodGet, path: verifyRights("acme", "u", "edit") + "?at_least=1000", status: 500, code: Internal})
	e.ask(t, f.reader, question{name: "too many", path: verifySearchPath, status: 422, code: query.TooManyRows})
}

// Before there is anything to read, and after it is gone.
func examineVerifyTime(t *testing.T, e *exam) {
	unready := newContractFixture(t, func(o *Options) { o.Lag = (&lagged{}).get })
	unready.fill()
	pruned := newContractFixture(t, nil)
	pruned.fill()
	if err := pruned.index.st.AdvanceFloor(5); err != nil {
		t.Fatal(err)
	}
	for _, q := range []question{{name: "search", path: verifySearchPath}, {name: "rights", method: http.MethodGet, path: verifyRights("acme", "u", "edit")}} {
		q.status, q.code = 503, query.NotReady
		e.ask(t, unready.reader, q)
		path := q.path
		for _, then := range []string{"1", "1970-01-01T00:00:01Z"} {
			q.path, q.status, q.code = path+"?as_of="+then, 410, query.HistoryPruned
			e.ask(t, pruned.reader, q)
		}
	}
	pruned.index.head.Store(1000)
	now := "?as_of=" + time.Now().UTC().Format(time.RFC3339)
	e.ask(t, pruned.reader, question{name: "search behind", path: verifySearchPath + now, status: 503, code: query.NotReached})
	e.ask(t, pruned.reader, question{name: "rights behind", method: http.MethodGet, path: verifyRights("acme", "u", "edit") + now, status: 503, code: query.NotReached})
}
