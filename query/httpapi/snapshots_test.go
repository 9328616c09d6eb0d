package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
)

// snapshotStub is an object store that a test plays.
type snapshotStub struct {
	take func(ctx context.Context, progress func(int64)) (StoredSnapshot, error) // nil: one is stored
	list []StoredSnapshot
	err  error // of listing
}

var oneSnapshot = StoredSnapshot{
	Name: "00000000000000000007-20260131T120000.123456789Z", Seq: 7, Floor: 3, Stream: incarnation,
	Created: time.Unix(5, 6).UTC(), Format: 2, Fold: 2, Taken: time.Unix(7, 8).UTC(), Bytes: 4711,
}

func (s *snapshotStub) Take(ctx context.Context, progress func(int64)) (StoredSnapshot, error) {
	if s.take != nil {
		return s.take(ctx, progress)
	}
	s.list = append(s.list, oneSnapshot)
	return oneSnapshot, nil
}

func (s *snapshotStub) List(context.Context) ([]StoredSnapshot, error) { return s.list, s.err }

// takeAnswer is a line of an answer.
type takeAnswer struct {
	Progress *snapshotProgress `json:"progress"`
	Snapshot *StoredSnapshot   `json:"snapshot"`
	Error    *problem          `json:"error"`
}

// takeLines reads the lines of an answer, of which the last one alone is no progress.
func takeLines(t *testing.T, a answer) (progress []int64, last takeAnswer) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	for text := range strings.Lines(string(a.body)) {
		if last.Snapshot != nil || last.Error != nil {
			t.Fatalf("a line after the last one: %s", a.body)
		}
		last = takeAnswer{}
		if err := json.Unmarshal([]byte(text), &last); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if last.Progress != nil {
			progress = append(progress, last.Progress.Bytes)
		}
	}
	if last.Snapshot == nil && last.Error == nil {
		t.Fatalf("no last line: %s", a.body)
	}
	return progress, last
}

// examineSnapshots goes through the answers about snapshots in the object store.
func examineSnapshots(t *testing.T, e *exam, _ *contractFixture) {
	stub := &snapshotStub{}
	f := newContractFixture(t, func(o *Options) { o.SnapshotStore = stub })
	f.fill()
	take, list := question{name: "take", path: snapshotsPath, body: `{}`}, question{name: "list", path: snapshotsPath, method: http.MethodGet}
	ask := func(c *client, q question) answer { t.Helper(); return e.ask(t, c, q) }
	headers := func(q question, headers ...string) question { q.headers = headers; return q }
	body := func(q question, body string) question { q.body, q.illegal = body, true; return q }
	illegal := func(q question) question { q.illegal = true; return q }

	if a := ask(f.operator, list.with(200, "", "")); string(a.body) != `{"snapshots":[]}` {
		t.Errorf("none: %s", a.body)
	}
	if _, last := takeLines(t, ask(f.operator, take.with(200, "", ""))); *last.Snapshot != oneSnapshot {
		t.Errorf("taken: %+v", last.Snapshot)
	}
	var got snapshotsAnswer
	if a := ask(f.operator, list.with(200, "", "")); json.Unmarshal(a.body, &got) != nil || len(got.Snapshots) != 1 || got.Snapshots[0] != oneSnapshot {
		t.Errorf("one: %s", a.body)
	}
	nobody := *f.client
	nobody.token = ""
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	strict := newContractFixture(t, func(o *Options) { o.Limits.Caller = admission.Limits{PerSecond: 1e-3, Burst: 2} })
	strict.fill()
	for _, q := range []question{take, list} {
		ask(f.operator, headers(q.with(200, "", ""), "Assigndex-Stream", incarnation))
		ask(&nobody, illegal(q.with(401, Unauthenticated, "")))
		ask(untold.operator, q.with(503, query.NotReady, ""))
		ask(f.any, q.with(403, RoleForbidden, ""))
		ask(f.admin, q.with(403, TenantForbidden, ""))
		ask(f.operator, headers(q.with(400, InvalidHeader, "Assigndex-Tenant"), "Assigndex-Tenant", "acme"))
		ask(f.operator, headers(q.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
		more, odd := q.with(400, query.UnknownField, "keep"), q.with(400, query.InvalidField, "")
		more.path, odd.path = q.path+"?keep=1", q.path+"?%zz"
		ask(f.operator, illegal(more))
		ask(f.operator, odd)
		ask(strict.operator, headers(q.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	}
	ask(strict.operator, take.with(429, RateLimited, ""))
	ask(strict.operator, list.with(429, RateLimited, ""))
	ask(f.operator, body(take.with(400, query.InvalidJSON, ""), `[`))
	ask(f.operator, body(take.with(400, query.UnknownField, "at"), `{"at":1}`))
	ask(f.operator, illegal(headers(take.with(415, UnsupportedMedia, "Content-Type"), "Content-Type", "text/plain")))
	c := *f.operator
	c.http = &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer c.http.CloseIdleConnections()
	large := headers(take.with(413, BodyTooLarge, ""), "Expect", "100-continue")
	large.body += strings.Repeat(" ", maxQueryBody)
	ask(&c, large)
	played := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body, r.ContentLength = brokenBody{brokenReader{os.ErrDeadlineExceeded}}, 10
		f.server.ServeHTTP(w, r)
	}))
	defer played.Close()
	c = *f.operator
	c.base = played.URL
	ask(&c, take.with(408, RequestTimeout, ""))

	for _, fault := range []struct {
		err    error
		status int
		code   query.Code
	}{
		{&query.Error{Code: SnapshotRunning, Detail: "d"}, 409, SnapshotRunning},
		{&query.Error{Code: NothingApplied, Detail: "d"}, 409, NothingApplied},
		{&query.Error{Code: DiskFull, Detail: "d"}, 503, DiskFull},
		{&query.Error{Code: ObjectStoreUnavailable, Detail: "d"}, 503, ObjectStoreUnavailable},
		{fmt.Errorf("undone: %w", listing.ErrReplaced), 410, query.StreamChanged},
		{errors.New("disk"), 500, Internal},
	} {
		stub.take = func(context.Context, func(int64)) (StoredSnapshot, error) { return StoredSnapshot{}, fault.err }
		ask(f.operator, take.with(fault.status, fault.code, ""))
		if fault.code == query.StreamChanged {
			continue // nothing is told of it behind the first line
		}
		// The same behind the first line.
		stub.take = func(_ context.Context, progress func(int64)) (StoredSnapshot, error) {
			progress(100)
			progress(200) // too soon to be told
			return StoredSnapshot{}, fault.err
		}
		progress, last := takeLines(t, ask(f.operator, take.with(200, "", "")))
		if p := last.Error; len(progress) != 1 || p == nil || p.Status != fault.status || p.Code != fault.code || p.Detail == "" {
			t.Errorf("%v: %v, %+v", fault.err, progress, last.Error)
		}
	}
	stub.err = &query.Error{Code: ObjectStoreUnavailable, Detail: "d"}
	ask(f.operator, list.with(503, ObjectStoreUnavailable, ""))
	stub.err = errors.New("disk")
	ask(f.operator, list.with(500, Internal, ""))
}

// Taking a snapshot ends when its client leaves, and when the server stops.
func TestTakeSnapshotEnds(t *testing.T) {
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	f := newContractFixture(t, func(o *Options) {
		o.SnapshotStore = &snapshotStub{take: func(ctx context.Context, progress func(int64)) (StoredSnapshot, error) {
			progress(1)
			began <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return StoredSnapshot{}, ctx.Err()
		}}
	})
	f.fill()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
	}()
	if a, err := f.operator.send(ctx, http.MethodPost, snapshotsPath, strings.NewReader(`{}`)); err == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() {
		<-began
		f.server.watches.end()
	}()
	_, last := takeLines(t, f.operator.do(http.MethodPost, snapshotsPath, `{}`))
	if last.Error == nil || last.Error.Code != query.NotReady {
		t.Errorf("%+v", last)
	}
}
