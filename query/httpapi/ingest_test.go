package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ingest"
)

// fakeStream is a Publisher that numbers records after what the index has applied.
type fakeStream struct {
	index *testIndex
	fail  func(ctx context.Context, records []ingest.Record) (acknowledged int, err error) // nil: all are acknowledged

	mu        sync.Mutex
	published []string // tenant, type and data
	held      []event  // not applied yet
	hold      bool     // events stay in held
}

func (s *fakeStream) Publish(ctx context.Context, tenant string, records []ingest.Record) (last uint64, acknowledged int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acknowledged = len(records)
	if s.fail != nil {
		acknowledged, err = s.fail(ctx, records)
	}
	var batch []event
	for _, r := range records[:acknowledged] {
		s.published = append(s.published, tenant+" "+string(r.Type)+" "+string(r.Data))
		batch = append(batch, event{string(r.Type), string(r.Data)})
	}
	if s.hold {
		seq, _ := s.index.Applied()
		s.held = append(s.held, batch...)
		return seq + uint64(len(s.held)), acknowledged, err
	}
	if len(batch) > 0 {
		last = s.index.apply(tenant, batch...)
	}
	return last, acknowledged, err
}

// ingesting is a server whose ingest routes write into its index.
type ingesting struct {
	*client
	index  *testIndex
	stream *fakeStream
	server *Server
	tokens map[string]string // by role and tenant, such as "writer acme"
}

func newIngesting(t *testing.T, change func(*Options)) *ingesting {
	t.Helper()
	x := newIndex(t).bind()
	s := &fakeStream{index: x}
	set, tokens := &apikey.Set{}, map[string]string{}
	var keys []apikey.Key
	for _, role := range []apikey.Role{apikey.Reader, apikey.Writer, apikey.Admin} {
		for _, tenant := range []string{"acme", "other", "*"} {
			k, token, err := apikey.New("test", role, tenant, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			keys, tokens[role.String()+" "+tenant] = append(keys, k), token
		}
	}
	set.Replace(keys, time.Now())
	o := x.options(set)
	o.Publisher, o.Presence = s, x.Index
	if change != nil {
		change(&o)
	}
	server := newServer(t, o)
	return &ingesting{client: newClient(t, serve(t, server), tokens["writer acme"]), index: x, stream: s, server: server, tokens: tokens}
}

func (f *ingesting) as(who string) *ingesting {
	c := *f.client
	c.token = f.tokens[who]
	g := *f
	g.client = &c
	return &g
}

func (f *ingesting) ingest(resource, body string, headers ...string) answer {
	f.tb.Helper()
	return f.do(http.MethodPost, "/api/ingest/"+resource, body, headers...)
}

// note is in every answer about items.
const note = `"note":"` + ingestNote + `"`

// wantAnswer checks an answer that is no problem, to the byte.
func wantAnswer(t *testing.T, a answer, status int, seq, body string) {
	t.Helper()
	if a.status != status || string(a.body) != body || a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) ||
		a.header.Get("Assigndex-Seq") != seq || a.header.Get("Assigndex-Stream") != incarnation || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d at %q, %v\n got %s\nwant %s", a.status, a.header.Get("Assigndex-Seq"), a.header, a.body, body)
	}
}

func (s *fakeStream) wantPublished(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.published, "\n"); got != strings.Join(want, "\n") {
		t.Fatalf("published\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	s.published = nil
}

// Every action on every resource is published as its event, and the answer says
// what was there.
func TestIngest(t *testing.T) {
	for _, c := range []struct{ resource, array, item, id, upserted, removed string }{
		{"applications", "apps", `{"app_id":"a","app_name":"A"}`, `{"app_id":"a"}`, "application.upserted", "application.deleted"},
		{"entitlements", "entitlements", `{"ent_id":"e","app_id":"a"}`, `{"ent_id":"e"}`, "entitlement.upserted", "entitlement.deleted"},
		{"identities", "identities", `{"usr_id":"u","usr_name":"U"}`, `{"usr_id":"u"}`, "user.upserted", "user.deleted"},
		{"assignments", "assignments", `{"usr_id":"u","ent_id":"e","score":0.5}`, `{"usr_id":"u","ent_id":"e"}`, "assignment.upserted", "assignment.revoked"},
		{"assignments", "assignments", `{"grp_id":"g","type":"GROUP","ent_id":"e"}`, `{"grp_id":"g","type":"GROUP","ent_id":"e"}`, "assignment.upserted", "assignment.revoked"},
	} {
		t.Run(c.resource, func(t *testing.T) {
			f := newIngesting(t, nil)
			conditional := func(condition string) string {
				return "acme " + c.upserted + " " + strings.TrimSuffix(c.item, "}") + `,"if":"` + condition + `"}`
			}
			for i, step := range []struct{ action, item, published, said string }{
				{"update", c.item, conditional("present"), `"seen":"absent","detail":"there is no such record; if there is none when the event is applied, the event does nothing"`},
				{"delete", c.id, "acme " + c.removed + " " + c.id, `"seen":"absent"`},
				{"create", c.item, conditional("absent"), `"seen":"absent"`},
				{"create", c.item, conditional("absent"), `"seen":"present","detail":"the record exists; if it does when the event is applied, the event does nothing"`},
				{"update", c.item, conditional("present"), `"seen":"present"`},
				{"upsert", c.item, "acme " + c.upserted + " " + c.item, `"seen":"present"`},
				{"delete", c.id, "acme " + c.removed + " " + c.id, `"seen":"present"`},
				{"upsert", c.item, "acme " + c.upserted + " " + c.item, `"seen":"absent"`},
			} {
				a := f.ingest(c.resource, `{"action":"`+step.action+`","`+c.array+`":[`+step.item+`]}`)
				wantAnswer(t, a, 200, strconv.Itoa(i+1), fmt.Sprintf(`{"message":"ok","sequence":%d,"seen_at":%d,%s,"items":[{"accepted":true,%s}]}`, i+1, i, note, step.said))
				f.stream.wantPublished(t, step.published)
			}
		})
	}
}

// The fold decides: a create of what exists and an update of what does not change
// nothing, and two items of one batch see each other there.
func TestConditionsAreDecidedByTheFold(t *testing.T) {
	f := newIngesting(t, nil)
	score := func() string {
		p, _ := f.list(`{"usr_id":"u"}`)
		if len(p.Assignments) == 0 {
			return ""
		}
		_, rest, _ := strings.Cut(string(p.Assignments[0]), `"score":`)
		got, _, _ := strings.Cut(rest, ",")
		return got
	}
	send := func(action string, scores ...string) {
		t.Helper()
		var items []string
		for _, s := range scores {
			items = append(items, `{"usr_id":"u","ent_id":"e","score":`+s+`}`)
		}
		if a := f.ingest("assignments", `{"action":"`+action+`","assignments":[`+strings.Join(items, ",")+`]}`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	f.index.apply("acme", event{"user.upserted", `{"usr_id":"u"}`})
	for _, step := range []struct {
		action string
		scores []string
		want   string
	}{
		{"update", []string{"0.1"}, ""}, {"create", []string{"0.2", "0.3"}, "0.2"}, {"create", []string{"0.4"}, "0.2"}, {"update", []string{"0.5", "0.6"}, "0.6"},
		{"upsert", []string{"0.7", "0.8"}, "0.8"}, {"delete", []string{"0.9"}, ""}, {"update", []string{"1"}, ""},
	} {
		send(step.action, step.scores...)
		if got := score(); got != step.want {
			t.Fatalf("after %s of %v the score is %q, want %q", step.action, step.scores, got, step.want)
		}
	}
}

// What is valid is published although other items are not; where none is, nothing.
func TestIngestOfBadItems(t *testing.T) {
	f := newIngesting(t, nil)
	f.index.apply("acme", give("u1", "e", ""))
	const missing = `{"accepted":false,"code":"bad_field","field":"ent_id","detail":"missing or empty; send 1 to 1024 bytes of UTF-8"}`
	const ownIf = `{"accepted":false,"code":"bad_field","field":"if","detail":"given beside the action create, which has a condition of its own; leave it out, or use upsert"}`
	a := f.ingest("assignments", `{"action":"create","assignments":[{"usr_id":"u1"},{"usr_id":"u1","ent_id":"e"},{"usr_id":"u2","ent_id":"e","if":"absent"},{"usr_id":"u3","ent_id":"e"}]}`)
	wantAnswer(t, a, 207, "3", `{"message":"2 of 4 items were published, the others are not valid","sequence":3,"seen_at":1,`+note+`,"items":[`+missing+
		`,{"accepted":true,"seen":"present","detail":"the record exists; if it does when the event is applied, the event does nothing"},`+ownIf+`,{"accepted":true,"seen":"absent"}]}`)
	f.stream.wantPublished(t, `acme assignment.upserted {"usr_id":"u1","ent_id":"e","if":"absent"}`, `acme assignment.upserted {"usr_id":"u3","ent_id":"e","if":"absent"}`)

	a = f.ingest("assignments", `{"action":"create","assignments":[{"usr_id":"u"},{"usr_id":"u2","ent_id":"e","if":"absent"}]}`)
	p := wantProblem(t, a, 422, InvalidItems, "")
	if want := `{"seen_at":3,` + note + `,"items":[` + missing + `,` + ownIf + `]}`; string(p.Rest) != want || a.header.Get("Assigndex-Seq") != "3" || a.header.Get("Retry-After") != "" {
		t.Errorf("%v\n got %s\nwant %s", a.header, p.Rest, want)
	}
	f.stream.wantPublished(t)
	// Nothing that was sent is repeated: it may be a secret.
	a = f.ingest("assignments", `{"action":"upsert","assignments":[{"usr_id":"u","ent_id":"e","params":"hunter2"},{"usr_id":"u","ent_id":"e","params":{"pw":"hunter2","pw":"hunter2"}}]}`)
	if a.status != 422 || strings.Contains(string(a.body), "hunter2") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestRefusedIngest(t *testing.T) {
	f := newIngesting(t, nil)
	f.index.apply("acme", give("u", "e", "a"))
	const good = `{"action":"upsert","assignments":[{"usr_id":"u","ent_id":"e"}]}`
	for name, c := range map[string]struct {
		who     string
		body    string
		headers []string
		status  int
		code    query.Code
		field   string
	}{
		"nobody":               {"", good, nil, 401, Unauthenticated, ""},
		"a reader":             {"reader acme", good, nil, 403, RoleForbidden, ""},
		"a reader of all":      {"reader *", good, []string{"Assigndex-Tenant", "acme"}, 403, RoleForbidden, ""},
		"for another tenant":   {"writer acme", good, []string{"Assigndex-Tenant", "other"}, 403, TenantForbidden, ""},
		"of all, names none":   {"writer *", good, nil, 400, TenantRequired, "Assigndex-Tenant"},
		"of all, nonsense":     {"writer *", good, []string{"Assigndex-Tenant", "a.b"}, 400, InvalidHeader, "Assigndex-Tenant"},
		"nothing":              {"writer acme", "", nil, 400, query.InvalidJSON, ""},
		"nothing of no type":   {"writer acme", "", []string{"Content-Type", ""}, 400, query.InvalidJSON, ""},
		"no JSON":              {"writer acme", "{", nil, 400, query.InvalidJSON, ""},
		"two objects":          {"writer acme", good + good, nil, 400, query.InvalidJSON, ""},
		"no action":            {"writer acme", `{"assignments":[{}]}`, nil, 400, query.InvalidField, "action"},
		"unknown action":       {"writer acme", `{"action":"replace","assignments":[{}]}`, nil, 400, query.InvalidField, "action"},
		"no items":             {"writer acme", `{"action":"create"}`, nil, 400, query.InvalidField, "assignments"},
		"empty items":          {"writer acme", `{"action":"create","assignments":[]}`, nil, 400, query.InvalidField, "assignments"},
		"another array":        {"writer acme", `{"action":"create","identities":[{"usr_id":"u"}]}`, nil, 400, query.UnknownField, "identities"},
		"unknown member":       {"writer acme", `{"action":"create","assignments":[{}],"dryRun":true}`, nil, 400, query.UnknownField, "dryRun"},
		"another stream":       {"writer acme", good, []string{"Assigndex-Stream", "fedcba9876543210"}, 410, query.StreamChanged, ""},
		"not JSON":             {"writer acme", good, []string{"Content-Type", "text/csv"}, 415, UnsupportedMedia, "Content-Type"},
		"no type":              {"writer acme", good, []string{"Content-Type", ""}, 415, UnsupportedMedia, "Content-Type"},
		"compressed":           {"writer acme", good, []string{"Content-Encoding", "gzip"}, 415, UnsupportedMedia, "Content-Encoding"},
		"too large":            {"writer acme", strings.Repeat(" ", maxIngestBody-len(good)+1) + good, nil, 413, BodyTooLarge, ""},
		"too large for anyone": {"reader acme", strings.Repeat(" ", maxIngestBody), nil, 403, RoleForbidden, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.as(c.who).ingest("assignments", c.body, c.headers...)
			wantProblem(t, a, c.status, c.code, c.field)
			admitted := c.status != 401 && c.status != 403 && c.field != "Assigndex-Tenant"
			if got := a.header.Get("Assigndex-Seq"); (got == "1") != admitted {
				t.Errorf("Assigndex-Seq %q", got)
			}
			if c.status == 413 && !strings.Contains(string(a.body), "8388608") {
				t.Errorf("%s does not name the limit", a.body)
			}
		})
	}
	wantProblem(t, f.do(http.MethodPost, "/api/ingest/assignments?tenant=other", good), 400, query.UnknownField, "")
	wantProblem(t, f.do(http.MethodGet, "/api/ingest/assignments", ""), 405, MethodNotAllowed, "")
	wantProblem(t, f.do(http.MethodPost, "/api/ingest/groups", good), 404, NotFound, "")
	wantProblem(t, f.do(http.MethodPost, "/api/ingest/", good), 404, NotFound, "")
	f.stream.wantPublished(t)
	// The largest body, and what belongs together.
	for _, a := range []answer{
		f.ingest("assignments", strings.Repeat(" ", maxIngestBody-len(good))+good, "Assigndex-Stream", incarnation, "Content-Type", "application/json; charset=utf-8"),
		f.as("admin acme").ingest("assignments", good),
	} {
		if a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	// And the same without a length in front of it.
	a, err := f.send(t.Context(), http.MethodPost, "/api/ingest/assignments", io.MultiReader(strings.NewReader(strings.Repeat(" ", maxIngestBody)+good)))
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, a, 413, BodyTooLarge, "")
}

// The tenant is the key's, or the one that a key for all tenants names; what the
// body says is an attribute like any other.
func TestIngestTenant(t *testing.T) {
	f := newIngesting(t, nil)
	const body = `{"action":"upsert","assignments":[{"usr_id":"u","ent_id":"e","tenant":"other"}]}`
	f.ingest("assignments", body)
	f.as("writer other").ingest("assignments", body, "Assigndex-Tenant", "other")
	f.as("admin *").ingest("assignments", body, "Assigndex-Tenant", "third")
	const event = ` assignment.upserted {"usr_id":"u","ent_id":"e","tenant":"other"}`
	f.stream.wantPublished(t, "acme"+event, "other"+event, "third"+event)
	for who, tenant := range map[string]string{"reader acme": "acme", "reader other": "other", "reader *": "third"} {
		if p, _ := f.as(who).list(`{}`, "Assigndex-Tenant", tenant); len(p.Assignments) != 1 {
			t.Errorf("%s has %d rows", tenant, len(p.Assignments))
		}
	}
	// What is seen is of the tenant, too.
	if a := f.as("writer *").ingest("assignments", body, "Assigndex-Tenant", "fourth"); !strings.Contains(string(a.body), `"seen":"absent"`) {
		t.Errorf("%s", a.body)
	}
}

// The sequence of an answer, sent as at_least, reads what was written.
func TestIngestThenReadAtLeast(t *testing.T) {
	waiting := make(chan uint64, 1)
	f := newIngesting(t, func(o *Options) {
		index := o.Index
		o.Index = &hooked{Index: index, wait: func(ctx context.Context, seq uint64) error {
			waiting <- seq
			return index.Wait(ctx, seq)
		}}
		o.MaxWait = time.Hour
	})
	f.index.apply("acme", give("u", "e", "a"))
	f.stream.hold = true
	a := f.ingest("assignments", `{"action":"create","assignments":[{"usr_id":"u","ent_id":"f"},{"usr_id":"u","ent_id":"g"}]}`)
	seq := a.header.Get("Assigndex-Seq")
	if a.status != 200 || seq != "3" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	answers := make(chan answer)
	go func() {
		a, err := f.send(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader(`{"usr_id":"u","at_least":`+seq+`}`))
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	if got := <-waiting; got != 3 {
		t.Fatalf("waits for %d", got)
	}
	f.index.apply("acme", f.stream.held...) // nobody publishes any more
	if a = <-answers; a.header.Get("Assigndex-Seq") != "3" || strings.Count(string(a.body), `"ent_id"`) != 3 {
		t.Errorf("%v %s", a.header, a.body)
	}
}

// How far a publication came is said of each item.
func TestIngestThatTheStreamBreaksOff(t *testing.T) {
	log := &lockedBuffer{}
	f := newIngesting(t, func(o *Options) { o.Logger = zerolog.New(log) })
	f.index.apply("acme", give("b", "e", ""))
	const body = `{"action":"create","assignments":[{"usr_id":"a","ent_id":"e"},{},{"usr_id":"b","ent_id":"e"},{"usr_id":"c","ent_id":"e"}]}`
	const bad = `{"accepted":false,"code":"bad_field","field":"usr_id","detail":"missing or empty; send 1 to 1024 bytes of UTF-8"}`
	lost := func(seen string) string {
		return `{"accepted":false,"seen":"` + seen + `","code":"unacknowledged","detail":"the event may be stored or not"}`
	}
	const exists = `"detail":"the record exists; if it does when the event is applied, the event does nothing"`
	for _, c := range []struct {
		acknowledged int
		want         string
		applied      string
	}{
		{0, `{"seen_at":1,` + note + `,"items":[` + lost("absent") + `,` + bad + `,` + lost("present") + `,` + lost("absent") + `]}`, "1"},
		{2, `{"sequence":3,"seen_at":1,` + note + `,"items":[{"accepted":true,"seen":"absent"},` + bad + `,{"accepted":true,"seen":"present",` + exists + `},` + lost("absent") + `]}`, "1"},
	} {
		f.stream.fail = func(context.Context, []ingest.Record) (int, error) {
			return c.acknowledged, errors.New("disk /dev/sdx")
		}
		a := f.ingest("assignments", body)
		p := wantProblem(t, a, 503, StreamUnavailable, "")
		if string(p.Rest) != c.want || !strings.Contains(p.Detail, fmt.Sprintf("%d of 3", c.acknowledged)) || a.header.Get("Retry-After") != "1" || a.header.Get("Assigndex-Seq") != c.applied {
			t.Errorf("%v %s\n got %s\nwant %s", a.header, p.Detail, p.Rest, c.want)
		}
		if strings.Contains(string(a.body), "sdx") || !strings.Contains(log.String(), "sdx") {
			t.Errorf("%s; log %s", a.body, log)
		}
	}
	// Sent again as it was, it comes to the same.
	f.stream.fail = nil
	if a := f.ingest("assignments", body); a.status != 207 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if p, _ := f.list(`{}`); len(p.Assignments) != 3 {
		t.Errorf("%s", p.Assignments)
	}
}

func TestIngestOnAnAlmostFullDisk(t *testing.T) {
	var full atomic.Bool
	f := newIngesting(t, func(o *Options) { o.DiskFull = full.Load })
	const body = `{"action":"upsert","identities":[{"usr_id":"u"}]}`
	full.Store(true)
	a := f.ingest("identities", body)
	p := wantProblem(t, a, 503, DiskFull, "")
	if !strings.Contains(p.Detail, "nothing was published") || a.header.Get("Retry-After") != "30" {
		t.Errorf("%v %s", a.header, p.Detail)
	}
	full.Store(false)
	if a := f.ingest("identities", body); a.status != 200 {
		t.Errorf("with room again: %d %s", a.status, a.body)
	}
}

// A stream that does not answer is waited for as long as an answer can still be
// written.
func TestIngestWaitsForTheStreamInVain(t *testing.T) {
	f := newIngesting(t, nil)
	f.server.publishWait = time.Millisecond
	f.stream.fail = func(ctx context.Context, _ []ingest.Record) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	wantProblem(t, f.ingest("identities", `{"action":"upsert","identities":[{"usr_id":"u"}]}`), 503, StreamUnavailable, "")
	if left := f.server.maxWait + writeTimeout - (f.server.maxWait + readTimeout) - publishWait; left < time.Second {
		t.Errorf("an answer has %v to be written", left)
	}
}

// A client that leaves is no fault of the stream's.
func TestClientLeavesWhileItIngests(t *testing.T) {
	log := &lockedBuffer{}
	ctx, leave := context.WithCancel(t.Context())
	x := newIndex(t).bind()
	k, token, err := apikey.New("test", apikey.Writer, "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	set := &apikey.Set{}
	set.Replace([]apikey.Key{k}, time.Now())
	o := x.options(set)
	o.Logger, o.Presence = zerolog.New(log), x.Index
	o.Publisher = &fakeStream{index: x, fail: func(ctx context.Context, _ []ingest.Record) (int, error) {
		leave()
		<-ctx.Done()
		return 0, fmt.Errorf("publisher: %w", ctx.Err())
	}}
	addr, stop := start(t, newServer(t, o))
	c := newClient(t, addr, token)
	if a, err := c.send(ctx, http.MethodPost, "/api/ingest/identities", strings.NewReader(`{"action":"upsert","identities":[{"usr_id":"u"}]}`)); err == nil {
		t.Fatalf("answered: %d %s", a.status, a.body)
	}
	if err := stop(); err != nil { // after every request has ended
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), `"status":499`) || strings.Contains(log.String(), `"level":"error"`) {
		t.Fatalf("%s", log)
	}
}

// blind is a Presence that does not know.
type blind struct{}

func (blind) Present([]*events.Event) ([]bool, uint64, error) { return nil, 0, errors.New("disk") }

func TestIngestPublishesNothingWhenItCannotSee(t *testing.T) {
	f := newIngesting(t, func(o *Options) { o.Presence = blind{} })
	wantProblem(t, f.ingest("identities", `{"action":"upsert","identities":[{"usr_id":"u"}]}`), 500, Internal, "")
	f.stream.wantPublished(t)
}

// While the index catches up, or has no stream yet, the stream takes events all the
// same; the answer says how old what was seen is.
func TestIngestBeforeTheIndexIsReady(t *testing.T) {
	f := newIngesting(t, nil)
	f.stream.hold = true
	f.index.head.Store(1000)
	wantProblem(t, f.post(`{}`), 503, query.NotReady, "")
	wantAnswer(t, f.ingest("identities", `{"action":"delete","identities":[{"usr_id":"u"}]}`), 200, "1",
		`{"message":"ok","sequence":1,"seen_at":0,`+note+`,"items":[{"accepted":true,"seen":"absent"}]}`)

	x := newIndex(t) // bound to no stream
	k, token, err := apikey.New("test", apikey.Writer, "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	set := &apikey.Set{}
	set.Replace([]apikey.Key{k}, time.Now())
	o := x.options(set)
	o.Publisher, o.Presence = &fakeStream{index: x, hold: true}, x.Index
	c := newClient(t, serve(t, newServer(t, o)), token)
	const body = `{"action":"upsert","identities":[{"usr_id":"u"}]}`
	a := c.do(http.MethodPost, "/api/ingest/identities", body)
	if a.status != 200 || !strings.Contains(string(a.body), `"sequence":1`) || a.header.Get("Assigndex-Seq") != "" || a.header.Get("Assigndex-Stream") != "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	wantProblem(t, c.do(http.MethodPost, "/api/ingest/identities", body, "Assigndex-Stream", incarnation), 503, query.NotReady, "")
}

// Without a publisher there are no such routes.
func TestNoIngestWithoutAPublisher(t *testing.T) {
	f := newFixture(t, nil)
	for _, r := range ingest.Resources {
		wantProblem(t, f.do(http.MethodPost, "/api/ingest/"+r.Name, `{}`), 404, NotFound, "")
	}
}

// A large batch is answered item by item.
func TestLargeIngest(t *testing.T) {
	f := newIngesting(t, nil)
	f.stream.hold = true
	var b strings.Builder
	b.WriteString(`{"action":"create","identities":[{"usr_id":"u0"}`)
	n := 1
	for b.Len() < 1<<20 {
		fmt.Fprintf(&b, `,{"usr_id":"u%d","usr_name":"A name of usual length, and some attributes"}`, n)
		n++
	}
	b.WriteString(`]}`)
	a := f.ingest("identities", b.String())
	var got struct {
		Sequence uint64         `json:"sequence"`
		Items    []ingestedItem `json:"items"`
	}
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 || got.Sequence != uint64(n) || len(got.Items) != n {
		t.Fatalf("%d, %v, sequence %d, %d items; want %d", a.status, err, got.Sequence, len(got.Items), n)
	}
	for i, it := range got.Items {
		if it != (ingestedItem{Accepted: true, Seen: "absent"}) {
			t.Fatalf("item %d: %+v", i, it)
		}
	}
}
