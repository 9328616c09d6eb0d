package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/query"
)

// readAnswer reads a body, of a watch the first event.
func readAnswer(res *http.Response) ([]byte, error) {
	if res.Header.Get("Content-Type") != "text/event-stream" {
		return io.ReadAll(res.Body)
	}
	var event []byte
	for lines := bufio.NewReader(res.Body); ; {
		line, err := lines.ReadBytes('\n')
		if event = append(event, line...); err != nil || len(line) == 1 {
			return event, err
		}
	}
}

const (
	changesPath = "/api/changes"
	watchPath   = "/api/watch"
	diffPath    = "/api/assignments/diff"
	historyPath = "/api/assignments/history"
)

func examineChanges(t *testing.T, e *exam, f *contractFixture) {
	examineFeed(t, e, f)
	examineDiff(t, e, f)
	examineVersions(t, e, f)

	// Below the window, and what takes too long, or fails.
	past := newContractFixture(t, nil)
	past.fill()
	if err := past.index.st.AdvanceFloor(5); err != nil {
		t.Fatal(err)
	}
	broken := newContractFixture(t, func(o *Options) {
		o.Index = &hooked{Index: o.Index, wait: func(context.Context, uint64) error { return errors.New("disk") }}
	})
	broken.fill()
	for _, path := range []string{changesPath, watchPath} {
		get := question{method: http.MethodGet, name: path}
		get.path, get.status, get.code = path+"?since=1", 410, query.HistoryPruned
		e.ask(t, past.reader, get)
		get.path, get.status, get.code = path+"?since=1&at_least=1000", 500, Internal
		e.ask(t, broken.reader, get)
	}
	for path, body := range map[string]string{diffPath: `{"from":1,`, historyPath: `{"usr_id":"u","ent_id":"edit","as_of":1,`} {
		post := question{name: path, path: path}
		post.body, post.status, post.code = strings.TrimSuffix(body, ",")+"}", 410, query.HistoryPruned
		e.ask(t, past.reader, post)
		body = strings.Replace(body, `"as_of":1,`, "", 1)
		post.body, post.status, post.code = body+`"at_least":1000}`, 500, Internal
		e.ask(t, broken.reader, post)
	}
	full := newContractFixture(t, func(o *Options) { o.Watch.Max = -1 })
	e.ask(t, full.reader, question{name: "too many", method: http.MethodGet, path: watchPath, status: 503, code: TooManyWatches})
}

func examineFeed(t *testing.T, e *exam, f *contractFixture) {
	for _, path := range []string{changesPath, watchPath} {
		get := func(params string, q question) {
			t.Helper()
			q.method, q.name, q.path = http.MethodGet, path+params, path+params
			e.ask(t, f.reader, q)
		}
		names := strings.NewReplacer(`"`, "", "[", "", "]", "", ":", "=").Replace(included())
		for _, params := range []string{
			"?since=0", "?since=earliest", "?since=10", "?since=5.1", "?since=0&usr_id=u", "?since=0&grp_id=g", "?since=0&ent_id=edit&app_id=web", "?since=0&type=ALL",
			"?since=0&type=DYNAMIC_GROUP", "?since=0&min_score=0.5&max_score=1", "?since=0&scored=true", "?since=0&scored=false", "?since=0&level=high",
			"?since=0&at_least=10", "?since=0&" + names, "?since=0&type=GROUP&" + names,
		} {
			get(params, question{status: 200})
		}
		for params, q := range map[string]question{
			"?since=0&user_id=u":                   {code: query.UnknownField, field: "user_id", illegal: true},
			"?since=":                              {code: query.InvalidField, field: "since", illegal: true},
			"?since=now":                           {code: query.InvalidField, field: "since", illegal: true},
			"?since=7.0":                           {code: query.InvalidField, field: "since", illegal: true},
			"?since=7&since=8":                     {code: query.InvalidField, field: "since", illegal: true},
			"?since=0&type=user":                   {code: query.InvalidField, field: "type", illegal: true},
			"?since=0&level=HIGH":                  {code: query.InvalidField, field: "level", illegal: true},
			"?since=0&scored=no":                   {code: query.InvalidField, field: "scored", illegal: true},
			"?since=0&max_score=2":                 {code: query.InvalidField, field: "max_score", illegal: true},
			"?since=0&include=score":               {code: query.InvalidField, field: "include", illegal: true},
			"?since=0&at_least=-1":                 {code: query.InvalidField, field: "at_least", illegal: true},
			"?since=0&usr_id=u&grp_id=g":           {code: query.ConflictingFields, field: "grp_id"},
			"?since=0&min_score=0.6&max_score=0.5": {code: query.ConflictingFields, field: "min_score"},
			"?since=1000":                          {status: 410, code: query.BeyondEnd},
			"?since=0&at_least=1000":               {status: 503, code: query.NotReached},
		} {
			if q.status == 0 {
				q.status = 400
			}
			get(params, q)
		}
		get("?since=0", question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
		get("?since=0", question{headers: []string{"Assigndex-Stream", incarnation}, status: 200})
	}
	ask := func(path string, q question) {
		t.Helper()
		q.method, q.name, q.path = http.MethodGet, path, path
		e.ask(t, f.reader, q)
	}
	ask(changesPath+"?since=0&limit=50", question{status: 200})
	ask(changesPath+"?since=0&limit=1", question{status: 200})
	ask(changesPath+"?since=0&limit=51", question{status: 400, code: query.InvalidField, field: "limit", illegal: true})
	ask(changesPath, question{status: 400, code: query.InvalidField, field: "since", illegal: true})
	ask(watchPath, question{status: 200})
	ask(watchPath, question{status: 200, headers: []string{"Last-Event-ID", "3"}})
	ask(watchPath, question{status: 200, headers: []string{"Last-Event-ID", "3.1"}})
	ask(watchPath, question{status: 400, headers: []string{"Last-Event-ID", "x"}, code: InvalidHeader, field: "Last-Event-Id", illegal: true})
}

// examineBodies asks for what is refused in every body.
func examineBodies(t *testing.T, e *exam, f *contractFixture, path, good string) {
	t.Helper()
	inner := strings.TrimSuffix(good, "}")
	for body, q := range map[string]question{
		`{`:                                      {code: query.InvalidJSON, illegal: true},
		inner + `,"user_id":"u"}`:                {code: query.UnknownField, field: "user_id", illegal: true},
		inner + `,"pageSize":51}`:                {code: query.InvalidField, field: "pageSize", illegal: true},
		inner + `,"cursor":""}`:                  {code: query.InvalidCursor, field: "cursor", illegal: true},
		inner + `,"cursor":"AQ"}`:                {code: query.InvalidCursor, field: "cursor"},
		inner + `,"at_least":1000}`:              {status: 503, code: query.NotReached},
		inner + `,"include":["x"]}`:              {code: query.InvalidField, field: "include", illegal: true},
		inner + `,"at_least":-1}`:                {code: query.InvalidField, field: "at_least", illegal: true},
		good + strings.Repeat(" ", maxQueryBody): {status: 413, code: BodyTooLarge},
		inner + `,"at_least":null,"pageSize":null,"cursor":null,"include":null}`: {status: 200},
	} {
		if q.status == 0 {
			q.status = 400
		}
		q.name, q.path, q.body = path+" "+body[:min(len(body), 60)], path, body
		e.ask(t, f.reader, q)
	}
	for _, q := range []question{
		{name: "a parameter", path: path + "?usr_id=u", status: 400, code: query.UnknownField, illegal: true},
		{name: "another stream", path: path, headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged},
		{name: "text", path: path, headers: []string{"Content-Type", "text/plain"}, status: 415, code: UnsupportedMedia, field: "Content-Type", illegal: true},
	} {
		q.body = good
		e.ask(t, f.reader, q)
	}
}

func examineDiff(t *testing.T, e *exam, f *contractFixture) {
	for body, q := range map[string]question{
		`{"from":0}`: {}, `{"from":"0","to":10}`: {}, `{"from":5,"to":5}`: {}, `{"from":"1970-01-01T00:00:03Z","to":null}`: {},
		`{"from":0,"type":"GROUP",` + included() + `}`: {}, `{"from":0,"usr_id":"u","ent_id":"edit","app_id":"web","level":"high"}`: {},
		`{"from":0,"grp_id":"g","scored":true}`: {}, `{"from":0,"min_score":0.1,"max_score":1}`: {}, `{"from":0,` + included() + `}`: {},
		`{}`:                             {code: query.InvalidField, field: "from", illegal: true},
		`{"from":"x"}`:                   {code: query.InvalidField, field: "from", illegal: true},
		`{"from":1,"to":-1}`:             {code: query.InvalidField, field: "to", illegal: true},
		`{"from":1,"as_of":1}`:           {code: query.UnknownField, field: "as_of", illegal: true},
		`{"from":3,"to":2}`:              {code: query.ConflictingFields, field: "from"},
		`{"from":3,"to":4,"at_least":5}`: {code: query.ConflictingFields, field: "at_least"},
		`{"from":"1970-01-01T00:00:03Z","to":"1970-01-01T00:00:02Z"}`: {code: query.ConflictingFields, field: "from"},
		`{"from":1000}`: {status: 503, code: query.NotReached},
	} {
		if q.name, q.path, q.body = body, diffPath, body; q.status == 0 {
			if q.status = 200; q.code != "" {
				q.status = 400
			}
		}
		e.ask(t, f.reader, q)
	}
	examineBodies(t, e, f, diffPath, `{"from":0}`)
	examineCursors(t, e, f, diffPath, `{"from":0,"pageSize":1`, `{"from":1`)
}

// examineCursors takes a cursor to the next page, and to another query.
func examineCursors(t *testing.T, e *exam, f *contractFixture, path, query1, other string) {
	t.Helper()
	a := e.ask(t, f.reader, question{name: path, path: path, body: query1 + "}", status: 200})
	_, rest, _ := strings.Cut(string(a.body), `{"cursor":"`)
	cursor, _, found := strings.Cut(rest, `"`)
	if !found {
		t.Fatalf("%s: no cursor: %s", path, a.body)
	}
	e.ask(t, f.reader, question{name: path + " goes on", path: path, body: query1 + `,"cursor":"` + cursor + `"}`, status: 200})
	e.ask(t, f.reader, question{name: path + " another query", path: path, body: other + `,"cursor":"` + cursor + `"}`, status: 400, code: query.CursorMismatch, field: "cursor"})
	e.ask(t, f.reader, question{name: path + " elsewhere", path: listPath, body: `{"cursor":"` + cursor + `"}`, status: 400, code: query.InvalidCursor, field: "cursor"})
}

func examineVersions(t *testing.T, e *exam, f *contractFixture) {
	f.index.apply("acme", event{"assignment.revoked", `{"usr_id":"u","ent_id":"twice"}`}, give("u", "twice", ""), event{"assignment.revoked", `{"usr_id":"u","ent_id":"twice"}`})
	for body, q := range map[string]question{
		`{"usr_id":"u","ent_id":"edit"}`: {}, `{"usr_id":"u","type":"USER","ent_id":"twice"}`: {}, `{"usr_id":"u","ent_id":"none"}`: {},
		`{"grp_id":"g","type":"GROUP","ent_id":"edit",` + included() + `}`: {}, `{"type":"ALL","ent_id":"edit",` + included() + `}`: {},
		`{"usr_id":"u","ent_id":"edit","as_of":5}`: {}, `{"usr_id":"u","ent_id":"edit","as_of":"1970-01-01T00:00:06Z"}`: {},
		`{"usr_id":"u"}`:                                {code: query.InvalidField, field: "ent_id", illegal: true},
		`{"ent_id":"edit"}`:                             {code: query.InvalidField, field: "usr_id"},
		`{"grp_id":"g","ent_id":"edit"}`:                {code: query.InvalidField, field: "type"},
		`{"type":"GROUP","ent_id":"edit"}`:              {code: query.InvalidField, field: "grp_id"},
		`{"type":"ALL","usr_id":"u","ent_id":"edit"}`:   {code: query.ConflictingFields, field: "type"},
		`{"type":"ALL","grp_id":"g","ent_id":"edit"}`:   {code: query.ConflictingFields, field: "type"},
		`{"grp_id":"g","usr_id":"u","ent_id":"edit"}`:   {code: query.ConflictingFields, field: "grp_id"},
		`{"usr_id":"u","ent_id":"edit","app_id":"web"}`: {code: query.UnknownField, field: "app_id", illegal: true},
		`{"usr_id":"u","ent_id":"edit","level":"high"}`: {code: query.UnknownField, field: "level", illegal: true},
		`{"usr_id":"u","ent_id":"edit","as_of":"x"}`:    {code: query.InvalidField, field: "as_of", illegal: true},
	} {
		if q.name, q.path, q.body = body, historyPath, body; q.status == 0 {
			if q.status = 200; q.code != "" {
				q.status = 400
			}
		}
		e.ask(t, f.reader, q)
	}
	examineBodies(t, e, f, historyPath, `{"ent_id":"twice","usr_id":"u"}`)
	examineCursors(t, e, f, historyPath, `{"usr_id":"u","ent_id":"twice","pageSize":1`, `{"usr_id":"u","ent_id":"edit"`)
}
