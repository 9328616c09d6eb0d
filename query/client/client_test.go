package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/events"
)

// script is a server that gives one answer after the other and keeps what it was
// asked.
type script struct {
	t       *testing.T
	answers []func(w http.ResponseWriter)

	mu      sync.Mutex // guards what follows
	asked   []string   // method, path with query, and body
	headers []http.Header
}

// requests gives what was asked so far.
func (s *script) requests() ([]string, []http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked), slices.Clone(s.headers)
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	asked := r.Method + " " + r.URL.RequestURI() + " " + string(body)
	s.mu.Lock()
	s.asked, s.headers = append(s.asked, asked), append(s.headers, r.Header)
	n := len(s.asked)
	s.mu.Unlock()
	if n > len(s.answers) {
		s.t.Errorf("request %d: %s", n, asked)
		panic(http.ErrAbortHandler)
	}
	s.answers[n-1](w)
}

// count gives the number of requests so far.
func (s *script) count() int {
	asked, _ := s.requests()
	return len(asked)
}

// give answers with a page, or statistics, at a sequence.
func give(seq, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Assigndex-Seq", seq)
		w.Header().Set("Assigndex-Stream", "s1")
		_, _ = io.WriteString(w, body)
	}
}

// refuse answers with a problem.
func refuse(status int, retryAfter string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/problem+json")
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"type":"x","title":"T","status":%d,"detail":"D","code":"c","field":"f","more":1}`, status)
	}
}

// drop closes the connection, before an answer or in its midst.
func drop(begun bool) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if begun {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"cursor":null`)
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// serve runs a script and gives a client of it that does not wait but notes for how
// long it would.
func serve(t *testing.T, o Options, answers ...func(http.ResponseWriter)) (*Client, *script, *[]time.Duration) {
	t.Helper()
	s := &script{t: t, answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	o.URL = server.URL + o.URL
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	waits := &[]time.Duration{}
	c.now = func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	c.wait = func(ctx context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return ctx.Err()
	}
	return c, s, waits
}

const (
	end = `{"cursor":null,"assignments":[]}`
	row = `{"ent_id":"e","usr_id":"u","score":null,"justification":[]}`
)

func page(cursor string, rows ...string) string {
	if cursor == "" {
		return `{"cursor":null,"assignments":[` + strings.Join(rows, ",") + `]}`
	}
	return `{"cursor":"` + cursor + `","assignments":[` + strings.Join(rows, ",") + `]}`
}

func user(id string) string {
	return `{"ent_id":"e","usr_id":"` + id + `","score":0.5,"justification":[]}`
}

func (s *script) wantAsked(want ...string) {
	s.t.Helper()
	if asked, _ := s.requests(); !slices.Equal(asked, want) {
		s.t.Errorf("asked\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

func TestAllFollowsCursors(t *testing.T) {
	c, s, _ := serve(t, Options{APIKey: "key", Tenant: "acme"},
		give("7", page("c1", user("a"), user("b"))), give("7", page("c2")), give("7", page("c3", user("c"))), give("7", page("")))
	var got []string
	for a, err := range c.All(t.Context(), Request{EntID: "e", PageSize: 2, AtLeast: 7, Stream: "s1", Include: []string{"type"}}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.UsrID)
	}
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
	const fields = `POST /api/assignments {"ent_id":"e","include":["type"],`
	s.wantAsked(fields+`"at_least":7,"pageSize":2}`, fields+`"pageSize":2,"cursor":"c1"}`, fields+`"pageSize":2,"cursor":"c2"}`, fields+`"pageSize":2,"cursor":"c3"}`)
	_, headers := s.requests()
	for _, h := range headers {
		if h.Get("X-Api-Key") != "key" || h.Get("Assigndex-Tenant") != "acme" || h.Get("Assigndex-Stream") != "s1" || h.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", h)
		}
	}
}

// Who stops reading asks for no further page.
func TestAllStops(t *testing.T) {
	c, s, _ := serve(t, Options{}, give("7", page("c1", user("a"), user("b"))))
	for a, err := range c.All(t.Context(), Request{}) {
		if err != nil || a.UsrID != "a" {
			t.Fatalf("%+v, %v", a, err)
		}
		break
	}
	s.wantAsked(`POST /api/assignments {}`)
	if _, headers := s.requests(); headers[0]["X-Api-Key"] != nil {
		t.Error("an empty key was sent, which would stand in the way of other credentials")
	}
}

// A listing that fails ends with the error, and does not look like one that ended.
func TestPagesEndWithTheError(t *testing.T) {
	c, _, _ := serve(t, Options{}, give("7", page("c1", user("a"))), refuse(410, ""))
	var pages int
	var last error
	for p, err := range c.Pages(t.Context(), Request{}) {
		if last = err; err == nil {
			pages++
		} else if p != nil {
			t.Errorf("a page with an error: %+v", p)
		}
	}
	problem, ok := errors.AsType[*Error](last)
	if pages != 1 || !ok || *problem != (Error{Status: 410, Code: "c", Title: "T", Detail: "D", Field: "f"}) {
		t.Errorf("%d pages, %v", pages, last)
	}
	rows := 0
	c, _, _ = serve(t, Options{}, give("7", page("c1", user("a"))), refuse(410, ""))
	for a, err := range c.All(t.Context(), Request{}) {
		if rows++; rows == 2 && (err == nil || a.EntID != "") || rows == 1 && err != nil || rows > 2 {
			t.Errorf("row %d: %+v, %v", rows, a, err)
		}
	}
	if rows != 2 {
		t.Errorf("%d rows", rows)
	}
}

// One snapshot: a page of another is refused, and so is a cursor that leads nowhere.
func TestPagesOfAnotherListing(t *testing.T) {
	other := func(w http.ResponseWriter) {
		w.Header().Set("Assigndex-Seq", "7")
		w.Header().Set("Assigndex-Stream", "s2")
		_, _ = io.WriteString(w, end)
	}
	for name, second := range map[string]func(http.ResponseWriter){
		"another sequence": give("8", end), "another stream": other, "a cursor to itself": give("7", page("c1")),
	} {
		c, _, _ := serve(t, Options{}, give("7", page("c1", user("a"))), second)
		pages, failed := 0, error(nil)
		for _, err := range c.Pages(t.Context(), Request{}) {
			pages++
			failed = err
		}
		if pages != 2 || !errors.Is(failed, ErrMalformed) {
			t.Errorf("%s: %d pages, %v", name, pages, failed)
		}
	}
}

func TestRetries(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	gone := func() []func(http.ResponseWriter) {
		return slices.Repeat([]func(http.ResponseWriter){refuse(503, "")}, 20)
	}
	for _, c := range []struct {
		name    string
		o       Options
		answers []func(http.ResponseWriter)
		status  int // of the error; 0: none, -1: no answer
		waits   []time.Duration
	}{
		{"none needed", Options{}, []func(http.ResponseWriter){give("1", end)}, 0, nil},
		{"as asked", Options{}, []func(http.ResponseWriter){refuse(429, "3"), refuse(503, "1"), give("1", end)}, 0, []time.Duration{3 * sec, sec}},
		{"not longer than the maximum", Options{MaxWait: 2 * sec}, []func(http.ResponseWriter){refuse(429, "3600"), give("1", end)}, 0, []time.Duration{2 * sec}},
		{"longer than a duration can be", Options{}, []func(http.ResponseWriter){refuse(429, "99999999999"), refuse(429, "2147483647"), give("1", end)}, 0, []time.Duration{10 * sec, 10 * sec}},
		{"until an instant", Options{}, []func(http.ResponseWriter){refuse(503, "Fri, 02 Jan 2026 03:04:09 GMT"), give("1", end)}, 0, []time.Duration{4 * sec}},
		{"until one that is past", Options{}, []func(http.ResponseWriter){refuse(503, "Fri, 02 Jan 2026 03:04:01 GMT"), give("1", end)}, 0, []time.Duration{100 * ms}},
		{"without being asked", Options{}, []func(http.ResponseWriter){refuse(503, ""), refuse(503, "0"), refuse(503, "soon"), refuse(503, "-1"), give("1", end)}, 0,
			[]time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms}},
		{"a lost connection", Options{}, []func(http.ResponseWriter){drop(false), drop(true), give("1", end)}, 0, []time.Duration{100 * ms, 200 * ms}},
		{"five times", Options{}, gone(), 503, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		{"as often as wanted", Options{Retries: 1}, gone(), 503, []time.Duration{100 * ms}},
		{"never", Options{Retries: -1}, gone(), 503, nil},
		{"often", Options{Retries: 9}, gone(), 503, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10 * sec, 10 * sec}},
		{"no lost connection either", Options{Retries: -1}, []func(http.ResponseWriter){drop(false)}, -1, nil},
		{"not what would come to the same", Options{}, []func(http.ResponseWriter){refuse(400, "1")}, 400, nil},
		{"nor without rights", Options{}, []func(http.ResponseWriter){refuse(401, "")}, 401, nil},
		{"nor a fault", Options{}, []func(http.ResponseWriter){refuse(500, "")}, 500, nil},
		{"nor what is not a page", Options{}, []func(http.ResponseWriter){give("1", "{}")}, -1, nil},
	} {
		client, s, waits := serve(t, c.o, c.answers...)
		_, err := client.Page(t.Context(), Request{UsrID: "u"})
		status := 0
		if problem, ok := errors.AsType[*Error](err); ok {
			status = problem.Status
		} else if err != nil {
			status = -1
		}
		asked, _ := s.requests()
		if status != c.status || !slices.Equal(*waits, c.waits) || len(asked) != len(c.waits)+1 {
			t.Errorf("%s: %v after %d requests and %v, want %v", c.name, err, len(asked), *waits, c.waits)
		}
		for _, asked := range asked { // the same every time
			if asked != `POST /api/assignments {"usr_id":"u"}` {
				t.Errorf("%s: asked %s", c.name, asked)
			}
		}
	}
}

// The context ends waiting as well as asking, and the error says what was waited for.
func TestContextEnds(t *testing.T) {
	c, s, _ := serve(t, Options{}, refuse(503, "1"))
	ctx, cancel := context.WithCancel(t.Context())
	c.wait = func(ctx context.Context, d time.Duration) error {
		cancel()
		return sleep(ctx, time.Hour)
	}
	_, err := c.Page(ctx, Request{})
	if problem, ok := errors.AsType[*Error](err); !errors.Is(err, context.Canceled) || !ok || problem.Status != 503 || s.count() != 1 {
		t.Errorf("%v after %d requests", err, s.count())
	}
	c, s, waits := serve(t, Options{}, drop(false))
	if _, err := c.Page(ctx, Request{}); !errors.Is(err, context.Canceled) || s.count() > 0 || len(*waits) > 0 {
		t.Errorf("%v after %d requests and %v", err, s.count(), *waits)
	}
	// In the midst of an answer.
	ctx, cancel = context.WithCancel(t.Context())
	c, _, waits = serve(t, Options{}, func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"cursor":null`)
		_ = http.NewResponseController(w).Flush()
		cancel()
		panic(http.ErrAbortHandler)
	})
	if _, err := c.Page(ctx, Request{}); err == nil || len(*waits) > 0 {
		t.Errorf("%v after %v", err, *waits)
	}
	if err := sleep(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}

// A key must not travel to another host, nor a request become another one.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		c, s, _ := serve(t, Options{APIKey: "key"}, func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		_, err := c.Page(t.Context(), Request{})
		if problem, ok := errors.AsType[*Error](err); !ok || problem.Status != status || problem.Code != "" || s.count() != 1 {
			t.Errorf("%d: %v after %d requests", status, err, s.count())
		}
	}
}

func TestErrors(t *testing.T) {
	plain := func(status int, contentType, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		answer func(http.ResponseWriter)
		want   Error
		text   string
	}{
		{refuse(400, ""), Error{400, "c", "T", "D", "f"}, "the server answered 400 c: f: D"},
		{plain(403, "application/problem+json; charset=utf-8", `{"title":"T","code":"role_forbidden","status":999}`), Error{Status: 403, Code: "role_forbidden", Title: "T"}, "the server answered 403 role_forbidden: T"},
		{plain(502, "text/html", "<html>"), Error{Status: 502, Title: "Bad Gateway"}, "the server answered 502: Bad Gateway"},
		{plain(400, "application/problem+json", `{"code":`), Error{Status: 400, Title: "Bad Request"}, "the server answered 400: Bad Request"},
		{plain(400, "application/problem+json", `{"code":"c","detail":7}`), Error{Status: 400, Title: "Bad Request"}, "the server answered 400: Bad Request"},
		{plain(599, "", ""), Error{Status: 599}, "the server answered 599"},
		{plain(204, "", ""), Error{Status: 204, Title: "No Content"}, "the server answered 204: No Content"},
	} {
		client, _, _ := serve(t, Options{}, c.answer)
		_, err := client.Page(t.Context(), Request{})
		problem, ok := errors.AsType[*Error](err)
		if !ok || *problem != c.want || err.Error() != c.text {
			t.Errorf("%+v, %q; want %+v, %q", problem, err, c.want, c.text)
		}
	}
}

func TestMalformedPages(t *testing.T) {
	for _, body := range []string{
		``, `null`, `[]`, `<html>`, `{}`, `{"assignments":[]}`, `{"cursor":null}`, `{"cursor":null,"assignments":null}`, `{"cursor":null,"assignments":{}}`,
		`{"cursor":"","assignments":[]}`, `{"cursor":7,"assignments":[]}`, `{"cursor":{},"assignments":[]}`, `{"cursor":null,"assignments":[`,
		page("", `null`), page("", `7`), page("", `{}`), page("", `{"ent_id":"e"}`), page("", `{"usr_id":"u"}`), page("", row, `{"ent_id":7,"usr_id":"u"}`),
		page("", `{"ent_id":"e","usr_id":"u","score":"high"}`), page("", `{"ent_id":"e","usr_id":"u","created_at":"yesterday"}`), end + end,
	} {
		c, s, _ := serve(t, Options{}, give("1", body))
		if p, err := c.Page(t.Context(), Request{}); !errors.Is(err, ErrMalformed) || p != nil || s.count() != 1 {
			t.Errorf("%s: %+v, %v", body, p, err)
		}
	}
	for name, headers := range map[string][]string{
		"no sequence": {"Assigndex-Stream", "s1"}, "no stream": {"Assigndex-Seq", "1"}, "no number": {"Assigndex-Seq", "x", "Assigndex-Stream", "s1"}, "neither": nil,
	} {
		for path, body := range map[string]string{"page": end, "stats": `{"total":0,"high":0,"medium":0,"low":0,"unscored":0}`} {
			c, _, _ := serve(t, Options{}, func(w http.ResponseWriter) {
				for i := 0; i < len(headers); i += 2 {
					w.Header().Set(headers[i], headers[i+1])
				}
				_, _ = io.WriteString(w, body)
			})
			var given bool
			var err error
			if path == "page" {
				p, e := c.Page(t.Context(), Request{})
				given, err = p != nil, e
			} else {
				s, e := c.Stats(t.Context(), StatsRequest{})
				given, err = s != nil, e
			}
			if !errors.Is(err, ErrMalformed) || given {
				t.Errorf("%s of a %s: %v", name, path, err)
			}
		}
	}
}

func TestRows(t *testing.T) {
	score := 0.6
	text := func(s string) jsontext.Value { return jsontext.Value(s) }
	rows := []string{
		`{"ent_id":"e","usr_id":"u","score":0.6,"justification":[{"id":"CITY","title":"city","value":"Bonn"},{"id":"n","title":"","value":1.50}]}`,
		`{"ent_id":"e","grp_id":"g","type":"GROUP","score":null,"justification":[]}`,
		`{"ent_id":"e","type":"ALL","score":null,"justification":[],"new":"in a later version"}`,
		`{"ent_id":"e","usr_id":"u","score":null,"justification":[],"app_id":null,"type":"USER","rights":[],"params":{},"attributes":{},"valid_from":null,"valid_until":null,` +
			`"created_at":"2026-01-02T03:04:05.5Z","updated_at":"2026-01-02T03:04:06Z","user":null,"group":null,"entitlement":null,"application":null}`,
		`{"ent_id":"e","usr_id":"u","score":null,"justification":[],"app_id":"a","type":"USER","rights":[{"name":"r","values":["v"]}],"params":{"pw":"***","n":1.50},` +
			`"attributes":{"x":{"y":1}},"valid_from":"2026-01-31","valid_until":"2027-01-31T12:00:00Z","created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z",` +
			`"user":{"usr_id":"u","usr_name":"U","grp_id":"g"},"group":{"grp_id":"g","grp_name":"G"},"entitlement":{"ent_id":"e","secret_params":["pw"],"attributes":{"z":1}},` +
			`"application":{"app_id":"a","app_name":"A"}}`,
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []Assignment{
		{EntID: "e", UsrID: "u", Score: &score, Justification: []Reason{{"CITY", "city", text(`"Bonn"`)}, {"n", "", text("1.50")}}},
		{EntID: "e", GrpID: "g", Type: "GROUP", Justification: []Reason{}},
		{EntID: "e", Type: "ALL", Justification: []Reason{}},
		{EntID: "e", UsrID: "u", Type: "USER", Justification: []Reason{}, Details: Details{
			Rights: []events.Right{}, Params: map[string]jsontext.Value{}, Attributes: map[string]jsontext.Value{},
			CreatedAt: created.Add(500 * time.Millisecond), UpdatedAt: created.Add(time.Second),
		}},
		{EntID: "e", UsrID: "u", Type: "USER", Justification: []Reason{}, Details: Details{
			AppID: "a", Rights: []events.Right{{Name: "r", Values: []string{"v"}}}, Params: map[string]jsontext.Value{"pw": text(`"***"`), "n": text("1.50")},
			Attributes: map[string]jsontext.Value{"x": text(`{"y":1}`)}, ValidFrom: "2026-01-31", ValidUntil: "2027-01-31T12:00:00Z", CreatedAt: created, UpdatedAt: created,
			User: &events.User{UsrID: "u", UsrName: "U", GrpID: "g"}, Group: &events.Group{GrpID: "g", GrpName: "G"},
			Entitlement: &events.Entitlement{EntID: "e", SecretParams: []string{"pw"}, Attributes: text(`{"z":1}`)}, Application: &events.Application{AppID: "a", AppName: "A"},
		}},
	}
	c, _, _ := serve(t, Options{}, give("18446744073709551615", page("next", rows...)))
	p, err := c.Page(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Cursor != "next" || p.Seq != 1<<64-1 || p.Stream != "s1" || string(p.Raw) != page("next", rows...) || len(p.Assignments) != len(want) {
		t.Fatalf("%+v", p)
	}
	for i, got := range p.Assignments {
		if string(got.Raw) != rows[i] {
			t.Errorf("row %d: %s, want %s", i, got.Raw, rows[i])
		}
		if got.Raw = nil; !reflect.DeepEqual(got, want[i]) {
			t.Errorf("row %d:\n got %+v\nwant %+v", i, got, want[i])
		}
	}
}

// Everything that can be asked, and nothing of what is not.
func TestRequests(t *testing.T) {
	zero, one, scored := 0.0, 1.0, false
	instant := time.Date(2026, 1, 31, 12, 0, 0, 500, time.FixedZone("", 2*3600))
	for _, c := range []struct {
		in   Request
		want string
	}{
		{Request{}, `{}`},
		{Request{UsrID: "u", EntID: "e", AppID: "a\x00", Type: "USER", AsOf: AtSequence(1<<64 - 1), AtLeast: 1, PageSize: 5, Cursor: "c", Stream: "s1"},
			`{"usr_id":"u","ent_id":"e","app_id":"a\u0000","type":"USER","as_of":"18446744073709551615","at_least":1,"pageSize":5,"cursor":"c"}`},
		{Request{AsOf: AtSequence(0)}, `{"as_of":"0"}`},
		{Request{AsOf: AtInstant(instant)}, `{"as_of":"2026-01-31T10:00:00.0000005Z"}`},
		{Request{GrpID: "g", MinScore: &zero, MaxScore: &one}, `{"grp_id":"g","min_score":0,"max_score":1}`},
		{Request{Scored: &scored, Level: "high", Include: []string{"user", "app_id"}}, `{"scored":false,"level":"high","include":["user","app_id"]}`},
	} {
		client, s, _ := serve(t, Options{URL: "/base/"}, give("1", end))
		if _, err := client.Page(t.Context(), c.in); err != nil {
			t.Fatal(err)
		}
		s.wantAsked("POST /base/api/assignments " + c.want)
	}
}

func TestStats(t *testing.T) {
	const body = `{"total":10,"high":4,"medium":3,"low":2,"unscored":1}`
	c, s, waits := serve(t, Options{APIKey: "key"}, give("9", body), refuse(503, "2"), give("9", body))
	got, err := c.Stats(t.Context(), StatsRequest{})
	if err != nil || *got != (Stats{Total: 10, High: 4, Medium: 3, Low: 2, Unscored: 1, Seq: 9, Stream: "s1"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err = c.Stats(t.Context(), StatsRequest{UsrID: "u&v", EntID: "e/f", AppID: "日", GrpID: "g", Type: "USER", AsOf: AtSequence(3), AtLeast: 2, Stream: "s1"}); err != nil {
		t.Error(err)
	}
	const params = "GET /api/companyview/assignmentStats?app_id=%E6%97%A5&as_of=3&at_least=2&ent_id=e%2Ff&grp_id=g&type=USER&usr_id=u%26v "
	s.wantAsked("GET /api/companyview/assignmentStats ", params, params)
	_, headers := s.requests()
	if !slices.Equal(*waits, []time.Duration{2 * time.Second}) || headers[2].Get("Assigndex-Stream") != "s1" || headers[0].Get("Content-Type") != "" {
		t.Errorf("%v, %v", *waits, headers)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"total":10,"high":4,"medium":3,"low":2}`, `{"total":null,"high":4,"medium":3,"low":2,"unscored":1}`, `{"total":"10","high":4,"medium":3,"low":2,"unscored":1}`} {
		c, _, _ := serve(t, Options{}, give("9", body))
		if got, err := c.Stats(t.Context(), StatsRequest{}); !errors.Is(err, ErrMalformed) || got != nil {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	c, _, _ = serve(t, Options{}, refuse(422, ""))
	if _, err := c.Stats(t.Context(), StatsRequest{}); err == nil || err.Error() != "the server answered 422 c: f: D" {
		t.Error(err)
	}
}

func TestParseAsOf(t *testing.T) {
	for _, text := range []string{"0", "7", "18446744073709551615", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456789+02:00"} {
		if got, err := ParseAsOf(text); err != nil || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1.5", "now", "18446744073709551616", "2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T12:00:00"} {
		if got, err := ParseAsOf(text); err == nil || !strings.Contains(err.Error(), "RFC 3339") || got != (AsOf{}) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	c, s, _ := serve(t, Options{}, give("9", `{"total":0,"high":0,"medium":0,"low":0,"unscored":0}`))
	then, err := ParseAsOf("2026-01-31T12:00:00+02:00")
	if err == nil {
		_, err = c.Stats(t.Context(), StatsRequest{AsOf: then})
	}
	if err != nil {
		t.Fatal(err)
	}
	s.wantAsked("GET /api/companyview/assignmentStats?as_of=2026-01-31T12%3A00%3A00%2B02%3A00 ")
}

func TestURLs(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:8080", "ftp://host", "http://", "http:///path", "://", "http://host:port"} {
		if _, err := New(Options{URL: bad}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, good := range []string{"http://127.0.0.1:8080", "https://host", "https://host/base", "http://host/base/"} {
		c, err := New(Options{URL: good})
		if err != nil || c.listing != strings.TrimRight(good, "/")+"/api/assignments" {
			t.Errorf("%q: %+v, %v", good, c, err)
		}
	}
}
