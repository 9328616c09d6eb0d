package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
)

// mark is in every id and name of the tenant acme, and in nothing else.
const mark = "of-acme"

// intrusion is what somebody of the tenant other tries at a route to get at what
// acme has. Each answer must have the status and be without acme's mark.
type intrusion struct {
	what    string
	method  string
	path    string
	body    string
	headers []string
	status  int
}

// TestTenants goes over every route that there is: with credentials of one tenant,
// nothing of another comes out and nothing goes in, whatever header, cursor, code,
// project or id names it.
func TestTenants(t *testing.T) {
	messages := &stub{stored: map[uint64]events.Message{}, ids: map[string]uint64{}}
	f := newIngesting(t, func(o *Options) {
		messages.index = o.Index.(*testIndex) //nolint:forcetypeassert // as newIngesting makes it
		o.Quarantine, o.Settler, o.Verifier, o.Snapshotter = messages.index, messages, verifierOf(nil), snapshotterOf(nil)
		o.SnapshotStore, o.Rebuilder = &snapshotStub{list: []StoredSnapshot{{Name: mark}}}, new(rebuilderStub)
	})
	for _, tenant := range []string{"acme", "other"} {
		id := func(s string) string { return s + "-of-" + tenant }
		f.index.apply(tenant,
			event{"application.upserted", fmt.Sprintf(`{"app_id":%q,"app_name":%q}`, id("app"), id("App"))},
			event{"entitlement.upserted", fmt.Sprintf(`{"ent_id":%q,"ent_name":"Shared","ent_type":"role","app_id":%q}`, id("ent"), id("app"))},
			event{"group.upserted", fmt.Sprintf(`{"grp_id":%q,"grp_name":%q}`, id("grp"), id("Group"))},
			event{"user.upserted", fmt.Sprintf(`{"usr_id":%q,"usr_name":%q,"grp_id":%q}`, id("usr"), id("User"), id("grp"))},
			give(id("usr"), id("ent"), ""), give(id("usr"), id("ent"), id("app")), give(id("usr2"), id("ent"), id("app")),
			event{"assignment.upserted", fmt.Sprintf(`{"grp_id":%q,"type":"GROUP","ent_id":%q}`, id("grp"), id("ent"))},
			event{"assignment.upserted", fmt.Sprintf(`{"type":"ALL","ent_id":%q,"rights":[{"name":%q,"values":[]}]}`, id("ent"), id("right"))},
		)
	}
	bad := messages.reject(events.Message{Subject: events.Subject("acme"), Data: []byte(`{"usr_id":"usr-of-acme"}`)})
	acme, other := f.as("admin acme"), f.as("admin other")
	probes := tenantProbes(t, acme, bad)
	for path := range f.server.routes {
		if _, there := probes[path]; !there {
			t.Errorf("no probe knows the route %s", path)
		}
	}
	for _, template := range f.server.templates {
		if _, there := probes[template.path]; !there {
			t.Errorf("no probe knows the route %s", template.path)
		}
	}
	for path, list := range probes {
		if f.server.routeAt(path) == nil {
			t.Errorf("there is no route %s", path)
			continue
		}
		for _, i := range list {
			a := other.do(i.method, i.path, i.body, i.headers...)
			if a.status != i.status || strings.Contains(string(a.body), mark) || strings.Contains(fmt.Sprint(a.header), mark) {
				t.Errorf("%s: %s %s: %d, want %d: %s", i.what, i.method, i.path, a.status, i.status, a.body)
			}
		}
		if f.server.routeAt(path).role == 0 {
			continue
		}
		// Without credentials, with those of nobody, and with those of all tenants and none named.
		for what, headers := range map[string][]string{"no key": {"X-API-KEY", ""}, "an unknown key": {"X-API-KEY", "adx_aaaaaaaa_" + strings.Repeat("a", 43)}} {
			for _, i := range list {
				if a := other.do(i.method, i.path, i.body, append(slices.Clone(i.headers), headers...)...); a.status != http.StatusUnauthorized || strings.Contains(string(a.body), mark) {
					t.Errorf("%s at %s: %d %s", what, i.path, a.status, a.body)
				}
			}
		}
		if r := f.server.routeAt(path); r.tenant || r.all {
			continue // the path names it, or none may be named
		}
		for _, i := range list {
			if len(i.headers) == 0 {
				if a := f.as("admin *").do(i.method, i.path, i.body); a.status != http.StatusBadRequest || strings.Contains(string(a.body), mark) {
					t.Errorf("a key of all tenants at %s: %d %s", i.path, a.status, a.body)
				}
			}
		}
	}
	for _, event := range f.stream.published {
		if !strings.HasPrefix(event, "other ") {
			t.Errorf("published: %s", event)
		}
	}
	if left, a := acme.list(`{"pageSize":5000}`); len(left.Assignments) != 2 {
		t.Errorf("acme has %s", a.body)
	}
}

// tenantProbes are the intrusions at each route. What acme alone can know, such as
// its cursors and codes, is asked for with its own key.
func tenantProbes(t *testing.T, acme *ingesting, bad uint64) map[string][]intrusion {
	t.Helper()
	get, post := http.MethodGet, http.MethodPost
	named := []string{"Assigndex-Tenant", "acme"}
	cursorOf := func(path, body string) string {
		var page struct {
			Cursor string `json:"cursor"`
		}
		if a := acme.do(post, path, body); json.Unmarshal(a.body, &page) != nil || page.Cursor == "" {
			t.Fatalf("%s: %s", path, a.body)
		}
		return page.Cursor
	}
	code := acme.search("", `{}`).Assignments[0].Code
	rights := func(code string) string { return strings.Replace(verifyRightsPath, "{code}", url.PathEscape(code), 1) }
	project := func(name string) string { return strings.Replace(semaphorPath, "{projectId}", url.PathEscape(name), 1) }
	probes := map[string][]intrusion{
		"/api/assignments": {
			{"its own", post, "/api/assignments", `{"include":["user","group","entitlement","application"]}`, nil, 200},
			{"a header", post, "/api/assignments", `{}`, named, 403},
			{"ids", post, "/api/assignments", `{"usr_id":"usr-of-acme"}`, nil, 200},
			{"ids together", post, "/api/assignments", `{"ent_id":"ent-of-acme","app_id":"app-of-acme"}`, nil, 200},
			{"a cursor", post, "/api/assignments", fmt.Sprintf(`{"cursor":%q}`, cursorOf("/api/assignments", `{"pageSize":1}`)), nil, 400},
		},
		"/api/companyview/assignmentStats": {
			{"its own", get, "/api/companyview/assignmentStats", "", nil, 200},
			{"a header", get, "/api/companyview/assignmentStats", "", named, 403},
			{"ids", get, "/api/companyview/assignmentStats?ent_id=ent-of-acme", "", nil, 200},
		},
		"/api/changes": {
			{"its own", get, "/api/changes?since=0&include=user,group,entitlement,application", "", nil, 200},
			{"a header", get, "/api/changes?since=0", "", named, 403},
			{"ids", get, "/api/changes?since=0&usr_id=usr-of-acme", "", nil, 200},
			{"all kinds", get, "/api/changes?since=earliest&type=GROUP", "", nil, 200},
		},
		"/api/watch": { // what is let in goes on for ever
			{"a header", get, "/api/watch?since=0", "", named, 403},
		},
		"/api/assignments/diff": {
			{"its own", post, "/api/assignments/diff", `{"from":0,"include":["user","group","entitlement","application"]}`, nil, 200},
			{"a header", post, "/api/assignments/diff", `{"from":0}`, named, 403},
			{"ids", post, "/api/assignments/diff", `{"from":0,"app_id":"app-of-acme"}`, nil, 200},
			{"a cursor", post, "/api/assignments/diff", fmt.Sprintf(`{"from":0,"cursor":%q}`, cursorOf("/api/assignments/diff", `{"from":0,"pageSize":1}`)), nil, 400},
		},
		"/api/assignments/history": {
			{"ids", post, "/api/assignments/history", `{"usr_id":"usr-of-acme","ent_id":"ent-of-acme"}`, nil, 200},
			{"a header", post, "/api/assignments/history", `{"usr_id":"usr-of-acme","ent_id":"ent-of-acme"}`, named, 403},
			{"a cursor", post, "/api/assignments/history", fmt.Sprintf(`{"usr_id":"usr-of-acme","ent_id":"ent-of-acme","cursor":%q}`,
				cursorOf("/api/assignments/history", `{"usr_id":"usr-of-acme","ent_id":"ent-of-acme","pageSize":1}`)), nil, 400},
		},
		verifySearchPath: {
			{"its own", post, verifySearchPath + "?includeRights=true", `{}`, nil, 200},
			{"a header", post, verifySearchPath, `{}`, named, 403},
			{"ids", post, verifySearchPath + "?user=usr-of-acme&group=grp-of-acme", `{}`, nil, 200},
			{"a filter", post, verifySearchPath, `{"name":"Shared","application":"app-of-acme"}`, nil, 200},
			{"a filter that both meet", post, verifySearchPath, `{"name":"Shared"}`, nil, 200},
		},
		verifyRightsPath: {
			{"a code", get, rights(code), "", nil, 404},
			{"a header", get, rights(code), "", named, 403},
		},
		semaphorPath: {
			{"its own", get, project("other"), "", nil, 200},
			{"a project", get, project("acme"), "", nil, 403},
			{"a project that is no tenant", get, project("../acme"), "", nil, 403},
			{"a header", get, project("other"), "", named, 400},
			{"a project and a header", get, project("acme"), "", []string{"Assigndex-Tenant", "other"}, 403},
		},
	}
	message := fmt.Sprintf("/api/quarantine/%d", bad)
	for path, list := range map[string][]intrusion{
		"/api/quarantine": {
			{"its own", get, "/api/quarantine", "", nil, 200}, {"a header", get, "/api/quarantine", "", named, 403},
			{"those of nobody", get, "/api/quarantine?unattributed=true", "", nil, 403},
		},
		"/api/quarantine/{seq}":         {{"a sequence", get, message, "", nil, 404}, {"a header", get, message, "", named, 403}},
		"/api/quarantine/{seq}/message": {{"a sequence", get, message + "/message", "", nil, 404}, {"a header", get, message + "/message", "", named, 403}},
		"/api/quarantine/{seq}/redrive": {
			{"a sequence", post, message + "/redrive", `{"type":"user.upserted","data":{"usr_id":"u"}}`, nil, 404}, {"a header", post, message + "/redrive", `{}`, named, 403},
		},
		"/api/quarantine/{seq}/drop": {{"a sequence", post, message + "/drop", `{}`, nil, 404}, {"a header", post, message + "/drop", `{}`, named, 403}},
	} {
		probes[path] = list
	}
	probes[verifyPath] = []intrusion{
		{"all tenants", post, verifyPath, `{}`, nil, 403},
		{"all tenants with a rebuild", post, verifyPath, `{"rebuild":true}`, nil, 403},
		{"a header", post, verifyPath, `{}`, named, 403},
		{"its own", post, verifyPath, `{}`, []string{"Assigndex-Tenant", "other"}, 403},
	}
	probes[rebuildPath] = []intrusion{
		{"all tenants", post, rebuildPath, `{}`, nil, 403},
		{"as it was", post, rebuildPath, `{"until":"7"}`, nil, 403},
		{"a header", post, rebuildPath, `{}`, named, 403},
	}
	probes[snapshotsPath] = []intrusion{
		{"what is stored", get, snapshotsPath, "", nil, 403}, {"a header", get, snapshotsPath, "", named, 403},
		{"taking one", post, snapshotsPath, `{}`, nil, 403}, {"taking one with a header", post, snapshotsPath, `{}`, named, 403},
	}
	probes[snapshotPath] = []intrusion{
		{"all tenants", get, snapshotPath, "", nil, 403},
		{"a header", get, snapshotPath, "", named, 403},
		{"its own", get, snapshotPath, "", []string{"Assigndex-Tenant", "other"}, 403},
	}
	for resource, item := range map[string]string{
		"applications": `"apps":[{"app_id":"app-of-acme"}]`, "entitlements": `"entitlements":[{"ent_id":"ent-of-acme"}]`,
		"identities": `"identities":[{"usr_id":"usr-of-acme"}]`, "assignments": `"assignments":[{"usr_id":"usr-of-acme","ent_id":"ent-of-acme"}]`,
	} {
		path := "/api/ingest/" + resource
		probes[path] = []intrusion{
			{"deletes in its own", post, path, `{"action":"delete",` + item + `}`, nil, 200},
			{"a header", post, path, `{"action":"delete",` + item + `}`, named, 403},
		}
	}
	for _, open := range []string{"/livez", "/readyz", "/metrics", "/openapi.json"} {
		probes[open] = []intrusion{{"what anybody sees", get, open, "", named, 200}}
	}
	for path, r := range acme.server.routes {
		if r.name == "docs" {
			probes[path] = []intrusion{{"the documentation", get, path, "", named, 200}}
		}
	}
	return probes
}
