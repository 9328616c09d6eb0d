package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query"
)

// fixture is a server on a real store, with a client for tenant acme.
type fixture struct {
	*client
	index  *testIndex
	server *Server
	tokens map[string]string // by tenant
}

func newFixture(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	x := newIndex(t).bind()
	set, tokens := keySet(t, "acme", "other", "*")
	o := x.options(set)
	if change != nil {
		change(&o)
	}
	s := newServer(t, o)
	return &fixture{client: newClient(t, serve(t, s), tokens["acme"]), index: x, server: s, tokens: tokens}
}

func (f *fixture) as(tenant string) *client {
	c := *f.client
	c.token = f.tokens[tenant]
	return &c
}

// The seed page's example, byte for byte without its white space.
func TestAnswerIsTheSeeds(t *testing.T) {
	f := newFixture(t, nil)
	const first, second = `{"ent_id":"WEB_user_Web_Local Access 32 All_II_Europe","usr_id":"aaron.fischer","score":null,"justification":[]}`,
		`{"ent_id":"WEB_user_Web_WEB RCQ Flare NonIT Distribution_Europe","usr_id":"aaron.fischer","score":0.98,"justification":[` +
			`{"id":"CHIEF_YES_NO","title":"chief_yes_no","value":"Yes"},` +
			`{"id":"USR_DEPARTMENT_NAME","title":"USR_DEPARTMENT_NAME","value":"Information Systems 1"}]}`
	f.index.apply("acme",
		event{"assignment.upserted", second},
		event{"assignment.upserted", `{"usr_id":"aaron.fischer","ent_id":"WEB_user_Web_Local Access 32 All_II_Europe","app_id":"a","rights":[{"name":"r","values":["v"]}]}`},
	)
	_, a := f.list(`{}`)
	if want := `{"cursor":null,"assignments":[` + first + `,` + second + `]}`; string(a.body) != want {
		t.Fatalf("\n got %s\nwant %s", a.body, want)
	}
	if got := a.header.Get("Assigndex-Seq"); got != "2" {
		t.Fatalf("Assigndex-Seq %q", got)
	}
	p, a := f.list(`{"pageSize":1}`)
	if want := `{"cursor":"` + *p.Cursor + `","assignments":[` + first + `]}`; string(a.body) != want {
		t.Fatalf("\n got %s\nwant %s", a.body, want)
	}
	if _, a = f.list(`{"usr_id":"nobody"}`); string(a.body) != `{"cursor":null,"assignments":[]}` {
		t.Fatalf("%s", a.body)
	}
	// The curl line of the page, but for its host.
	p, _ = f.list(`{
    "pageSize": 20,
    "cursor": "WyJhYXJvbi5maXNjaGVyIiwiV0VCX3VzZXJfU2hhcmVkX0VkaXRfQURNSU5fSUkiXQ=="
  }`)
	if len(p.Assignments) != 2 { // both are behind WEB_user_Shared…
		t.Fatalf("%d rows behind the seed's cursor", len(p.Assignments))
	}
	p, _ = f.list(`{"cursor":"WyJhYXJvbi5mb2x0eiIsIldlYl9TZXJ2aWNlQW5hbHl0aWNzIDogS1BJIEFnZW50IGFuZCBQb3dlciBBY2Nlc3NfSUkiXQ=="}`)
	if len(p.Assignments) != 0 || p.Cursor != nil {
		t.Fatalf("%d rows behind the seed's other cursor", len(p.Assignments))
	}
}

func TestEmptyBodyListsUsers(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"), event{"assignment.upserted", `{"grp_id":"g","type":"GROUP","ent_id":"e"}`},
		event{"assignment.upserted", `{"grp_id":"d","type":"DYNAMIC_GROUP","ent_id":"e"}`}, event{"assignment.upserted", `{"type":"ALL","ent_id":"e"}`})
	for _, headers := range [][]string{nil, {"Content-Type", ""}} {
		if p, _ := f.list("", headers...); len(p.Assignments) != 1 || !bytes.Contains(p.Assignments[0], []byte(`"usr_id":"u"`)) {
			t.Fatalf("%v", p)
		}
	}
	for body, want := range map[string]string{
		`{"type":"GROUP"}`:         `{"ent_id":"e","grp_id":"g","type":"GROUP","score":null,"justification":[]}`,
		`{"type":"DYNAMIC_GROUP"}`: `{"ent_id":"e","grp_id":"d","type":"DYNAMIC_GROUP","score":null,"justification":[]}`,
		`{"grp_id":"d"}`:           `{"ent_id":"e","grp_id":"d","type":"DYNAMIC_GROUP","score":null,"justification":[]}`,
		`{"type":"ALL"}`:           `{"ent_id":"e","type":"ALL","score":null,"justification":[]}`,
	} {
		if p, _ := f.list(body); len(p.Assignments) != 1 || string(p.Assignments[0]) != want {
			t.Errorf("%s: %s", body, p.Assignments)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxPageSize = 50; o.MaxWait = time.Millisecond })
	for range 3 {
		f.index.apply("acme", give("u", "e", "a"), give("u", "f", "a"))
	}
	mine, _ := f.list(`{"pageSize":1}`)
	foreign, _ := f.as("*").list(`{"pageSize":1}`, "Assigndex-Tenant", "acme")
	cursor := *mine.Cursor
	for name, c := range map[string]struct {
		body    string
		headers []string
		status  int
		code    query.Code
		field   string
	}{
		"no JSON":                {`{`, nil, 400, query.InvalidJSON, ""},
		"a list":                 {`[]`, nil, 400, query.InvalidJSON, ""},
		"a name twice":           {`{"usr_id":"u","usr_id":"u"}`, nil, 400, query.InvalidJSON, "usr_id"},
		"trailing data":          {`{} {}`, nil, 400, query.InvalidJSON, ""},
		"unknown field":          {`{"user_id":"u"}`, nil, 400, query.UnknownField, "user_id"},
		"include of no list":     {`{"include":"app_id"}`, nil, 400, query.InvalidField, "include"},
		"include of nothing":     {`{"include":["app"]}`, nil, 400, query.InvalidField, "include"},
		"score out of range":     {`{"min_score":1.5}`, nil, 400, query.InvalidField, "min_score"},
		"score as text":          {`{"max_score":"1"}`, nil, 400, query.InvalidField, "max_score"},
		"empty range of scores":  {`{"min_score":0.6,"max_score":0.5}`, nil, 400, query.ConflictingFields, "min_score"},
		"scored as text":         {`{"scored":"true"}`, nil, 400, query.InvalidField, "scored"},
		"range of the unscored":  {`{"scored":false,"min_score":0}`, nil, 400, query.ConflictingFields, "scored"},
		"unknown level":          {`{"level":"HIGH"}`, nil, 400, query.InvalidField, "level"},
		"level and range":        {`{"level":"low","max_score":0.1}`, nil, 400, query.ConflictingFields, "level"},
		"empty id":               {`{"usr_id":""}`, nil, 400, query.InvalidField, "usr_id"},
		"wrong type":             {`{"ent_id":7}`, nil, 400, query.InvalidField, "ent_id"},
		"long id":                {`{"app_id":"` + strings.Repeat("x", 1025) + `"}`, nil, 400, query.InvalidField, "app_id"},
		"page of none":           {`{"pageSize":0}`, nil, 400, query.InvalidField, "pageSize"},
		"page too large":         {`{"pageSize":51}`, nil, 400, query.InvalidField, "pageSize"},
		"unknown type":           {`{"type":"USERS"}`, nil, 400, query.InvalidField, "type"},
		"user and group":         {`{"usr_id":"u","grp_id":"g"}`, nil, 400, query.ConflictingFields, "grp_id"},
		"user of type GROUP":     {`{"usr_id":"u","type":"GROUP"}`, nil, 400, query.ConflictingFields, "type"},
		"as_of no day":           {`{"as_of":"2026-02-30"}`, nil, 400, query.InvalidField, "as_of"},
		"at_least above instant": {`{"as_of":"1970-01-01T00:00:03.5Z","at_least":4}`, nil, 400, query.ConflictingFields, "at_least"},
		"empty cursor":           {`{"cursor":""}`, nil, 400, query.InvalidCursor, "cursor"},
		"damaged cursor":         {`{"cursor":"` + cursor[:len(cursor)-4] + `AAAA"}`, nil, 400, query.InvalidCursor, "cursor"},
		"cut cursor":             {`{"cursor":"` + cursor[:20] + `"}`, nil, 400, query.InvalidCursor, "cursor"},
		"another query's cursor": {`{"cursor":"` + cursor + `","usr_id":"u"}`, nil, 400, query.CursorMismatch, "cursor"},
		"seed cursor of a group": {`{"cursor":"WyJhIiwiYiJd","type":"GROUP"}`, nil, 400, query.CursorMismatch, "cursor"},
		"at_least above cursor":  {`{"cursor":"` + cursor + `","at_least":7}`, nil, 400, query.ConflictingFields, "at_least"},
		"never reached":          {`{"at_least":7}`, nil, 503, query.NotReached, ""},
		"as_of in the future":    {`{"as_of":"7"}`, nil, 503, query.NotReached, ""},
		"another stream":         {`{}`, []string{"Assigndex-Stream", "fedcba9876543210"}, 410, query.StreamChanged, ""},
		"not JSON":               {`{}`, []string{"Content-Type", "text/plain"}, 415, UnsupportedMedia, "Content-Type"},
		"a form":                 {``, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, UnsupportedMedia, "Content-Type"},
		"no type":                {`{}`, []string{"Content-Type", ""}, 415, UnsupportedMedia, "Content-Type"},
		"broken type":            {`{}`, []string{"Content-Type", "application/json; charset"}, 415, UnsupportedMedia, "Content-Type"},
		"compressed":             {`{}`, []string{"Content-Encoding", "gzip"}, 415, UnsupportedMedia, "Content-Encoding"},
		"too large":              {strings.Repeat(" ", 64<<10) + `{}`, nil, 413, BodyTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.post(c.body, c.headers...)
			p := wantProblem(t, a, c.status, c.code, c.field)
			if a.header.Get("Assigndex-Seq") != "6" || a.header.Get("Assigndex-Stream") != incarnation {
				t.Errorf("headers %v", a.header)
			}
			if got := a.header.Get("Retry-After"); (got == "1") != (c.status == 503) {
				t.Errorf("Retry-After %q", got)
			}
			if c.field == "pageSize" && !strings.Contains(p.Detail, "50") {
				t.Errorf("%q does not name the maximum", p.Detail)
			}
		})
	}
	// What belongs together is accepted.
	f.list(`{"cursor":"`+cursor+`","pageSize":3}`, "Content-Type", "application/json; charset=utf-8", "Assigndex-Stream", incarnation)
	f.list(`{"cursor":"` + *foreign.Cursor + `"}`) // the same tenant and query by another key
	f.list(strings.Repeat(" ", 64<<10-2)+`{}`, "Content-Encoding", "identity")
	wantProblem(t, f.as("other").post(`{"cursor":"`+cursor+`"}`), 400, query.CursorMismatch, "cursor")
	wantProblem(t, f.do(http.MethodPost, "/api/assignments?usr_id=u", ""), 400, query.UnknownField, "")
}

// Bodies without a length in front of them.
func TestChunkedBody(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"))
	for _, c := range []struct{ size, status int }{{2, 200}, {64 << 10, 200}, {64<<10 + 1, 413}, {200 << 10, 413}} {
		body := `{}` + strings.Repeat(" ", c.size-2)
		a, err := f.send(t.Context(), http.MethodPost, "/api/assignments", io.MultiReader(strings.NewReader(body)))
		if err != nil || a.status != c.status {
			t.Errorf("%d bytes: %v, %d %s; want %d", c.size, err, a.status, a.body, c.status)
		}
	}
	a, err := f.send(t.Context(), http.MethodPost, "/api/assignments", io.MultiReader(strings.NewReader("{}")), "Content-Type", "")
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, a, 415, UnsupportedMedia, "Content-Type")
}

func TestPrunedSnapshot(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"), give("u", "f", "a"))
	p, _ := f.list(`{"pageSize":1}`)
	f.index.apply("acme", give("u", "g", "a"))
	if _, a := f.list(`{"as_of":1}`); a.header.Get("Assigndex-Seq") != "1" || bytes.Count(a.body, []byte("ent_id")) != 1 {
		t.Fatalf("as of 1: %v %s", a.header, a.body)
	}
	if err := f.index.st.AdvanceFloor(3); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"as_of":2}`, `{"pageSize":1,"cursor":"` + *p.Cursor + `"}`} {
		a := f.post(body)
		wantProblem(t, a, 410, query.HistoryPruned, "")
		if a.header.Get("Assigndex-Seq") != "3" {
			t.Fatalf("headers %v", a.header)
		}
	}
}

// An instant reads exactly what the sequence reads that it comes to, which the
// answer names. (In this index the message at a sequence is stamped as many seconds
// after the beginning of Unix time.)
func TestAsOfByInstant(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxWait = time.Millisecond })
	for i := range 4 {
		f.index.apply("acme", give("u", fmt.Sprint("e", i), "a"), give("v", fmt.Sprint("e", i), "a"), give("u", fmt.Sprint("e", i), "b"))
	}
	instant := func(seq int, add time.Duration, zone *time.Location) string {
		return time.Unix(int64(seq), int64(add)).In(zone).Format(time.RFC3339Nano)
	}
	for seq := range 13 {
		for _, at := range []string{
			instant(seq, 0, time.UTC), instant(seq, 5e8, time.FixedZone("", -9000)), instant(seq, time.Second-1, time.FixedZone("", 7200)),
		} {
			for _, filter := range []string{"", `,"usr_id":"u"`, `,"app_id":"b"`, `,"ent_id":"e1"`} {
				_, want := f.list(fmt.Sprintf(`{"as_of":%d%s}`, seq, filter))
				var got []string
				cursor := ""
				for {
					p, a := f.list(fmt.Sprintf(`{"as_of":%q,"pageSize":2%s%s}`, at, filter, cursor))
					if s := a.header.Get("Assigndex-Seq"); s != strconv.Itoa(seq) {
						t.Fatalf("%s is read at %s, want %d", at, s, seq)
					}
					for _, row := range p.Assignments {
						got = append(got, string(row))
					}
					if p.Cursor == nil {
						break
					}
					cursor = `,"cursor":"` + *p.Cursor + `"`
				}
				if rows := `{"cursor":null,"assignments":[` + strings.Join(got, ",") + `]}`; rows != string(want.body) {
					t.Errorf("%s%s: %s; as of %d it is %s", at, filter, rows, seq, want.body)
				}
			}
			counted, a := f.count("usr_id=u&as_of=" + url.QueryEscape(at))
			if want, _ := f.count(fmt.Sprint("usr_id=u&as_of=", seq)); counted != want || a.header.Get("Assigndex-Seq") != strconv.Itoa(seq) {
				t.Errorf("%s: %+v %v, want %+v", at, counted, a.header, want)
			}
		}
	}
	const future = `{"as_of":"9999-12-31T23:59:59Z"}`
	if _, a := f.list(future); a.header.Get("Assigndex-Seq") != "12" {
		t.Errorf("in the future: %v", a.header)
	}
	f.index.head.Store(13) // there is a message that was not applied yet
	wantProblem(t, f.post(future), 503, query.NotReached, "")
	wantProblem(t, f.post(`{"as_of":"1970-01-01T00:00:12Z"}`), 503, query.NotReached, "")
	f.list(`{"as_of":"1970-01-01T00:00:11.999Z"}`)
	if err := f.index.st.AdvanceFloor(5); err != nil { // within a batch
		t.Fatal(err)
	}
	wantProblem(t, f.post(`{"as_of":"1970-01-01T00:00:04.999Z"}`), 410, query.HistoryPruned, "")
	wantProblem(t, f.post(`{"as_of":"0000-01-01T00:00:00Z"}`), 410, query.HistoryPruned, "")
	if _, a := f.list(`{"as_of":"1970-01-01T00:00:05Z"}`); a.header.Get("Assigndex-Seq") != "5" {
		t.Errorf("at the floor: %v", a.header)
	}
}

// While rows come, change and go, a listing in small pages gives exactly the
// rows of its first page's snapshot, whichever replica answers a page.
func TestStableListingUnderChurn(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("ASSIGNDEX_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ASSIGNDEX_TEST_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	f, replica := newFixture(t, nil), newFixture(t, nil)
	held := map[[2]string]string{} // application by user and entitlement
	users := []string{"a", "a\x00", "a/b", "ab", "日本", "z"}
	churn := func(n int) {
		var batch []event
		for range n {
			usr, ent := users[r.IntN(len(users))], "e"+strconv.Itoa(r.IntN(12))
			if app := "p" + strconv.Itoa(r.IntN(3)); r.IntN(3) > 0 {
				held[[2]string{usr, ent}] = app
				batch = append(batch, event{"assignment.upserted", fmt.Sprintf(`{"usr_id":%s,"ent_id":%q,"app_id":%q,"score":0.%d}`, quoted(usr), ent, app, r.IntN(9))})
			} else {
				delete(held, [2]string{usr, ent})
				batch = append(batch, event{"assignment.revoked", fmt.Sprintf(`{"usr_id":%s,"ent_id":%q}`, quoted(usr), ent)})
			}
		}
		f.index.apply("acme", batch...)
		replica.index.apply("acme", batch...)
	}
	churn(100)
	for round := range 40 {
		filter, match := "", func(_, _, _ string) bool { return true }
		switch usr, ent, app := users[r.IntN(len(users))], "e"+strconv.Itoa(r.IntN(12)), "p"+strconv.Itoa(r.IntN(3)); round % 5 {
		case 1:
			filter, match = `,"usr_id":`+quoted(usr), func(u, _, _ string) bool { return u == usr }
		case 2:
			filter, match = `,"ent_id":"`+ent+`"`, func(_, e, _ string) bool { return e == ent }
		case 3:
			filter, match = `,"app_id":"`+app+`"`, func(_, _, a string) bool { return a == app }
		case 4:
			filter, match = `,"ent_id":"`+ent+`","app_id":"`+app+`"`, func(_, e, a string) bool { return e == ent && a == app }
		}
		var want []string
		for id, app := range held {
			if match(id[0], id[1], app) {
				want = append(want, id[0]+"\xff"+id[1])
			}
		}
		slices.SortFunc(want, func(a, b string) int {
			ua, ea, _ := strings.Cut(a, "\xff")
			ub, eb, _ := strings.Cut(b, "\xff")
			if ua != ub {
				return strings.Compare(ua, ub)
			}
			return strings.Compare(ea, eb)
		})
		var got []string
		cursor, seq := "", ""
		for servers := 0; ; servers++ {
			c := []*client{f.client, replica.client}[servers%2]
			p, a := c.list(fmt.Sprintf(`{"pageSize":%d%s%s}`, 1+r.IntN(4), filter, cursor))
			if seq != "" && seq != a.header.Get("Assigndex-Seq") {
				t.Fatalf("pages of sequences %s and %s", seq, a.header.Get("Assigndex-Seq"))
			}
			seq = a.header.Get("Assigndex-Seq")
			for _, row := range p.Assignments {
				got = append(got, idsOf(t, row))
			}
			if p.Cursor == nil {
				break
			}
			cursor = `,"cursor":"` + *p.Cursor + `"`
			churn(5)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d, filter %s, sequence %s:\n got %q\nwant %q", round, filter, seq, got, want)
		}
	}
}

func TestAtLeastAnswersWhenItIsApplied(t *testing.T) {
	waiting := make(chan uint64)
	f := newFixture(t, func(o *Options) {
		index := o.Index
		o.Index = &hooked{Index: index, wait: func(ctx context.Context, seq uint64) error {
			waiting <- seq
			return index.Wait(ctx, seq)
		}}
		o.MaxWait = time.Hour
	})
	f.index.apply("acme", give("u", "e", "a"))
	answers := make(chan answer)
	go func() {
		a, err := f.send(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader(`{"at_least":3}`))
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	if seq := <-waiting; seq != 3 {
		t.Fatalf("waits for %d", seq)
	}
	f.index.apply("acme", give("u", "f", "a"))
	select {
	case a := <-answers:
		t.Fatalf("answered early: %d %s", a.status, a.body)
	default:
	}
	f.index.apply("acme", give("u", "g", "a"))
	if a := <-answers; a.status != 200 || a.header.Get("Assigndex-Seq") != "3" || bytes.Count(a.body, []byte(`"ent_id"`)) != 3 {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
}

// A client that leaves ends its wait, and is no fault of the server's.
func TestClientLeavesWhileItWaits(t *testing.T) {
	waiting := make(chan struct{})
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", "a"))
	set, tokens := keySet(t, "acme")
	log := &lockedBuffer{}
	o := x.options(set)
	o.Logger, o.MaxWait = zerolog.New(log), time.Hour
	o.Index = &hooked{Index: x, wait: func(ctx context.Context, seq uint64) error {
		close(waiting)
		return x.Wait(ctx, seq)
	}}
	addr, stop := start(t, newServer(t, o))
	c := newClient(t, addr, tokens["acme"])
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-waiting
		leave()
	}()
	if a, err := c.send(ctx, http.MethodPost, "/api/assignments", strings.NewReader(`{"at_least":9}`)); err == nil {
		t.Fatalf("answered: %d %s", a.status, a.body)
	}
	if err := stop(); err != nil { // after every request has ended
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `"status":499`) || strings.Contains(log.String(), `"level":"error"`) {
		t.Fatalf("%s", log)
	}
}
