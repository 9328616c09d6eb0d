package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ingest"
)

func TestCredentials(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"))
	f.index.apply("other", give("v", "e", "a"))
	_, strangers := keySet(t, "acme")
	for name, c := range map[string]struct {
		token   string
		headers []string
		status  int
		code    query.Code
		field   string
		user    string // listed
	}{
		"none":                         {"", nil, 401, Unauthenticated, "", ""},
		"a bearer token":               {"", []string{"Authorization", "Bearer " + f.tokens["acme"]}, 401, Unauthenticated, "", ""},
		"malformed":                    {"secret", nil, 401, Unauthenticated, "", ""},
		"unknown":                      {strangers["acme"], nil, 401, Unauthenticated, "", ""},
		"unknown for a foreign tenant": {strangers["acme"], []string{"Assigndex-Tenant", "other"}, 401, Unauthenticated, "", ""},
		"of one tenant":                {f.tokens["acme"], nil, 200, "", "", "u"},
		"of another":                   {f.tokens["other"], nil, 200, "", "", "v"},
		"names its tenant":             {f.tokens["acme"], []string{"Assigndex-Tenant", "acme"}, 200, "", "", "u"},
		"names another tenant":         {f.tokens["acme"], []string{"Assigndex-Tenant", "other"}, 403, TenantForbidden, "", ""},
		"names all tenants":            {f.tokens["acme"], []string{"Assigndex-Tenant", "*"}, 403, TenantForbidden, "", ""},
		"of all, names none":           {f.tokens["*"], nil, 400, TenantRequired, "Assigndex-Tenant", ""},
		"of all, names one":            {f.tokens["*"], []string{"Assigndex-Tenant", "other"}, 200, "", "", "v"},
		"of all, names nonsense":       {f.tokens["*"], []string{"Assigndex-Tenant", "a.b"}, 400, InvalidHeader, "Assigndex-Tenant", ""},
		"of all, names all":            {f.tokens["*"], []string{"Assigndex-Tenant", "*"}, 400, InvalidHeader, "Assigndex-Tenant", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := *f.client
			client.token = c.token
			if c.status == 200 {
				if p, _ := client.list(`{}`, c.headers...); len(p.Assignments) != 1 || idsOf(t, p.Assignments[0]) != c.user+"\xffe" {
					t.Fatalf("%s", p.Assignments)
				}
				return
			}
			a := client.post(`{`, c.headers...) // the body is not looked at
			wantProblem(t, a, c.status, c.code, c.field)
			if challenge := a.header.Get("WWW-Authenticate"); (challenge == (Keys{}).Challenge()) != (c.status == 401) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			if a.header.Get("Assigndex-Seq") != "" || c.token != "" && bytes.Contains(a.body, []byte(c.token)) {
				t.Errorf("%v %s", a.header, a.body)
			}
		})
	}
}

// Headers that must come once.
func TestRepeatedHeaders(t *testing.T) {
	f := newFixture(t, nil)
	s := f.server
	for name, c := range map[string]struct {
		header http.Header
		status int
		code   query.Code
		field  string
	}{
		"key":          {http.Header{"X-Api-Key": {f.tokens["acme"], f.tokens["acme"]}}, 401, Unauthenticated, ""},
		"tenant":       {http.Header{"X-Api-Key": {f.tokens["acme"]}, "Assigndex-Tenant": {"acme", "acme"}}, 400, InvalidHeader, "Assigndex-Tenant"},
		"stream":       {http.Header{"X-Api-Key": {f.tokens["acme"]}, "Assigndex-Stream": {incarnation, incarnation}}, 400, InvalidHeader, "Assigndex-Stream"},
		"empty stream": {http.Header{"X-Api-Key": {f.tokens["acme"]}, "Assigndex-Stream": {""}}, 400, InvalidHeader, "Assigndex-Stream"},
		"empty tenant": {http.Header{"X-Api-Key": {f.tokens["acme"]}, "Assigndex-Tenant": {""}}, 400, InvalidHeader, "Assigndex-Tenant"},
		"type": {http.Header{"X-Api-Key": {f.tokens["acme"]}, "Content-Type": {"application/json", "application/json"}},
			415, UnsupportedMedia, "Content-Type"},
	} {
		f.index.apply("acme", give("u", "e", "a"))
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/assignments", http.NoBody)
		r.Header = c.header
		s.ServeHTTP(w, r)
		t.Log(name)
		wantProblem(t, answer{w.Code, w.Header(), w.Body.Bytes()}, c.status, c.code, c.field)
	}
}

// fixedAuth knows everybody, or nobody.
type fixedAuth struct {
	caller Caller
	err    error
}

func (a fixedAuth) Authenticate(context.Context, http.Header) (Caller, error) {
	return a.caller, a.err
}
func (fixedAuth) Challenge() string { return "Fixed" }

func TestAuthenticators(t *testing.T) {
	known := fixedAuth{caller: Caller{Tenant: "acme", Role: apikey.Writer}}
	for name, c := range map[string]struct {
		auth   []Authenticator
		status int
		code   query.Code
	}{
		"nobody asks":            {nil, 401, Unauthenticated},
		"one knows":              {[]Authenticator{known}, 200, ""},
		"the second one knows":   {[]Authenticator{fixedAuth{err: ErrNoCredentials}, known}, 200, ""},
		"none finds its kind":    {[]Authenticator{fixedAuth{err: ErrNoCredentials}, fixedAuth{err: ErrNoCredentials}}, 401, Unauthenticated},
		"the first one refuses":  {[]Authenticator{fixedAuth{err: ErrBadCredentials}, known}, 401, Unauthenticated},
		"the keys are not there": {[]Authenticator{Keys{Set: &apikey.Set{}}}, 503, query.NotReady},
		"a fault":                {[]Authenticator{fixedAuth{err: errors.New("disk")}}, 500, Internal},
		"no role":                {[]Authenticator{fixedAuth{caller: Caller{Tenant: "acme"}}}, 403, RoleForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex(t).bind()
			x.apply("acme", give("u", "e", "a"))
			o := x.options(nil)
			o.Auth = c.auth
			_, tokens := keySet(t, "acme")
			client := newClient(t, serve(t, newServer(t, o)), tokens["acme"])
			if c.status == 200 {
				client.list(`{}`)
				return
			}
			a := client.post(`{}`)
			wantProblem(t, a, c.status, c.code, "")
			if a.status == 401 && len(a.header.Values("WWW-Authenticate")) != len(c.auth) {
				t.Errorf("challenges %q", a.header.Values("WWW-Authenticate"))
			}
		})
	}
}

// A key that is revoked, or made, holds for the next request.
func TestKeysChangeAtOnce(t *testing.T) {
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", "a"))
	set, tokens := keySet(t, "acme")
	c := newClient(t, serve(t, newServer(t, x.options(set))), tokens["acme"])
	c.list(`{}`)
	set.Replace(nil, time.Now())
	wantProblem(t, c.post(`{}`), 401, Unauthenticated, "")
}

func TestPathsAndMethods(t *testing.T) {
	f := newFixture(t, nil)
	f.token = ""
	for _, path := range []string{"/", "/api", "/api/assignments/", "/api//assignments", "/API/assignments", "/api/change", "/readyz/", "/favicon.ico"} {
		wantProblem(t, f.do(http.MethodGet, path, ""), 404, NotFound, "")
		wantProblem(t, f.do(http.MethodPost, path, ""), 404, NotFound, "")
	}
	for path, allow := range map[string]string{
		"/api/assignments": "POST", "/livez": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			a := f.do(method, path, "")
			if strings.Contains(allow, method) {
				if a.status == 405 || a.header.Get("Allow") != "" {
					t.Errorf("%s %s: %d", method, path, a.status)
				}
				continue
			}
			if a.header.Get("Allow") != allow || a.status != 405 {
				t.Errorf("%s %s: %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
			}
			if method != http.MethodHead {
				wantProblem(t, a, 405, MethodNotAllowed, "")
			}
		}
	}
	if a := f.do(http.MethodGet, "/livez", ""); a.status != 200 || string(a.body) != "ok\n" {
		t.Errorf("livez: %d %s", a.status, a.body)
	}
	if a := f.do(http.MethodHead, "/livez", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD livez: %d %s", a.status, a.body)
	}
}

// Every code has a status, and no two tables say so.
func TestEveryCodeHasAKind(t *testing.T) {
	for _, code := range []query.Code{
		query.InvalidJSON, query.UnknownField, query.InvalidField, query.ConflictingFields, query.InvalidCursor, query.CursorMismatch,
		query.StreamChanged, query.HistoryPruned, query.NotReady, query.NotReached, query.BeyondEnd, TooManyWatches,
		Unauthenticated, TenantRequired, TenantForbidden, RoleForbidden, InvalidHeader, NotFound, MethodNotAllowed, RequestTimeout,
		BodyTooLarge, UnsupportedMedia, Lagging, Internal, query.TooManyRows, InvalidItems, StreamUnavailable, NotAnEvent, MessageGone, DiskFull,
	} {
		if k, ok := kinds[code]; !ok || http.StatusText(k.status) == "" || k.title == "" {
			t.Errorf("%s: %+v", code, k)
		}
	}
}

// The type of every problem leads to its line in the reference, and the reference
// knows what can be asked and included.
func TestReferenceIsComplete(t *testing.T) {
	reference, err := os.ReadFile("../API.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(reference)
	for code, k := range kinds {
		if line := fmt.Sprintf("\n| %d | <a id=\"%s\"></a>`%s` | ", k.status, code, code); !strings.Contains(text, line) {
			t.Errorf("API.md has no line about the code %s with status %d", code, k.status)
		}
	}
	if n := strings.Count(text, `<a id="`); n != len(kinds) {
		t.Errorf("API.md has %d codes, there are %d", n, len(kinds))
	}
	_, details, _ := strings.Cut(text, "\n### Details\n")
	details, _, _ = strings.Cut(details, "\n### ")
	for _, m := range listing.Members {
		if !strings.Contains(details, "`"+m.Name+"`") {
			t.Errorf("API.md does not say what %s includes", m.Name)
		}
	}
	for _, r := range ingest.Resources {
		if !strings.Contains(text, "\n| `/api/ingest/"+r.Name+"` | `"+r.Array+"` | ") {
			t.Errorf("API.md does not say what /api/ingest/%s takes", r.Name)
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPanicIsAnswered(t *testing.T) {
	log := &lockedBuffer{}
	panics := true
	f := newFixture(t, func(o *Options) {
		o.Logger = zerolog.New(log)
		o.Index = &hooked{Index: o.Index, list: func() {
			if panics {
				panic("an index fell over")
			}
		}}
	})
	f.index.apply("acme", give("u", "e", "a"))
	wantProblem(t, f.post(`{}`), 500, Internal, "")
	if !strings.Contains(log.String(), "an index fell over") || !strings.Contains(log.String(), "assignments_test.go") && !strings.Contains(log.String(), "server_test.go") {
		t.Errorf("the log does not say why and where: %s", log)
	}
	panics = false
	f.list(`{}`)
}

// Half an answer must not look whole.
func TestPanicAfterTheAnswerBegan(t *testing.T) {
	x := newIndex(t).bind()
	s := newServer(t, x.options(nil))
	s.routes["/half"] = &route{name: "half", serve: func(x *exchange) {
		w := &statusWriter{ResponseWriter: x.w, x: x}
		_, _ = w.Write([]byte("half"))
		w.ResponseWriter.(http.Flusher).Flush()
		panic("and then")
	}}
	c := newClient(t, serve(t, s), "")
	if a, err := c.send(t.Context(), http.MethodGet, "/half", nil); err == nil {
		t.Fatalf("answered: %d %s", a.status, a.body)
	}
	if a := c.do(http.MethodGet, "/livez", ""); a.status != 200 {
		t.Fatal("the server is gone")
	}
}

// A fault's reason is for the log, not for the client.
func TestFaultIsNotToldToClients(t *testing.T) {
	log := &lockedBuffer{}
	f := newFixture(t, func(o *Options) {
		o.Logger = zerolog.New(log)
		o.Index = &hooked{Index: o.Index, wait: func(context.Context, uint64) error { return errors.New("disk /dev/sdx") }}
	})
	f.index.apply("acme", give("u", "e", "a"))
	a := f.post(`{"at_least":2}`)
	wantProblem(t, a, 500, Internal, "")
	if bytes.Contains(a.body, []byte("sdx")) || !strings.Contains(log.String(), "sdx") {
		t.Errorf("%s; log %s", a.body, log)
	}
}

// Nothing is logged for a request above debug, and no credential ever.
func TestLogs(t *testing.T) {
	for level, want := range map[zerolog.Level]int{zerolog.InfoLevel: 0, zerolog.DebugLevel: 3} {
		log := &lockedBuffer{}
		f := newFixture(t, func(o *Options) { o.Logger = zerolog.New(log).Level(level) })
		f.index.apply("acme", give("u", "e", "a"))
		f.list(`{}`)
		f.post(`{`)
		c := *f.client
		c.token += "x"
		c.post(`{}`)
		f.do(http.MethodGet, "/livez", "") // on the same connection: what came before is logged
		if got := strings.Count(log.String(), `"path":"/api/assignments"`); got != want {
			t.Errorf("%v: %d lines, want %d: %s", level, got, want, log)
		}
		for _, token := range f.tokens {
			if _, secret, _ := apikey.Parse(token); strings.Contains(log.String(), secret) {
				t.Errorf("%v: a key is in the log: %s", level, log)
			}
		}
	}
}

// A body that does not arrive.
func TestBrokenBody(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"))
	for _, c := range []struct {
		err    error
		status int
		code   query.Code
	}{
		{io.ErrUnexpectedEOF, 400, query.InvalidJSON},
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), 408, RequestTimeout},
		{http.ErrBodyReadAfterClose, 500, Internal},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/assignments", io.NopCloser(brokenReader{c.err}))
		r.ContentLength = 10
		r.Header = http.Header{"X-Api-Key": {f.tokens["acme"]}, "Content-Type": {"application/json"}}
		f.server.ServeHTTP(w, r)
		wantProblem(t, answer{w.Code, w.Header(), w.Body.Bytes()}, c.status, c.code, "")
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestNewReportsWhatTheRegistryRefuses(t *testing.T) {
	x := newIndex(t).bind()
	o := x.options(nil)
	newServer(t, o)
	if _, err := New(o); !errors.As(err, &prometheus.AlreadyRegisteredError{}) {
		t.Fatalf("%v", err)
	}
}
