package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ingest"
)

const (
	listPath  = "/api/assignments"
	statsPath = "/api/companyview/assignmentStats"
)

var ingestPaths = []string{"/api/ingest/applications", "/api/ingest/entitlements", "/api/ingest/identities", "/api/ingest/assignments"}

// Every route's requests and answers are as the document has them, and every
// answer that the document has is given by some request.
func TestConformance(t *testing.T) {
	f := newContractFixture(t, nil)
	e := newExam(t, strings.TrimPrefix(f.base, "http://"))
	f.fill()
	parts := []struct {
		name    string
		examine func(t *testing.T, e *exam, f *contractFixture)
	}{
		{"assignments", examineListing}, {"changes", examineChanges}, {"stats", examineStats}, {"IBM Verify", examineIBMVerify},
		{"Semaphor", examineSemaphor}, {"ingest", examineIngest}, {"credentials", examineCredentials},
		{"operations", examineOperations}, {"readiness", examineReadiness}, {"faults", examineFaults}, {"history", examineHistory},
		{"broken bodies", examineBrokenBodies}, {"quarantine", examineQuarantine}, {"limits", examineLimits}, {"verification", examineVerify}, {"rebuild", examineRebuild},
		{"snapshot", examineSnapshot}, {"snapshots in the object store", examineSnapshots},
		{"other paths and methods", examineOthers},
	}
	examined := 0
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { examined++; part.examine(t, e, f) })
	}
	if examined < len(parts) {
		t.Skip("only some of the requests were asked for, so not every answer was given")
	}
	if !t.Failed() {
		e.wantComplete(t)
	}
}

// contractFixture is a server with every route and a key of each role.
type contractFixture struct {
	*fixture
	publisher *applier
	stub      *stub
	reader    *client
	writer    *client
	any       *client // for all tenants, a writer
	admin     *client
	operator  *client // for all tenants, an admin
}

func newContractFixture(t *testing.T, change func(*Options)) *contractFixture {
	t.Helper()
	cf := &contractFixture{publisher: &applier{}, stub: &stub{stored: map[uint64]events.Message{}, ids: map[string]uint64{}}}
	var keys []apikey.Key
	tokens := map[string]string{}
	for name, k := range map[string]struct {
		role   apikey.Role
		tenant string
	}{
		"reader": {apikey.Reader, "acme"}, "writer": {apikey.Writer, "acme"}, "any": {apikey.Writer, apikey.AllTenants},
		"admin": {apikey.Admin, "acme"}, "operator": {apikey.Admin, apikey.AllTenants},
	} {
		key, token, err := apikey.New(name, k.role, k.tenant, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		keys, tokens[name] = append(keys, key), token
	}
	cf.fixture = newFixture(t, func(o *Options) {
		o.Auth[0].(Keys).Set.Replace(keys, time.Now())
		o.Publisher, o.Presence, o.MaxPageSize, o.MaxWait = cf.publisher, o.Index.(*testIndex), 50, time.Millisecond
		o.Quarantine, o.Settler = o.Index.(*testIndex), cf.stub
		o.Verifier, o.Snapshotter = verifierOf(o.Index.(*testIndex)), snapshotterOf(o.Index.(*testIndex))
		o.SnapshotStore, o.Rebuilder = &snapshotStub{}, new(rebuilderStub)
		if change != nil {
			change(o)
		}
	})
	cf.publisher.index, cf.stub.index = cf.index, cf.index
	with := func(name string) *client {
		c := *cf.client
		c.token = tokens[name]
		return &c
	}
	cf.reader, cf.writer, cf.any = with("reader"), with("writer"), with("any")
	cf.admin, cf.operator = with("admin"), with("operator")
	return cf
}

// applier publishes by applying at once.
type applier struct {
	index *testIndex
	err   error // when not nil, what Publish fails with after the first few records
	first int   // how many these are
}

func (p *applier) Publish(_ context.Context, tenant string, records []ingest.Record) (last uint64, acknowledged int, err error) {
	if p.err != nil {
		records = records[:p.first]
	}
	for _, r := range records {
		last = p.index.apply(tenant, event{string(r.Type), string(r.Data)})
	}
	return last, len(records), p.err
}

// fill makes rows of every kind, with all that can be included, and some without.
func (f *contractFixture) fill() {
	f.index.apply("acme",
		event{"application.upserted", `{"app_id":"web","app_name":"Web","app_type":"site","app_owner_id":"o","tier":1}`},
		event{"entitlement.upserted", `{"ent_id":"edit","ent_name":"Edit","description":"d","ent_type":"role","sub_type":"dynamic","category":"c",` +
			`"ext_ref":"x","ent_owner_id":"o","app_id":"web","secret_params":["pw"],"risk":"high"}`},
		event{"user.upserted", `{"usr_id":"u","usr_name":"U","email":"u@example.org","usr_manager_id":"m","grp_id":"g","city":"Jacksonville"}`},
		event{"group.upserted", `{"grp_id":"g","grp_name":"G","floor":[2]}`},
		event{"assignment.upserted", `{"usr_id":"u","ent_id":"edit","score":0.98,"justification":[{"id":"CITY","title":"city","value":"Jacksonville"},` +
			`{"id":"n","title":"","value":7},{"id":"b","title":"","value":true},{"id":"z","title":"","value":null}],"rights":[{"name":"r","values":["v"]},{"name":"s"}],` +
			`"params":{"pw":"secret","n":{"a":[1]}},"valid_from":"2026-01-31","valid_until":"2026-12-31T12:00:00+02:00","note":"n"}`},
		give("v", "other", ""), give("v", "third", "erp"),
		event{"assignment.upserted", `{"grp_id":"g","type":"GROUP","ent_id":"edit","score":0.5}`},
		event{"assignment.upserted", `{"grp_id":"d","type":"DYNAMIC_GROUP","ent_id":"edit"}`},
		event{"assignment.upserted", `{"type":"ALL","ent_id":"edit"}`},
	)
}

// included is a request's include with every name that there is.
func included() string {
	var names []string
	for _, m := range listing.Members {
		names = append(names, quoted(m.Name))
	}
	return `"include":[` + strings.Join(names, ",") + `]`
}

func examineListing(t *testing.T, e *exam, f *contractFixture) {
	for i, body := range []string{
		``, `{}`, `{"pageSize":1}`, `{"pageSize":50}`, `{"usr_id":"u"}`, `{"grp_id":"g"}`, `{"ent_id":"edit"}`, `{"app_id":"web"}`,
		`{"usr_id":"` + strings.Repeat("x", events.MaxIDBytes) + `"}`,
		`{"type":"USER"}`, `{"type":"GROUP"}`, `{"type":"DYNAMIC_GROUP"}`, `{"type":"ALL"}`,
		`{` + included() + `}`, `{"type":"GROUP",` + included() + `}`, `{"type":"DYNAMIC_GROUP",` + included() + `}`, `{"type":"ALL",` + included() + `}`,
		`{"min_score":0.5,"max_score":1}`, `{"scored":true}`, `{"scored":false}`, `{"level":"high"}`, `{"level":"medium"}`, `{"level":"low"}`,
		`{"at_least":0}`, `{"at_least":"10"}`, `{"as_of":10}`, `{"as_of":"0010"}`,
		`{"as_of":"1970-01-01T00:00:05Z"}`, `{"as_of":"1970-01-01T02:00:09.999999999+02:00"}`, `{"as_of":"2026-01-01T00:00:00Z"}`,
		`{"cursor":null,"pageSize":null,"usr_id":null,"grp_id":null,"ent_id":null,"app_id":null,"type":null,"min_score":null,` +
			`"max_score":null,"scored":null,"level":null,"include":null,"at_least":null,"as_of":null}`,
		`{"pageSize":20,"cursor":"WyJhYXJvbi5maXNjaGVyIiwiV0VCX3VzZXJfU2hhcmVkX0VkaXRfQURNSU5fSUkiXQ=="}`,
	} {
		e.ask(t, f.reader, question{name: fmt.Sprintf("%d %.40s", i, body), path: listPath, body: body, status: 200})
	}
	e.ask(t, f.reader, question{name: "no type", path: listPath, headers: []string{"Content-Type", ""}, status: 200})
	e.ask(t, f.reader, question{name: "its own names", path: listPath, headers: []string{"Assigndex-Stream", incarnation, "Assigndex-Tenant", "acme"}, status: 200})
	p, _ := f.reader.list(`{"pageSize":1}`)
	e.ask(t, f.reader, question{name: "the next page", path: listPath, body: `{"cursor":"` + *p.Cursor + `","pageSize":2}`, status: 200})
	long := strings.Repeat("x", events.MaxIDBytes+1)
	for body, want := range map[string]question{
		`{`:                                 {code: query.InvalidJSON, illegal: true},
		`[]`:                                {code: query.InvalidJSON, illegal: true},
		`{"usr_id":"u","usr_id":"u"}`:       {code: query.InvalidJSON, field: "usr_id"},
		`{"user_id":"u"}`:                   {code: query.UnknownField, field: "user_id", illegal: true},
		`{"pageSize":0}`:                    {code: query.InvalidField, field: "pageSize", illegal: true},
		`{"pageSize":51}`:                   {code: query.InvalidField, field: "pageSize", illegal: true},
		`{"pageSize":"5"}`:                  {code: query.InvalidField, field: "pageSize", illegal: true},
		`{"usr_id":""}`:                     {code: query.InvalidField, field: "usr_id", illegal: true},
		`{"grp_id":7}`:                      {code: query.InvalidField, field: "grp_id", illegal: true},
		`{"app_id":"` + long + `"}`:         {code: query.InvalidField, field: "app_id", illegal: true},
		`{"type":"USERS"}`:                  {code: query.InvalidField, field: "type", illegal: true},
		`{"level":"HIGH"}`:                  {code: query.InvalidField, field: "level", illegal: true},
		`{"min_score":-0.1}`:                {code: query.InvalidField, field: "min_score", illegal: true},
		`{"max_score":"1"}`:                 {code: query.InvalidField, field: "max_score", illegal: true},
		`{"scored":"true"}`:                 {code: query.InvalidField, field: "scored", illegal: true},
		`{"include":"app_id"}`:              {code: query.InvalidField, field: "include", illegal: true},
		`{"include":["score"]}`:             {code: query.InvalidField, field: "include", illegal: true},
		`{"as_of":"2026-01-01T00:00:00"}`:   {code: query.InvalidField, field: "as_of", illegal: true},
		`{"as_of":"2026-02-30"}`:            {code: query.InvalidField, field: "as_of", illegal: true},
		`{"as_of":"2026-02-30T00:00:00Z"}`:  {code: query.InvalidField, field: "as_of"}, // there is no such day; the format does not say so
		`{"at_least":-1}`:                   {code: query.InvalidField, field: "at_least", illegal: true},
		`{"usr_id":"u","grp_id":"g"}`:       {code: query.ConflictingFields, field: "grp_id"},
		`{"min_score":0.6,"max_score":0.5}`: {code: query.ConflictingFields, field: "min_score"},
		`{"cursor":""}`:                     {code: query.InvalidCursor, field: "cursor", illegal: true},
		`{"cursor":"AQ"}`:                   {code: query.InvalidCursor, field: "cursor"},
		`{"cursor":"` + *p.Cursor + `","usr_id":"u"}`: {code: query.CursorMismatch, field: "cursor"},
	} {
		want.name, want.path, want.body, want.status = body, listPath, body, 400
		e.ask(t, f.reader, want)
	}
	for _, q := range []question{
		{name: "a parameter", path: listPath + "?usr_id=u", status: 400, code: query.UnknownField, illegal: true},
		{name: "an empty stream", path: listPath, headers: []string{"Assigndex-Stream", " "}, status: 400, code: InvalidHeader, field: "Assigndex-Stream"}, // empty once it is sent
		{name: "another stream", path: listPath, headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged},
		{name: "a full body", path: listPath, body: `{}` + strings.Repeat(" ", maxQueryBody-2), status: 200},
		{name: "too large", path: listPath, body: `{}` + strings.Repeat(" ", maxQueryBody-1), status: 413, code: BodyTooLarge},
		{name: "text", path: listPath, body: `{}`, headers: []string{"Content-Type", "text/plain"}, status: 415, code: UnsupportedMedia, field: "Content-Type", illegal: true},
		{name: "not reached", path: listPath, body: `{"at_least":1000}`, status: 503, code: query.NotReached},
	} {
		e.ask(t, f.reader, q)
	}
}

func examineStats(t *testing.T, e *exam, f *contractFixture) {
	get := func(params string, q question) {
		t.Helper()
		q.method, q.name, q.path = http.MethodGet, params, statsPath+params
		e.ask(t, f.reader, q)
	}
	for _, params := range []string{
		"", "?usr_id=u", "?grp_id=g", "?ent_id=edit", "?app_id=web", "?ent_id=edit&app_id=web", "?type=USER", "?type=GROUP", "?type=DYNAMIC_GROUP",
		"?type=ALL", "?at_least=10", "?as_of=10", "?as_of=0010",
		"?as_of=1970-01-01T00:00:05Z", "?as_of=1970-01-01T02:00:09.999999999%2B02:00", "?as_of=2026-01-01T00:00:00Z",
	} {
		get(params, question{status: 200})
	}
	get("?usr_id=u&grp_id=g", question{status: 400, code: query.ConflictingFields, field: "grp_id"})
	get("?as_of=1&at_least=2", question{status: 400, code: query.ConflictingFields, field: "at_least"})
	get("?user_id=u", question{status: 400, code: query.UnknownField, field: "user_id", illegal: true})
	get("?pageSize=1", question{status: 400, code: query.UnknownField, field: "pageSize", illegal: true})
	get("?app_id=", question{status: 400, code: query.InvalidField, field: "app_id", illegal: true})
	get("?app_id=a&app_id=b", question{status: 400, code: query.InvalidField, field: "app_id", illegal: true})
	get("?type=user", question{status: 400, code: query.InvalidField, field: "type", illegal: true})
	get("?as_of=now", question{status: 400, code: query.InvalidField, field: "as_of", illegal: true})
	get("?usr_id="+strings.Repeat("x", events.MaxIDBytes+1), question{status: 400, code: query.InvalidField, field: "usr_id", illegal: true})
	get("", question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
	get("?at_least=1000", question{status: 503, code: query.NotReached})
}

func examineIngest(t *testing.T, e *exam, f *contractFixture) {
	post := func(resource, body string, q question) {
		t.Helper()
		q.path, q.body = "/api/ingest/"+resource, body
		q.name = resource + " " + body[:min(len(body), 60)]
		e.ask(t, f.writer, q)
	}
	items := map[string]struct{ array, full, id, bad string }{
		"applications": {"apps", `{"app_id":"a","app_name":"A","app_type":"t","app_owner_id":"o","tier":1}`, `{"app_id":"a"}`, `{"app_id":""}`},
		"entitlements": {"entitlements", `{"ent_id":"e","ent_name":"E","description":"d","ent_type":"role","sub_type":"regular","category":"c","ext_ref":"x",` +
			`"ent_owner_id":"o","app_id":"a","secret_params":["pw"],"risk":1}`, `{"ent_id":"e"}`, `{"ent_id":"e","ent_type":"group"}`},
		"identities": {"identities", `{"usr_id":"i","usr_name":"I","email":"i@example.org","usr_manager_id":"m","grp_id":"g","city":"c"}`,
			`{"usr_id":"i"}`, `{"usr_id":7}`},
		"assignments": {"assignments", `{"usr_id":"i","ent_id":"e","app_id":"a","score":0.5,"justification":[{"id":"a","title":"t","value":1}],` +
			`"rights":[{"name":"r","values":["v"]}],"params":{"n":1},"valid_from":"2026-01-31","valid_until":"2026-02-01T00:00:00Z","note":""}`,
			`{"usr_id":"i","ent_id":"e"}`, `{"usr_id":"i","ent_id":"e","score":1.5}`},
	}
	full := newContractFixture(t, func(o *Options) { o.DiskFull = func() bool { return true } })
	for resource, it := range items {
		batch := func(action, list string) string { return fmt.Sprintf(`{"action":%q,%q:[%s]}`, action, it.array, list) }
		for _, action := range []string{"create", "update", "upsert", "create", "delete", "update"} { // the last two meet what is there, and is not
			post(resource, batch(action, it.full+","+it.id), question{status: 200})
		}
		guarded := it.id[:len(it.id)-1] + `,"revision":9007199254740993,"if":"absent"}`
		post(resource, batch("upsert", guarded), question{status: 200})
		post(resource, batch("upsert", it.id+","+it.bad), question{status: 207, illegal: true})
		post(resource, batch("create", guarded), question{status: 422, code: InvalidItems}) // two conditions; the document says so in words
		post(resource, batch("upsert", it.bad), question{status: 422, code: InvalidItems, illegal: true})
		post(resource, batch("upsert", "7"), question{status: 422, code: InvalidItems, illegal: true})
		post(resource, batch("upsert", strings.Replace(it.full, `":"`, `":"`+strings.Repeat("x", events.MaxIDBytes), 1)), question{status: 422, code: InvalidItems, illegal: true})
		post(resource, `{`, question{status: 400, code: query.InvalidJSON, illegal: true})
		post(resource, batch("insert", it.id), question{status: 400, code: query.InvalidField, field: "action", illegal: true})
		post(resource, fmt.Sprintf(`{%q:[%s]}`, it.array, it.id), question{status: 400, code: query.InvalidField, field: "action", illegal: true})
		post(resource, batch("upsert", ""), question{status: 400, code: query.InvalidField, field: it.array, illegal: true})
		post(resource, `{"action":"upsert"}`, question{status: 400, code: query.InvalidField, field: it.array, illegal: true})
		post(resource, fmt.Sprintf(`{"action":"upsert",%q:{}}`, it.array), question{status: 400, code: query.InvalidField, field: it.array, illegal: true})
		post(resource, fmt.Sprintf(`{"action":"upsert",%q:[],"records":[]}`, it.array), question{status: 400, code: query.UnknownField, field: "records", illegal: true})
		post(resource, batch("upsert", it.id), question{headers: []string{"Assigndex-Stream", incarnation}, status: 200})
		post(resource, batch("upsert", it.id), question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
		post(resource+"?dry=1", batch("upsert", it.id), question{status: 400, code: query.UnknownField, illegal: true})
		post(resource, batch("upsert", it.id), question{headers: []string{"Content-Encoding", "gzip"}, status: 415, code: UnsupportedMedia, field: "Content-Encoding"})
		f.publisher.err = errors.New("no stream")
		for f.publisher.first = range 2 {
			post(resource, batch("upsert", it.id+","+it.full), question{status: 503, code: StreamUnavailable})
		}
		post(resource, batch("upsert", it.id+","+it.full+","+it.bad), question{status: 503, code: StreamUnavailable, illegal: true})
		f.publisher.err = nil
		e.ask(t, full.writer, question{
			name: resource + " on a full disk", path: "/api/ingest/" + resource, body: batch("upsert", it.id), status: 503, code: DiskFull,
		})
	}
	for _, item := range []string{
		`{"grp_id":"g","type":"GROUP","ent_id":"e"}`, `{"grp_id":"g","type":"DYNAMIC_GROUP","ent_id":"e","usr_id":""}`,
		`{"type":"ALL","ent_id":"e","grp_id":null}`, `{"usr_id":"u","type":"USER","ent_id":"e","score":null,"rights":null,"params":null}`,
	} {
		post("assignments", `{"action":"upsert","assignments":[`+item+`]}`, question{status: 200})
	}
	for _, item := range []string{
		`{"grp_id":"g","ent_id":"e"}`, `{"usr_id":"u","grp_id":"g","ent_id":"e"}`, `{"type":"ALL","usr_id":"u","ent_id":"e"}`,
		`{"usr_id":"u","type":"GROUP","ent_id":"e"}`, `{"usr_id":"u"}`, `{"usr_id":"u","type":"user","ent_id":"e"}`,
	} {
		post("assignments", `{"action":"upsert","assignments":[`+item+`]}`, question{status: 422, code: InvalidItems, illegal: true})
	}
	// The body's size is refused before the body is sent.
	patient := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer patient.CloseIdleConnections()
	c := *f.writer
	c.http = patient
	for _, path := range ingestPaths {
		array := items[strings.TrimPrefix(path, "/api/ingest/")]
		body := fmt.Sprintf(`{"action":"upsert",%q:[%s]}`, array.array, array.id)
		e.ask(t, &c, question{
			name: "too large", path: path, body: body + strings.Repeat(" ", maxIngestBody+1-len(body)), headers: []string{"Expect", "100-continue"},
			status: 413, code: BodyTooLarge,
		})
	}
}

// withCredentials are the routes that need them, each with a request that is good
// otherwise.
var withCredentials = []question{
	{path: listPath}, {path: statsPath, method: http.MethodGet},
	{path: verifySearchPath}, {path: verifyRights("acme", "u", "edit"), method: http.MethodGet},
	{path: "/api/changes?since=0", method: http.MethodGet}, {path: "/api/watch", method: http.MethodGet},
	{path: "/api/assignments/diff", body: `{"from":0}`}, {path: "/api/assignments/history", body: `{"usr_id":"u","ent_id":"e"}`},
	{path: ingestPaths[0], body: `{"action":"upsert","apps":[{"app_id":"a"}]}`},
	{path: ingestPaths[1], body: `{"action":"upsert","entitlements":[{"ent_id":"a"}]}`},
	{path: ingestPaths[2], body: `{"action":"upsert","identities":[{"usr_id":"a"}]}`},
	{path: ingestPaths[3], body: `{"action":"upsert","assignments":[{"usr_id":"a","ent_id":"a"}]}`},
}

func examineCredentials(t *testing.T, e *exam, f *contractFixture) {
	nobody := *f.client
	nobody.token = ""
	strangers := *f.client
	strangers.token = "adx_no"
	powerless := newContractFixture(t, func(o *Options) {
		o.Auth = []Authenticator{fixedAuth{caller: Caller{Tenant: "acme"}}}
	})
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	for _, q := range withCredentials {
		ask := func(c *client, status int, code query.Code, field string, illegal bool, headers ...string) {
			t.Helper()
			q.status, q.code, q.field, q.illegal, q.headers = status, code, field, illegal, headers
			q.name = fmt.Sprint(q.path, " ", status, " ", code, " ", headers)
			e.ask(t, c, q)
		}
		ask(&nobody, 401, Unauthenticated, "", true)
		ask(&nobody, 401, Unauthenticated, "", false, "Authorization", "Bearer x.y.z")
		ask(&strangers, 401, Unauthenticated, "", false)
		ask(f.writer, 403, TenantForbidden, "", false, "Assigndex-Tenant", "other")
		ask(f.any, 400, TenantRequired, "Assigndex-Tenant", false)
		ask(f.any, 400, InvalidHeader, "Assigndex-Tenant", true, "Assigndex-Tenant", "a.b")
		if strings.Contains(q.path, "/rights") {
			ask(f.any, 404, NotFound, "", false, "Assigndex-Tenant", "other") // the code is acme's
		} else {
			ask(f.any, 200, "", "", false, "Assigndex-Tenant", "other")
		}
		ask(powerless.any, 403, RoleForbidden, "", false)
		if strings.HasPrefix(q.path, "/api/ingest/") {
			ask(f.reader, 403, RoleForbidden, "", false)
		}
		ask(untold.writer, 503, query.NotReady, "", false)
	}
}

// probes are the routes that need no credentials.
var probes = []string{"/livez", "/readyz", "/metrics", "/openapi.json", "/docs"}

func examineOperations(t *testing.T, e *exam, f *contractFixture) {
	c := *f.client
	c.token = ""
	for _, path := range probes {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := e.ask(t, &c, question{name: method + " " + path, method: method, path: path, status: 200})
			if (len(a.body) > 0) != (method == http.MethodGet) {
				t.Errorf("%s %s: %d bytes", method, path, len(a.body))
			}
		}
	}
	broken := newContractFixture(t, func(o *Options) {
		o.Registry.MustRegister(brokenCollector{})
	})
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.ask(t, broken.client, question{name: method + " broken metrics", method: method, path: "/metrics", status: 500})
	}
}

// brokenCollector cannot be asked.
type brokenCollector struct{}

var brokenDesc = prometheus.NewDesc("broken", "Fails.", nil, nil)

func (brokenCollector) Describe(ch chan<- *prometheus.Desc) { ch <- brokenDesc }

func (brokenCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(brokenDesc, errors.New("broken"))
}

func examineReadiness(t *testing.T, e *exam, _ *contractFixture) {
	lag := &lagged{}
	f := newContractFixture(t, func(o *Options) {
		o.Lag, o.ReadyMaxLag = lag.get, time.Minute
		o.Troubles = func() []string { return []string{"the stream is out of reach"} }
	})
	for _, c := range []struct {
		lag    query.Lag
		status int
		code   query.Code
	}{
		{query.Lag{}, 503, query.NotReady}, {behind(5, 10, time.Second), 503, query.NotReady},
		{behind(10, 10, 0), 200, ""}, {behind(10, 40, 2*time.Minute), 503, Lagging}, {query.Lag{Applied: 10}, 200, ""},
	} {
		lag.set(c.lag)
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			q := question{name: method + " " + string(c.code), method: method, path: "/readyz", status: c.status}
			if method == http.MethodGet {
				q.code = c.code
			}
			e.ask(t, f.client, q)
		}
		if c.code == query.NotReady {
			e.ask(t, f.reader, question{name: "list", path: listPath, status: 503, code: query.NotReady})
			e.ask(t, f.reader, question{name: "stats", method: http.MethodGet, path: statsPath, status: 503, code: query.NotReady})
		}
	}
}

// endless is an index of more rows than anybody counts.
type endless struct{ query.Index }

func (endless) Counts(listing.Selector) (counts rows.Counts, seq uint64, ok bool, err error) {
	return counts, 0, false, nil
}

func (endless) List(_ context.Context, _ uint64, _ listing.Selector, _ *listing.Position, limit int, _ func(rows.Face)) (listing.Page, error) {
	return listing.Page{Rows: limit, Read: limit, More: true}, nil
}

// unseeing is a Presence that fails.
type unseeing struct{}

func (unseeing) Present([]*events.Event) (present []bool, seq uint64, err error) {
	return nil, 0, errors.New("disk")
}

func examineFaults(t *testing.T, e *exam, _ *contractFixture) {
	f := newContractFixture(t, func(o *Options) {
		o.Index = &hooked{Index: o.Index, wait: func(context.Context, uint64) error { return errors.New("disk") }}
		o.Presence = unseeing{}
	})
	f.fill()
	e.ask(t, f.reader, question{name: "list", path: listPath, body: `{"at_least":1000}`, status: 500, code: Internal})
	e.ask(t, f.reader, question{name: "stats", method: http.MethodGet, path: statsPath + "?at_least=1000", status: 500, code: Internal})
	for _, q := range withCredentials {
		if strings.HasPrefix(q.path, "/api/ingest/") {
			q.name, q.status, q.code = q.path, 500, Internal
			e.ask(t, f.writer, q)
		}
	}
	f = newContractFixture(t, func(o *Options) { o.Index = endless{o.Index} })
	f.fill()
	e.ask(t, f.reader, question{name: "too many", method: http.MethodGet, path: statsPath + "?usr_id=u", status: 422, code: query.TooManyRows})
}

func examineHistory(t *testing.T, e *exam, _ *contractFixture) {
	f := newContractFixture(t, nil)
	f.fill()
	if err := f.index.st.AdvanceFloor(5); err != nil {
		t.Fatal(err)
	}
	e.ask(t, f.reader, question{name: "list", path: listPath, body: `{"as_of":1}`, status: 410, code: query.HistoryPruned})
	e.ask(t, f.reader, question{name: "stats", method: http.MethodGet, path: statsPath + "?as_of=1", status: 410, code: query.HistoryPruned})
	const then = "1970-01-01T00:00:01Z"
	e.ask(t, f.reader, question{name: "list by instant", path: listPath, body: `{"as_of":"` + then + `"}`, status: 410, code: query.HistoryPruned})
	e.ask(t, f.reader, question{name: "stats by instant", method: http.MethodGet, path: statsPath + "?as_of=" + then, status: 410, code: query.HistoryPruned})
	f.index.head.Store(1000)
	const now = "2026-01-01T00:00:00Z"
	e.ask(t, f.reader, question{name: "list behind", path: listPath, body: `{"as_of":"` + now + `"}`, status: 503, code: query.NotReached})
	e.ask(t, f.reader, question{name: "stats behind", method: http.MethodGet, path: statsPath + "?as_of=" + now, status: 503, code: query.NotReached})
}

// Bodies that do not arrive: the connection is real, only its end is played.
func examineBrokenBodies(t *testing.T, e *exam, _ *contractFixture) {
	f := newContractFixture(t, nil)
	f.fill()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body, r.ContentLength = brokenBody{brokenReader{os.ErrDeadlineExceeded}}, 10
		f.server.ServeHTTP(w, r)
	}))
	defer broken.Close()
	c := *f.writer
	c.base = broken.URL
	for _, q := range withCredentials {
		if q.method == http.MethodGet {
			continue
		}
		q.name, q.status, q.code = q.path, 408, RequestTimeout
		e.ask(t, &c, q)
	}
}

type brokenBody struct{ brokenReader }

func (brokenBody) Close() error { return nil }

// What no operation can have as an answer stands among the document's
// components.
func examineOthers(t *testing.T, e *exam, f *contractFixture) {
	check := func(a answer, r *http.Request, component string) {
		t.Helper()
		op := operationOf(e, a.status, component)
		in := e.input(op, r)
		if err := e.matches(in, a); err != nil {
			t.Errorf("%s %s: %d %v %s: %v", r.Method, r.URL.Path, a.status, a.header, a.body, err)
		}
		if err := e.matchesMore(in, a); err != nil {
			t.Error(err)
		}
	}
	for path, item := range e.doc.Paths.Map() {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			if item.GetOperation(method) != nil {
				continue
			}
			a := f.do(method, path, "")
			formOf(path).want(t, a, 405, MethodNotAllowed, "")
			check(a, f.request(t, question{method: method, path: path}), formOf(path).components+"MethodNotAllowed")
			var documented []string
			for m := range item.Operations() {
				documented = append(documented, m)
			}
			slices.Sort(documented)
			if got := a.header.Get("Allow"); got != strings.Join(documented, ", ") {
				t.Errorf("%s: Allow %q, documented %q", path, got, documented)
			}
		}
	}
	a := f.do(http.MethodGet, "/api/nothing", "")
	wantProblem(t, a, 404, NotFound, "")
	check(a, f.request(t, question{method: http.MethodGet, path: "/api/nothing"}), "NotFound")
}
