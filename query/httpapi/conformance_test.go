package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/assigndex/assigndex/query"
)

// exam compares requests and answers with a server's own OpenAPI document.
type exam struct {
	doc    *openapi3.T
	router routers.Router
	seen   map[string]bool // answers, as answers lists them
}

// newExam takes the document from a server.
func newExam(t *testing.T, addr string) *exam {
	t.Helper()
	a := newClient(t, addr, "").do(http.MethodGet, "/openapi.json", "")
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	doc, err := openapi3.NewLoader().LoadFromData(a.body)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder) // once or more often is the same
	openapi3filter.RegisterBodyDecoder("text/event-stream", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	doc.Servers = nil                                                          // paths are compared, not addresses
	router, err := legacy.NewRouter(doc, openapi3.DisableExamplesValidation()) // they were
	if err != nil {
		t.Fatal(err)
	}
	return &exam{doc: doc, router: router, seen: map[string]bool{}}
}

// question is a request and what is expected of its answer.
type question struct {
	name    string
	method  string // empty: POST
	path    string
	body    string
	headers []string // names and values in turn; an empty value takes a header away

	status int
	code   query.Code // of a problem; empty: there is none
	field  string     // that the problem names; empty: none
	// illegal says that the document must refuse the request as well; otherwise it
	// must accept it.
	illegal bool
}

// ask sends a request and compares all of it with the document.
func (e *exam) ask(t *testing.T, c *client, q question) answer {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	request := func() *http.Request { return c.request(t, q) }
	res, err := c.http.Do(request())
	if err != nil {
		t.Fatalf("%s: %v", q.name, err)
	}
	defer res.Body.Close()
	body, err := readAnswer(res)
	if err != nil {
		t.Fatalf("%s: %v", q.name, err)
	}
	a := answer{res.StatusCode, res.Header, body}
	if a.status != q.status {
		t.Fatalf("%s: %d %s; want %d", q.name, a.status, a.body, q.status)
	}
	if q.code != "" && q.method != http.MethodHead {
		formOf(q.path).want(t, a, q.status, q.code, q.field)
	}
	route, segments, err := e.router.FindRoute(request())
	if err != nil {
		t.Fatalf("%s: the document has no such route: %v", q.name, err)
	}
	in := e.input(route, request())
	in.PathParams = segments
	if err := legal(in); (err != nil) != q.illegal {
		t.Errorf("%s: the document takes the request as illegal: %v; want %v (%v)", q.name, err != nil, q.illegal, err)
	}
	if err := e.matches(in, a); err != nil {
		t.Errorf("%s: the document has another answer than %d %v %s: %v", q.name, a.status, a.header, a.body, err)
	}
	if err := e.matchesMore(in, a); err != nil {
		t.Errorf("%s: %v", q.name, err)
	}
	e.seen[label(route, q.status, string(q.code))] = true
	return a
}

func (c *client) request(t *testing.T, q question) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), q.method, c.base+q.path, strings.NewReader(q.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		r.Header.Set("X-API-KEY", c.token)
	}
	if q.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(q.headers); i += 2 {
		if r.Header.Del(q.headers[i]); q.headers[i+1] != "" {
			r.Header.Add(q.headers[i], q.headers[i+1])
		}
	}
	return r
}

func (e *exam) input(route *routers.Route, r *http.Request) *openapi3filter.RequestValidationInput {
	return &openapi3filter.RequestValidationInput{Request: r, Route: route, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true,
		AuthenticationFunc: hasCredentials,
	}}
}

// hasCredentials looks for what the document says carries them.
func hasCredentials(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	h := in.RequestValidationInput.Request.Header
	switch s := in.SecurityScheme; {
	case s.Type == "apiKey" && s.In == "header" && h.Get(s.Name) != "":
		return nil
	case s.Type == "http" && s.Scheme == "bearer" && strings.HasPrefix(h.Get("Authorization"), "Bearer "):
		return nil
	}
	return errors.New("none")
}

// legal compares a request with the document.
func legal(in *openapi3filter.RequestValidationInput) error {
	for name, values := range in.Request.URL.Query() {
		if in.Route.Operation.Parameters.GetByInAndName("query", name) == nil || len(values) > 1 {
			return fmt.Errorf("the parameter %s is not documented, or given twice", name)
		}
	}
	return openapi3filter.ValidateRequest(in.Request.Context(), in)
}

// matches compares an answer with the document: status, headers, type and body.
func (e *exam) matches(in *openapi3filter.RequestValidationInput, a answer) error {
	documented := in.Route.Operation.Responses.Status(a.status)
	if documented == nil {
		return errors.New("the status is not documented")
	}
	for name := range a.header {
		switch name {
		case "Date", "Content-Type", "Content-Length", "Content-Encoding": // of HTTP itself
		default:
			if !slices.ContainsFunc(slices.Collect(maps.Keys(documented.Value.Headers)), func(d string) bool { return strings.EqualFold(d, name) }) {
				return fmt.Errorf("the header %s is not documented", name)
			}
		}
	}
	if in.Request.Method == http.MethodHead { // has no body; the library does not look at its headers either
		for name, h := range documented.Value.Headers {
			if h.Value.Required && a.header.Get(name) == "" {
				return fmt.Errorf("the header %s is missing", name)
			}
		}
		if len(a.body) > 0 {
			return errors.New("there is a body")
		}
		return nil
	}
	return openapi3filter.ValidateResponse(in.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), Options: in.Options,
	})
}

// matchesMore tells when the document would also take what nobody documented,
// which makes its agreement worth nothing.
func (e *exam) matchesMore(in *openapi3filter.RequestValidationInput, a answer) error {
	if media := a.header.Get("Content-Type"); in.Route.Path == "/openapi.json" || !strings.Contains(media, "json") || strings.Contains(media, "ndjson") {
		return nil // is not described in full
	}
	for _, opening := range []string{"{", "[{"} { // of the answer, and of the first row or item
		if before, rest, found := bytes.Cut(a.body, []byte(opening)); found {
			more := a
			more.body = slices.Concat(before, []byte(opening), []byte(`"undocumented":1,`), rest)
			if e.matches(in, more) == nil {
				return fmt.Errorf("the document takes an answer with an undocumented member: %.500s", more.body)
			}
		}
	}
	return nil
}

// form is a form of refusals.
type form struct {
	paths      []string // that have it; a segment that varies may be any
	components string   // begins the names of the document's refusals of this form
	want       func(tb testing.TB, a answer, status int, code query.Code, field string)
	codes      func(r *openapi3.Response) []string // of a documented refusal; nil: it is none
}

// forms are those of other systems.
var forms = []form{ibmVerifyForm, semaphorForm}

var rfc9457 = form{
	want: func(tb testing.TB, a answer, status int, code query.Code, field string) {
		tb.Helper()
		wantProblem(tb, a, status, code, field)
	},
	codes: func(r *openapi3.Response) []string {
		problem := r.Content.Get("application/problem+json")
		if problem == nil {
			return nil
		}
		return enumOf(problem.Schema.Value.Properties["code"])
	},
}

// formOf gives the form of the refusals at a path.
func formOf(path string) form {
	path, _, _ = strings.Cut(path, "?")
	for _, f := range forms {
		for _, p := range f.paths {
			if open := strings.IndexByte(p, '{'); path == p || open >= 0 && strings.HasPrefix(path, p[:open]) && strings.HasSuffix(path, p[strings.IndexByte(p, '}')+1:]) {
				return f
			}
		}
	}
	return rfc9457
}

func enumOf(s *openapi3.SchemaRef) (names []string) {
	for _, v := range s.Value.Enum {
		names = append(names, fmt.Sprint(v))
	}
	return names
}

// label names an answer: operation, status and code.
func label(route *routers.Route, status int, code string) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %d %s", route.Method, route.Path, status, code))
}

// answers lists every answer that the document has, with each code of a problem
// for itself.
func (e *exam) answers() (all []string) {
	for path, item := range e.doc.Paths.Map() {
		for method, op := range item.Operations() {
			route := &routers.Route{Path: path, Method: method}
			for status, response := range op.Responses.Map() {
				n, err := strconv.Atoi(status)
				if err != nil {
					continue // there are no other ones: each has its status as a name
				}
				codes := formOf(path).codes(response.Value)
				if codes == nil {
					codes = []string{""}
				}
				for _, code := range codes {
					all = append(all, label(route, n, code))
				}
			}
		}
	}
	return all
}

// wantComplete checks that every documented answer was given.
func (e *exam) wantComplete(t *testing.T) {
	t.Helper()
	all := e.answers()
	if len(all) < 100 {
		t.Errorf("only %d answers are documented: they are not all found", len(all))
	}
	slices.Sort(all)
	for _, a := range all {
		if !e.seen[a] {
			t.Errorf("no request was answered as documented: %s", a)
		}
	}
}
