package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/feed"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

// The events of a cascade, byte for byte: only the last one of the sequence has an id.
func TestWatchEvents(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "e", "a"), give("u", "f", "a"))
	f.index.apply("other", give("v", "e", "a"))
	w := f.follow("?since=0")
	row := func(ent string) string {
		return `{"ent_id":"` + ent + `","usr_id":"u","score":null,"justification":[]}`
	}
	want := func(text string) {
		t.Helper()
		got := make([]byte, len(text))
		if _, err := io.ReadFull(w.lines, got); err != nil || string(got) != text {
			t.Fatalf("%v\n got %q\nwant %q", err, got, text)
		}
	}
	want("event: change\nid: 1\ndata: {\"seq\":1,\"op\":\"upserted\",\"assignment\":" + row("e") + ",\"next\":\"1\"}\n\n" +
		"event: change\nid: 2\ndata: {\"seq\":2,\"op\":\"upserted\",\"assignment\":" + row("f") + ",\"next\":\"2\"}\n\n" +
		"event: heartbeat\nid: 3\ndata: {\"seq\":3}\n\n")
	f.index.apply("acme", event{"user.deleted", `{"usr_id":"u"}`})
	want("event: change\ndata: {\"seq\":4,\"op\":\"revoked\",\"assignment\":" + row("e") + ",\"next\":\"4.1\"}\n\n" +
		"event: change\nid: 4\ndata: {\"seq\":4,\"op\":\"revoked\",\"assignment\":" + row("f") + ",\"next\":\"4\"}\n\n")
	figures := string(f.do(http.MethodGet, "/metrics", "").body)
	for _, figure := range []string{"assigndex_http_watches 1", "assigndex_http_requests_in_flight 1"} { // the latter is the question
		if !strings.Contains(figures, "\n"+figure+"\n") {
			t.Errorf("no figure %s", figure)
		}
	}
	if strings.Contains(figures, `route="watch",status="2xx"`) {
		t.Error("the time of watches is among those of requests")
	}
}

// Where a watch begins: now, at since, or behind the last event, which wins.
func TestWatchBegins(t *testing.T) {
	f := newFixture(t, nil)
	last := f.index.apply("acme", give("u", "a", ""), give("u", "b", ""), event{"user.deleted", `{"usr_id":"u"}`}, give("v", "a", ""))
	for _, c := range []struct {
		params  string
		headers []string
		first   string // next of the first event; empty: a heartbeat
	}{
		{"", nil, ""}, {fmt.Sprintf("?since=%d", last), nil, ""}, {"?since=0", nil, "1"}, {"?since=earliest", nil, "1"}, {"?since=3.1", nil, "3"},
		{"?since=earliest", []string{"Last-Event-ID", "3"}, "4"}, {"", []string{"Last-Event-ID", "1"}, "2"}, {"?since=4", []string{"Last-Event-ID", "3.1"}, "3"},
		{"?since=0&usr_id=v", nil, "4"}, {"?at_least=4", nil, ""},
	} {
		e, err := f.follow(c.params, c.headers...).next()
		if err != nil {
			t.Fatal(err)
		}
		if c.first == "" {
			if e != (sent{"heartbeat", "4", `{"seq":4}`}) {
				t.Errorf("%s %v: %+v", c.params, c.headers, e)
			}
			continue
		}
		if change, next := e.change(t); next.String() != c.first {
			t.Errorf("%s %v: %+v, behind it %s, want %s", c.params, c.headers, change, next, c.first)
		}
	}
}

// What is wrong with a request is told before a watch begins, and is the same for a
// page of changes.
func TestChangesRefusals(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxWait, o.MaxPageSize = time.Millisecond, 50 })
	f.index.apply("acme", give("u", "a", ""), give("u", "b", ""), event{"user.deleted", `{"usr_id":"u"}`}, give("v", "a", ""))
	if err := f.index.st.AdvanceFloor(3); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		params string
		status int
		code   query.Code
		field  string
	}{
		{"since=2", 410, query.HistoryPruned, ""}, {"since=3.1", 410, query.HistoryPruned, ""}, {"since=5", 410, query.BeyondEnd, ""},
		{"since=5.1", 410, query.BeyondEnd, ""}, {"since=18446744073709551615", 410, query.BeyondEnd, ""}, {"since=5&at_least=4", 410, query.BeyondEnd, ""},
		{"since=5&at_least=5", 503, query.NotReached, ""},
		{"since=", 400, query.InvalidField, "since"}, {"since=now", 400, query.InvalidField, "since"}, {"since=-1", 400, query.InvalidField, "since"},
		{"since=4.0", 400, query.InvalidField, "since"}, {"since=0.1", 400, query.InvalidField, "since"}, {"since=4.", 400, query.InvalidField, "since"},
		{"since=4.4294967296", 400, query.InvalidField, "since"}, {"since=18446744073709551616", 400, query.InvalidField, "since"},
		{"since=4&since=4", 400, query.InvalidField, "since"}, {"since=4&user_id=u", 400, query.UnknownField, "user_id"}, {"since=4&usr_id=", 400, query.InvalidField, "usr_id"},
		{"since=4&as_of=4", 400, query.UnknownField, "as_of"}, {"since=4&cursor=AQ", 400, query.UnknownField, "cursor"},
		{"since=4&usr_id=u&grp_id=g", 400, query.ConflictingFields, "grp_id"}, {"since=4&type=user", 400, query.InvalidField, "type"},
		{"since=4&min_score=2", 400, query.InvalidField, "min_score"}, {"since=4&max_score=x", 400, query.InvalidField, "max_score"},
		{"since=4&max_score=null", 400, query.InvalidField, "max_score"}, {"since=4&scored=null", 400, query.InvalidField, "scored"},
		{"since=4&scored=1", 400, query.InvalidField, "scored"}, {"since=4&level=top", 400, query.InvalidField, "level"},
		{"since=4&min_score=0.6&max_score=0.5", 400, query.ConflictingFields, "min_score"},
		{"since=4&include=app_id,score", 400, query.InvalidField, "include"}, {"since=4&include=app_id,", 400, query.InvalidField, "include"},
		{"since=4&at_least=x", 400, query.InvalidField, "at_least"}, {"since=4&ent_id=%ff", 400, query.InvalidField, "ent_id"}, {"since=%zz", 400, query.InvalidField, ""},
	} {
		for _, path := range []string{"/api/changes?", "/api/watch?"} {
			a := f.do(http.MethodGet, path+c.params, "")
			wantProblem(t, a, c.status, c.code, c.field)
			if a.header.Get("Assigndex-Seq") != "4" || a.header.Get("Assigndex-Stream") != incarnation || (a.header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%s%s: %v", path, c.params, a.header)
			}
		}
	}
	for _, params := range []string{"limit=1", "since=4&limit=0", "since=4&limit=51", "since=4&limit=x", "since=4&limit=99999999999"} {
		field := "limit"
		if !strings.Contains(params, "since") {
			field = "since"
		}
		wantProblem(t, f.do(http.MethodGet, "/api/changes?"+params, ""), 400, query.InvalidField, field)
	}
	wantProblem(t, f.do(http.MethodGet, "/api/watch?limit=1", ""), 400, query.UnknownField, "limit")
	wantProblem(t, f.do(http.MethodGet, "/api/watch", "", "Last-Event-ID", "x"), 400, InvalidHeader, "Last-Event-Id")
	wantProblem(t, f.do(http.MethodGet, "/api/watch", "", "Last-Event-ID", "2"), 410, query.HistoryPruned, "")
	for _, path := range []string{"/api/changes?since=4", "/api/watch"} {
		wantProblem(t, f.do(http.MethodGet, path, "", "Assigndex-Stream", "another"), 410, query.StreamChanged, "")
	}
}

// A page tells no more than there is room for, and an empty one moves on to what was
// applied.
func TestChangesPages(t *testing.T) {
	f := newFixture(t, nil)
	f.index.apply("acme", give("u", "a", ""), give("u", "b", ""), event{"user.deleted", `{"usr_id":"u"}`}, give("v", "a", "web"))
	row := func(usr, ent string) string {
		return `{"ent_id":"` + ent + `","usr_id":"` + usr + `","score":null,"justification":[]}`
	}
	for params, want := range map[string]string{
		"since=4":         `{"changes":[],"next":"4"}`,
		"since=0&limit=1": `{"changes":[{"seq":1,"op":"upserted","assignment":` + row("u", "a") + `}],"next":"1"}`,
		"since=2&limit=1": `{"changes":[{"seq":3,"op":"revoked","assignment":` + row("u", "a") + `}],"next":"3.1"}`,
		"since=3.1&limit=2": `{"changes":[{"seq":3,"op":"revoked","assignment":` + row("u", "b") + `},{"seq":4,"op":"upserted","assignment":` + row("v", "a") +
			`}],"next":"4"}`,
		"since=3.7&limit=1":              `{"changes":[{"seq":4,"op":"upserted","assignment":` + row("v", "a") + `}],"next":"4"}`,
		"since=0&ent_id=none":            `{"changes":[],"next":"4"}`,
		"since=0&type=ALL":               `{"changes":[],"next":"4"}`,
		"since=3&include=type,app_id":    `{"changes":[{"seq":4,"op":"upserted","assignment":{"ent_id":"a","usr_id":"v","score":null,"justification":[],"app_id":"web","type":"USER"}}],"next":"4"}`,
		"since=earliest&app_id=web":      `{"changes":[{"seq":4,"op":"upserted","assignment":` + row("v", "a") + `}],"next":"4"}`,
		"since=0&usr_id=v&at_least=4":    `{"changes":[{"seq":4,"op":"upserted","assignment":` + row("v", "a") + `}],"next":"4"}`,
		"since=0&scored=true&limit=5000": `{"changes":[],"next":"4"}`,
	} {
		a := f.do(http.MethodGet, "/api/changes?"+params, "")
		if string(a.body) != want || a.status != 200 || a.header.Get("Assigndex-Seq") != "4" {
			t.Errorf("%s: %d\n got %s\nwant %s", params, a.status, a.body, want)
		}
	}
}

// A watch that cannot go on says why and ends.
func TestWatchFails(t *testing.T) {
	entered, release := make(chan uint64), make(chan error)
	set, tokens := keySet(t, "acme")
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", "a"))
	o := x.options(set)
	o.Index = &hooked{Index: x, wait: func(_ context.Context, seq uint64) error {
		entered <- seq
		return <-release
	}}
	c := newClient(t, serve(t, newServer(t, o)), tokens["acme"])
	fails := func(status int, code query.Code, meanwhile func() error) {
		t.Helper()
		w := c.follow("")
		w.must(t, "heartbeat")
		if seq, applied := <-entered, x.st.Applied().Seq; seq != applied+1 {
			t.Fatalf("waits for %d, applied is %d", seq, applied)
		}
		release <- meanwhile()
		e := w.must(t, "error")
		if !strings.Contains(e.data, fmt.Sprintf(`"status":%d`, status)) || !strings.Contains(e.data, `"code":"`+string(code)+`"`) || e.id != "" {
			t.Errorf("%+v", e)
		}
		if e, err := w.next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the error: %+v, %v", e, err)
		}
	}
	fails(500, Internal, func() error { return errors.New("disk") })
	fails(410, query.HistoryPruned, func() error {
		x.apply("acme", give("u", "f", "a"), give("u", "g", "a"))
		return x.st.AdvanceFloor(3)
	})
}

// Credentials that are taken back end a watch.
func TestWatchEndsWithItsKey(t *testing.T) {
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", "a"))
	set, tokens := keySet(t, "acme")
	o := x.options(set)
	o.Watch.Silence = time.Millisecond
	w := newClient(t, serve(t, newServer(t, o)), tokens["acme"]).follow("")
	w.must(t, "heartbeat")
	set.Replace(nil, time.Now())
	for {
		e, err := w.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.name == "error" {
			if !strings.Contains(e.data, `"code":"unauthenticated"`) {
				t.Errorf("%+v", e)
			}
			return
		}
	}
}

// Over the number of watches a server takes, one is refused; one that ends makes room.
func TestWatchesAreBounded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Watch.Max = 2 })
	f.index.apply("acme", give("u", "e", "a"))
	first := f.follow("")
	f.follow("")
	a := f.do(http.MethodGet, "/api/watch", "")
	wantProblem(t, a, 503, TooManyWatches, "")
	if a.header.Get("Retry-After") == "" || a.header.Get("Assigndex-Seq") != "1" {
		t.Errorf("%v", a.header)
	}
	first.close()
	for { // the server is told by the connection
		w, a, err := f.watch(t.Context(), "")
		if err != nil || w == nil && a.status != 503 {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
		if w != nil {
			w.close()
			return
		}
	}
}

// pipe is a listener of connections that hold nothing: a write blocks until it is read.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	writes chan struct{} // gets one for each write that begins
}

func newPipe() *pipe {
	return &pipe{conns: make(chan net.Conn), closed: make(chan struct{}), writes: make(chan struct{}, 100)}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return &pipeConn{c, p}, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	close(p.closed)
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// watch opens a watch that nobody reads, and returns when its first write has begun.
func (p *pipe) watch(t *testing.T, token string) net.Conn {
	t.Helper()
	server, client := net.Pipe()
	p.conns <- server
	if _, err := fmt.Fprintf(client, "GET /api/watch?since=0 HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\n\r\n", token); err != nil {
		t.Fatal(err)
	}
	<-p.writes
	return client
}

type pipeConn struct {
	net.Conn
	p *pipe
}

func (c *pipeConn) Write(b []byte) (int, error) {
	c.p.writes <- struct{}{}
	return c.Conn.Write(b)
}

// counted is an index that counts the pages of changes that are read, and their rows.
type counted struct {
	query.Index
	pages, changes atomic.Int64
}

func (c *counted) Changes(ctx context.Context, sel listing.Selector, from feed.Place, upto uint64, limit, budget int,
	visit func(*feed.Change) error,
) (feed.Page, error) {
	c.pages.Add(1)
	return c.Index.Changes(ctx, sel, from, upto, limit, budget, func(ch *feed.Change) error {
		c.changes.Add(1)
		return visit(ch)
	})
}

// drainLog fails the test when the server says that it waited in vain for its end.
func drainLog(t *testing.T) zerolog.Logger {
	log := &lockedBuffer{}
	t.Cleanup(func() {
		if text := log.String(); strings.Contains(text, "still under way") {
			t.Error(text)
		}
	})
	return zerolog.New(log)
}

// unread is a server with a watch that nobody reads, of more rows than fit into a page.
func unread(t *testing.T, timeout time.Duration) (s *Server, index *counted, conn net.Conn, stop func() error) {
	t.Helper()
	x := newIndex(t).bind()
	var large []event
	for i := range 20 {
		large = append(large, event{"assignment.upserted", fmt.Sprintf(`{"usr_id":"u","ent_id":"%d","justification":[{"id":"i","title":"t","value":%q}]}`,
			i, strings.Repeat("x", watchPageBytes/4))})
	}
	x.apply("acme", large...)
	set, tokens := keySet(t, "acme")
	o := x.options(set)
	index = &counted{Index: x}
	o.Index, o.Watch.WriteTimeout, o.Logger = index, timeout, drainLog(t)
	s = newServer(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	l, done := newPipe(), make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	return s, index, l.watch(t, tokens["acme"]), func() error { cancel(); return <-done }
}

// A client that does not read is cut off. No more than a page is held for it.
func TestSlowReaderIsCutOff(t *testing.T) {
	s, index, conn, stop := unread(t, 20*time.Millisecond)
	s.handlers.Wait()
	if pages, changes := index.pages.Load(), index.changes.Load(); pages != 1 || changes != 4 { // the last of them did not fit
		t.Errorf("%d pages with %d changes were read", pages, changes)
	}
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// A server that stops ends its watches at once: those that wait, and one whose write
// blocks.
func TestStopEndsWatches(t *testing.T) {
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", ""))
	set, tokens := keySet(t, "acme")
	o := x.options(set)
	o.Logger = drainLog(t)
	addr, stop := start(t, newServer(t, o))
	w := newClient(t, addr, tokens["acme"]).follow("")
	w.must(t, "heartbeat")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if e, err := w.next(); !errors.Is(err, io.EOF) { // it looks whole
		t.Errorf("%+v, %v", e, err)
	}

	s, _, conn, stop := unread(t, time.Hour)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if s.watches.active.Load() != 0 {
		t.Error("Run has returned before its watches")
	}
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// While nothing happens a heartbeat says so.
func TestHeartbeats(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Watch.Silence = time.Millisecond })
	f.index.apply("acme", give("u", "e", "a"))
	w := f.follow("")
	for range 3 {
		if e := w.must(t, "heartbeat"); e.id != "1" {
			t.Errorf("%+v", e)
		}
	}
	// The sequences of others move it on.
	f.index.apply("other", give("u", "e", "a"))
	for w.must(t, "heartbeat").id != "2" {
	}
}
