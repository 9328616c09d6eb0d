package httpapi

import (
	"bytes"
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

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/semaphor"
)

// pieces is an index that tells of each piece that is read of whole assignments.
type pieces struct {
	query.Index
	count   atomic.Int64            // of the pieces so far
	before  func(piece int64) error // before each, from 1; nil: nothing
	inside  func(piece int64)       // after each row; nil: nothing
	endless bool                    // there is always another piece
	applied func() (seq uint64, stream string)
}

func (p *pieces) Applied() (seq uint64, stream string) {
	if p.applied != nil {
		return p.applied()
	}
	return p.Index.Applied()
}

func (p *pieces) Assignments(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position,
	limit int, visit func(*listing.Assignment) error,
) (listing.Page, error) {
	piece := p.count.Add(1)
	if p.before != nil {
		if err := p.before(piece); err != nil {
			return listing.Page{}, err
		}
	}
	if p.endless {
		after = nil
	}
	page, err := p.Index.Assignments(ctx, seq, sel, after, limit, func(a *listing.Assignment) error {
		err := visit(a)
		if p.inside != nil {
			p.inside(piece)
		}
		return err
	})
	page.More = page.More || p.endless
	return page, err
}

// streamFixture is a server whose answers for acme have several pieces.
type streamFixture struct {
	*fixture
	pieces *pieces
	log    *lockedBuffer
}

const streamRows = 4*pieceRows + 7

func newStreamFixture(t *testing.T) *streamFixture {
	t.Helper()
	f := &streamFixture{pieces: &pieces{}, log: &lockedBuffer{}}
	f.fixture = newFixture(t, func(o *Options) {
		f.pieces.Index, o.Index, o.Logger = o.Index, f.pieces, zerolog.New(f.log)
	})
	f.index.apply("other", give("stranger", "e", "a"))
	f.index.apply("acme", manyRows(streamRows)...)
	return f
}

// manyRows are assignments of as many users.
func manyRows(n int) (list []event) {
	for i := range n {
		list = append(list, give(fmt.Sprintf("user-%06d", i), "e", "a"))
	}
	return list
}

// get gives a project's answer, which must be whole.
func (f *streamFixture) get(t *testing.T, params string) answer {
	t.Helper()
	a := f.do(http.MethodGet, semaphorOf("acme")+params, "")
	if a.status != http.StatusOK || !jsontext.Value(a.body).IsValid() {
		t.Fatalf("%d %.500s", a.status, a.body)
	}
	return a
}

// wantStatus checks the statuses that the log tells of the requests for projects.
// A request is logged at its end, which is after that of its answer.
func (f *streamFixture) wantStatus(t *testing.T, want ...int) {
	t.Helper()
	f.server.handlers.Wait()
	var got []int
	for line := range strings.Lines(f.log.String()) {
		var request struct {
			Level  string
			Path   string
			Status int
		}
		if err := json.Unmarshal([]byte(line), &request, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(request.Path, "/api/management/") {
			got = append(got, request.Status)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
}

// users gives the users of an answer's items, in order.
func users(t *testing.T, body []byte) (ids []string) {
	t.Helper()
	var doc struct {
		Data struct {
			Assignments []struct {
				Assignment struct {
					OrgUserID string `json:"orgUserId"`
				} `json:"assignment"`
			} `json:"assignments"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	for _, item := range doc.Data.Assignments {
		ids = append(ids, item.Assignment.OrgUserID)
	}
	return ids
}

// Nothing, one item, and as many as fill a piece or a few, and one less and more.
func TestSemaphorSizes(t *testing.T) {
	for _, rows := range []int{0, 1, pieceRows - 1, pieceRows, pieceRows + 1, 2*pieceRows - 1, 2 * pieceRows, 2*pieceRows + 1} {
		f := newFixture(t, nil)
		f.index.apply("acme", append(manyRows(rows), give("stranger", "e", "a"), event{"assignment.revoked", `{"usr_id":"stranger","ent_id":"e"}`})...)
		a := f.do(http.MethodGet, semaphorOf("acme"), "")
		if got := users(t, a.body); a.status != http.StatusOK || len(got) != rows || !jsontext.Value(a.body).IsValid() {
			t.Errorf("%d rows: %d, %d items", rows, a.status, len(got))
		}
		if whole := a.header.Get("Content-Length") != ""; whole != (rows <= pieceRows) {
			t.Errorf("%d rows: whole %v", rows, whole)
		}
		if rows == 0 && string(a.body) != semaphor.Begin+semaphor.End {
			t.Errorf("%s", a.body)
		}
	}
}

// Large items, and items that bring large entities along, make smaller pieces.
func TestSemaphorLargeItems(t *testing.T) {
	const rows, largeBytes = 100, 100 << 10
	large := strings.Repeat("x", largeBytes)
	for name, c := range map[string]struct {
		list   []event
		pieces int64 // at least
	}{
		"items": {[]event{
			{"entitlement.upserted", `{"ent_id":"e%d"}`}, {"assignment.upserted", `{"usr_id":"z","ent_id":"e%d","params":{"p":"` + large + `"}}`},
		}, rows * largeBytes / (pieceBytes + largeBytes)},
		"entities": {[]event{
			{"entitlement.upserted", `{"ent_id":"e%d","note":"` + large + `"}`}, give("z", "e%d", ""),
		}, rows * largeBytes / (pieceResolved + largeBytes)},
	} {
		f := newStreamFixture(t)
		for i := range rows {
			for _, e := range c.list {
				f.index.apply("acme", event{e.kind, strings.ReplaceAll(e.data, "%d", fmt.Sprint(i))})
			}
		}
		a := f.get(t, "")
		if got := len(users(t, a.body)); got != streamRows+rows {
			t.Errorf("%s: %d items, want %d", name, got, streamRows+rows)
		}
		if got := f.pieces.count.Load(); got < streamRows/pieceRows+c.pieces {
			t.Errorf("%s: %d pieces, want %d more than %d at least", name, got, c.pieces, streamRows/pieceRows)
		}
	}
}

// Whatever is written while an answer is sent, it is one snapshot.
func TestSemaphorOneSnapshot(t *testing.T) {
	f := newStreamFixture(t)
	quiet := f.get(t, "")
	f.pieces.count.Store(0)
	f.pieces.before = func(piece int64) error {
		f.index.apply("acme",
			give("user-000000x", "e", "a"), give(fmt.Sprintf("zzz-%d", piece), "e", "a"),
			event{"assignment.revoked", fmt.Sprintf(`{"usr_id":"user-%06d","ent_id":"e"}`, streamRows-int(piece))},
			event{"entitlement.upserted", fmt.Sprintf(`{"ent_id":"e","ent_name":"name %d"}`, piece)},
		)
		return nil
	}
	a := f.get(t, "")
	if !bytes.Equal(a.body, quiet.body) || a.header.Get("Assigndex-Seq") != quiet.header.Get("Assigndex-Seq") {
		t.Error("the answer shows what was written while it was sent")
	}
	if f.pieces.count.Load() < 5 {
		t.Errorf("only %d pieces", f.pieces.count.Load())
	}
	f.pieces.before = nil
	if now := f.get(t, ""); bytes.Equal(now.body, quiet.body) {
		t.Error("nothing was written")
	}
	if then := f.get(t, "?as_of="+quiet.header.Get("Assigndex-Seq")); !bytes.Equal(then.body, quiet.body) {
		t.Error("the state of then is another one")
	}
	f.wantStatus(t, 200, 200, 200, 200)
}

// What goes wrong before the first byte is answered, what goes wrong later ends the
// connection, in whichever piece.
func TestSemaphorFaults(t *testing.T) {
	const last = streamRows/pieceRows + 1
	for _, piece := range []int64{1, 2, last} {
		for name, c := range map[string]struct {
			fail   func(f *streamFixture) error // while the piece is read
			status int
			code   string
		}{
			"floor": {func(f *streamFixture) error {
				return f.index.st.AdvanceFloor(f.index.apply("acme", give("x", "e", "a")))
			}, 410, "HISTORY_PRUNED"},
			"disk": {func(*streamFixture) error { return errors.New("disk /dev/sdx") }, 500, "INTERNAL"},
			"stream": {func(f *streamFixture) error {
				f.pieces.applied = func() (uint64, string) { return 1 << 40, "another" }
				return nil
			}, 410, "STREAM_CHANGED"},
			"panic": {func(*streamFixture) error { panic("an index fell over") }, 500, "INTERNAL"},
		} {
			t.Run(fmt.Sprintf("%s in piece %d", name, piece), func(t *testing.T) {
				f := newStreamFixture(t)
				f.pieces.before = func(n int64) error {
					if n == piece {
						return c.fail(f)
					}
					return nil
				}
				wantFault(t, f, piece, c.status, c.code)
			})
		}
	}
	// The floor passes while the last row of all is read.
	f := newStreamFixture(t)
	rows := 0
	f.pieces.inside = func(int64) {
		if rows++; rows == streamRows {
			if err := f.index.st.AdvanceFloor(f.index.apply("acme", give("x", "e", "a"))); err != nil {
				t.Error(err)
			}
		}
	}
	wantFault(t, f, last, 410, "HISTORY_PRUNED")
}

func wantFault(t *testing.T, f *streamFixture, piece int64, status int, code string) {
	t.Helper()
	a, err := f.send(t.Context(), http.MethodGet, semaphorOf("acme"), nil)
	if piece == 1 {
		if err != nil {
			t.Fatal(err)
		}
		wantEnvelope(t, a, status, code, "")
	} else {
		if !errors.Is(err, io.ErrUnexpectedEOF) || a.status != http.StatusOK {
			t.Fatalf("%v, %d: half an answer looks whole", err, a.status)
		}
		if jsontext.Value(a.body).IsValid() || !bytes.HasPrefix(a.body, []byte(semaphor.Begin)) {
			t.Errorf("%d bytes of the answer are valid, or nothing came", len(a.body))
		}
	}
	f.wantStatus(t, status)
	if strings.Contains(f.log.String(), `"level":"error"`) != (status == 500) {
		t.Errorf("log: %s", f.log)
	}
	if f.pieces.count.Load() != piece {
		t.Errorf("%d pieces were read", f.pieces.count.Load())
	}
	f.pieces.before, f.pieces.inside, f.pieces.applied = nil, nil, nil
	f.get(t, "") // the server goes on
}

// wantEnvelope checks a refusal in Semaphor's form.
func wantEnvelope(tb testing.TB, a answer, status int, code, field string) {
	tb.Helper()
	var e struct {
		OK    bool `json:"ok"`
		Error struct {
			Code    string            `json:"code"`
			Message string            `json:"message"`
			Details map[string]string `json:"details"`
		} `json:"error"`
	}
	if err := json.Unmarshal(a.body, &e, json.RejectUnknownMembers(true)); err != nil {
		tb.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	details := map[string]string{}
	if field != "" {
		details["field"] = field
	}
	if a.status != status || e.OK || e.Error.Code != code || e.Error.Message == "" || fmt.Sprint(e.Error.Details) != fmt.Sprint(details) {
		tb.Fatalf("%d %s; want %d %s of %q", a.status, a.body, status, code, field)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
		tb.Fatalf("headers %v", a.header)
	}
}

// reads sends a request for an endless answer on a connection of its own, and
// returns once it has begun.
func (f *streamFixture) reads(t *testing.T) net.Conn {
	t.Helper()
	f.pieces.endless = true
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\n\r\n", semaphorOf("acme"), f.token); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A client that goes away ends its answer, which would never end by itself.
func TestSemaphorClientLeaves(t *testing.T) {
	f := newStreamFixture(t)
	f.reads(t).Close()
	f.wantStatus(t, statusClientGone) // once the request has ended
	if strings.Contains(f.log.String(), `"level":"error"`) {
		t.Errorf("log: %s", f.log)
	}
}

// A client that goes away while the index is asked ends the reading, too.
func TestSemaphorClientLeavesWhileReading(t *testing.T) {
	f := newStreamFixture(t)
	reading, left := make(chan struct{}), make(chan struct{})
	f.pieces.before = func(piece int64) error {
		if piece == 2 {
			close(reading)
			<-left
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reading; cancel() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x"+semaphorOf("acme"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", f.token)
	go func() { <-ctx.Done(); close(left) }()
	func() {
		defer func() {
			if fault := recover(); fault != http.ErrAbortHandler {
				t.Errorf("the handler ended with %v", fault)
			}
		}()
		f.server.ServeHTTP(&patient{header: http.Header{}}, r)
	}()
	if f.pieces.count.Load() != 2 {
		t.Errorf("%d pieces were read", f.pieces.count.Load())
	}
	f.wantStatus(t, statusClientGone)
}

// A client that stays and takes nothing is cut off.
func TestSemaphorClientStalls(t *testing.T) {
	f := newStreamFixture(t)
	f.server.streamWait = time.Millisecond
	conn := f.reads(t)
	f.wantStatus(t, statusClientGone)
	if _, err := io.Copy(io.Discard, conn); err == nil && f.pieces.count.Load() == 0 {
		t.Error("the connection goes on")
	}
}

// patient is a ResponseWriter that notes the limits on its connection.
type patient struct {
	header      http.Header
	status      int
	read, write time.Time // the limits as last set
	bytes       int
	late        bool // a piece came without new limits, or with past ones
}

func (p *patient) Header() http.Header { return p.header }
func (p *patient) WriteHeader(s int)   { p.status = s }

func (p *patient) SetReadDeadline(t time.Time) error  { p.read = t; return nil }
func (p *patient) SetWriteDeadline(t time.Time) error { p.write = t; return nil }

func (p *patient) Write(b []byte) (int, error) {
	now := time.Now()
	p.late = p.late || p.read.Before(now) || p.write.Before(now) || p.write.After(now.Add(writeTimeout))
	p.read, p.write = time.Time{}, time.Time{}
	p.bytes += len(b)
	return len(b), nil
}

// The limits on a connection are moved with every piece, and hold for each.
func TestSemaphorLimitsMove(t *testing.T) {
	f := newStreamFixture(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x"+semaphorOf("acme"), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", f.token)
	w := &patient{header: http.Header{}}
	f.server.ServeHTTP(w, r)
	if w.late || w.bytes != len(f.get(t, "").body) {
		t.Errorf("late %v, %d bytes", w.late, w.bytes)
	}
	// On a real connection: a server whose limit for answers is over at once.
	srv := &http.Server{Handler: f.server, WriteTimeout: 1, ReadHeaderTimeout: time.Minute}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	defer func() { srv.Close(); <-done }()
	c := *f.client
	c.base = "http://" + l.Addr().String()
	if a, err := c.send(t.Context(), http.MethodGet, semaphorOf("acme"), nil); err != nil || len(a.body) != w.bytes {
		t.Errorf("%v, %d bytes", err, len(a.body))
	}
	if a, err := c.send(t.Context(), http.MethodGet, "/livez", nil); err == nil {
		t.Errorf("the limit of other answers does not hold: %d", a.status)
	}
}

// Who may read which project.
func TestSemaphorProjects(t *testing.T) {
	f := newStreamFixture(t)
	for _, c := range []struct {
		key, project string
		headers      []string
		status       int
		code, field  string
	}{
		{key: "acme", project: "acme", status: 200},
		{key: "acme", project: "%61cme", status: 200},
		{key: "acme", project: "acme", headers: []string{"Assigndex-Tenant", "acme"}, status: 200},
		{key: "*", project: "acme", status: 200},
		{key: "*", project: "other", headers: []string{"Assigndex-Tenant", "other"}, status: 200},
		{key: "*", project: "nobody", status: 200},
		{key: "acme", project: "other", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "other", project: "acme", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "acme", project: "other", headers: []string{"Assigndex-Tenant", "acme"}, status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "acme", project: "*", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "*", project: "*", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "*", project: "a.b", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "*", project: "acme%2Fother", status: 403, code: "PROJECT_FORBIDDEN"},
		{key: "acme", project: "acme", headers: []string{"Assigndex-Tenant", "other"}, status: 400, code: "INVALID_REQUEST", field: "Assigndex-Tenant"},
		{key: "*", project: "acme", headers: []string{"Assigndex-Tenant", "other"}, status: 400, code: "INVALID_REQUEST", field: "Assigndex-Tenant"},
		{key: "nobody", project: "acme", status: 401, code: "UNAUTHENTICATED"},
	} {
		a := f.as(c.key).do(http.MethodGet, semaphorOf(c.project), "", c.headers...)
		if c.status != 200 {
			wantEnvelope(t, a, c.status, c.code, c.field)
			if bytes.Contains(a.body, []byte("user-")) || bytes.Contains(a.body, []byte("stranger")) {
				t.Errorf("%+v: %s", c, a.body)
			}
			continue
		}
		project := strings.Replace(c.project, "%61", "a", 1)
		want := map[string]int{"acme": streamRows, "other": 1, "nobody": 0}[project]
		if got := users(t, a.body); a.status != 200 || len(got) != want {
			t.Errorf("%+v: %d, %d items, want %d", c, a.status, len(got), want)
		}
		if strings.Contains(string(a.body), `"stranger"`) != (project == "other") || want > 0 && !strings.Contains(string(a.body), `"projectId":"`+project+`"`) {
			t.Errorf("%+v: another project is told", c)
		}
	}
	wantProblem(t, f.do(http.MethodGet, semaphorOf(""), ""), 404, NotFound, "")
}
