package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query/httpapi/openapi"
)

// operationOf is an operation whose one answer is a component of the document.
func operationOf(e *exam, status int, component string) *routers.Route {
	response := e.doc.Components.Responses[component]
	if response == nil {
		response = &openapi3.ResponseRef{Value: openapi3.NewResponse()} // which documents nothing
	}
	op := openapi3.NewOperation()
	op.Responses = openapi3.NewResponses(openapi3.WithStatus(status, response))
	return &routers.Route{Spec: e.doc, Operation: op, PathItem: &openapi3.PathItem{}}
}

// allRoutes gives the routes by their paths as the documentation names them.
func allRoutes(s *Server) map[string]*route {
	all := maps.Clone(s.routes)
	for _, t := range s.templates {
		all[t.path] = t.route
	}
	return all
}

// The document has the server's routes, all of them and no others. What the page
// of the documentation loads for itself is not for callers.
func TestRoutesAreDocumented(t *testing.T) {
	for name, f := range map[string]*fixture{"with ingest": newContractFixture(t, nil).fixture, "without": newFixture(t, nil)} {
		e := newExam(t, strings.TrimPrefix(f.base, "http://"))
		routes, documented := map[string][]string{}, map[string][]string{}
		all := allRoutes(f.server)
		for path, r := range all {
			if !strings.HasPrefix(path, openapi.PagePath+"/") {
				routes[path] = slices.Sorted(slices.Values(r.methods))
			}
		}
		for _, varying := range f.server.templates {
			routes[varying.path] = slices.Sorted(slices.Values(varying.route.methods))
		}
		for path, item := range e.doc.Paths.Map() {
			documented[path] = slices.Sorted(maps.Keys(item.Operations()))
			for method, op := range item.Operations() {
				if needed, public := f.server.routeAt(path).role != 0, op.Security != nil && len(*op.Security) == 0; needed == public {
					t.Errorf("%s: %s %s needs credentials: %v, documented as public: %v", name, method, path, needed, public)
				}
			}
		}
		if !maps.EqualFunc(routes, documented, slices.Equal[[]string]) {
			t.Errorf("%s: the routes are\n%v, documented are\n%v", name, routes, documented)
		}
	}
	// A path that the files describe and that no server has is a mistake as well.
	everything := newContractFixture(t, nil).server
	if _, err := openapi.Document(openapi.Settings{}, func(path string) bool {
		if everything.routeAt(path) == nil {
			t.Errorf("the files describe %s, which the server does not have", path)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
}

// The lists of names in the document are those of the code.
func TestDocumentedNames(t *testing.T) {
	doc := newExam(t, strings.TrimPrefix(newFixture(t, nil).base, "http://")).doc
	names := func(schema string) (names []string) {
		for _, v := range doc.Components.Schemas[schema].Value.Enum {
			names = append(names, fmt.Sprint(v))
		}
		return names
	}
	var members, kindNames []string
	for _, m := range listing.Members {
		members = append(members, m.Name)
	}
	for _, k := range events.Kinds {
		kindNames = append(kindNames, k.String())
	}
	if got := names("Member"); !slices.Equal(got, members) {
		t.Errorf("members %q, want %q", got, members)
	}
	if got := names("Kind"); !slices.Equal(got, kindNames) {
		t.Errorf("kinds %q, want %q", got, kindNames)
	}
	var rejections []string
	for _, c := range events.Codes {
		rejections = append(rejections, string(c))
	}
	if got := names("RejectionCode"); !slices.Equal(got, rejections) {
		t.Errorf("codes of rejections %q, want %q", got, rejections)
	}
	documented := names("Code")
	table := doc.Components.Schemas["Code"].Value.Description
	for code, k := range kinds {
		if !slices.Contains(documented, string(code)) || !strings.Contains(table, fmt.Sprintf("\n| `%s` | %d | ", code, k.status)) {
			t.Errorf("the code %s is not documented with its status, %d", code, k.status)
		}
	}
	if len(documented) != len(kinds) || strings.Count(table, "\n| `") != len(kinds) {
		t.Errorf("%d codes are documented, %d explained, and there are %d", len(documented), strings.Count(table, "\n| `"), len(kinds))
	}
}

// The page and what it loads come from the server, without credentials, as the
// browser needs them.
func TestDocs(t *testing.T) {
	f := newFixture(t, nil)
	f.token = ""
	files, err := openapi.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, coding := range []string{"", "gzip", "deflate, GZIP;q=0.5", "gzip;q=0", "gzip; q=0.000, br", "br"} {
			a := f.do(http.MethodGet, file.Path, "", "Accept-Encoding", coding)
			compressed := file.Gzip && (coding == "gzip" || strings.HasPrefix(coding, "deflate"))
			if a.status != 200 || a.header.Get("Content-Type") != file.ContentType || a.header.Get("X-Content-Type-Options") != "nosniff" ||
				(a.header.Get("Content-Encoding") == "gzip") != compressed || (a.header.Get("Vary") == "Accept-Encoding") != file.Gzip {
				t.Errorf("%s for %q: %d %v", file.Path, coding, a.status, a.header)
			}
			if same := string(a.body) == string(file.Body); same != (compressed || !file.Gzip) || len(a.body) < len(file.Body) {
				t.Errorf("%s for %q: %d bytes of %d", file.Path, coding, len(a.body), len(file.Body))
			}
			head := f.do(http.MethodHead, file.Path, "", "Accept-Encoding", coding)
			if head.status != 200 || len(head.body) != 0 || head.header.Get("Content-Encoding") != a.header.Get("Content-Encoding") {
				t.Errorf("HEAD %s for %q: %d %v", file.Path, coding, head.status, head.header)
			}
		}
		wantProblem(t, f.do(http.MethodPost, file.Path, ""), 405, MethodNotAllowed, "")
	}
	if got := f.do(http.MethodGet, "/docs", "").header.Get("Content-Security-Policy"); got != openapi.Policy {
		t.Errorf("policy %q", got)
	}
	for _, path := range []string{"/docs/", "/docs/index.html", "/docs/../livez", "/docs/swagger-ui.js"} {
		wantProblem(t, f.do(http.MethodGet, path, ""), 404, NotFound, "")
	}
}
