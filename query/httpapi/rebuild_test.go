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

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/rebuilt"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
)

var _ Rebuilder = (*rebuild.Rebuilder)(nil)

// rebuilderStub is a rebuilder that a test plays. It tells one step of progress.
type rebuilderStub struct {
	fails error // nil: it succeeds
	both  bool  // it succeeds, and fails after that
	early bool  // it fails before it has told anything

	request rebuilt.Request // the last one
	until   rebuilt.Until
}

func (r *rebuilderStub) tell(progress func(audit.Progress)) error {
	if r.fails == nil || !r.early {
		progress(audit.Progress{Check: "build", Done: 1, Of: 2})
	}
	return r.fails
}

func (r *rebuilderStub) Rebuild(_ context.Context, req rebuilt.Request, progress func(audit.Progress)) (*rebuilt.Report, error) {
	r.request = req
	if err := r.tell(progress); err != nil && !r.both {
		return nil, err
	}
	return &rebuilt.Report{Seq: 7, Stream: incarnation, Checks: []audit.Check{audit.NewCheck(audit.CheckRebuild)}, Swapped: true, Built: 7}, r.fails
}

func (r *rebuilderStub) BuildUntil(_ context.Context, u rebuilt.Until, progress func(audit.Progress)) (*rebuilt.UntilReport, error) {
	r.until = u
	if err := r.tell(progress); err != nil {
		return nil, err
	}
	return &rebuilt.UntilReport{Seq: 7, Stream: incarnation, Dir: "until-7"}, nil
}

// rebuildLast reads the last line of an answer.
func rebuildLast(t *testing.T, a answer) (report map[string]any, failed *problem) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(a.body), "\n"), "\n")
	var last struct {
		Report map[string]any `json:"report"`
		Error  *problem       `json:"error"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || a.status != http.StatusOK || len(lines) != 2 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return last.Report, last.Error
}

func isTrue(v any) bool { b, ok := v.(bool); return ok && b }

func examineRebuild(t *testing.T, e *exam, _ *contractFixture) {
	stub := new(rebuilderStub)
	f := newContractFixture(t, func(o *Options) { o.Rebuilder = stub })
	f.fill()
	plain := question{name: "rebuild", path: rebuildPath, body: `{"require_equal":true}`}
	ask := func(c *client, q question) answer { t.Helper(); return e.ask(t, c, q) }
	headers := func(q question, headers ...string) question { q.headers = headers; return q }
	body := func(q question, body string) question { q.body, q.illegal = body, true; return q }
	legal := func(q question, body string) question { q.body = body; return q }
	illegal := func(q question) question { q.illegal = true; return q }

	if report, _ := rebuildLast(t, ask(f.operator, plain.with(200, "", ""))); !isTrue(report["swapped"]) || !stub.request.RequireEqual {
		t.Errorf("%v, %+v", report, stub.request)
	}
	if report, _ := rebuildLast(t, ask(f.operator, headers(legal(plain.with(200, "", ""), `{}`), "Assigndex-Stream", incarnation))); !isTrue(report["swapped"]) || stub.request.RequireEqual {
		t.Errorf("%v, %+v", report, stub.request)
	}
	instant := time.Date(2026, 1, 31, 12, 0, 0, 5, time.UTC)
	for text, want := range map[string]rebuilt.Until{"7": {Seq: 7}, "2026-01-31T12:00:00.000000005Z": {Time: instant}, "2026-01-31T14:00:00.000000005+02:00": {Time: instant}} {
		report, _ := rebuildLast(t, ask(f.operator, legal(plain.with(200, "", ""), `{"until":"`+text+`"}`)))
		if report["dir"] != "until-7" || stub.until.Seq != want.Seq || !stub.until.Time.Equal(want.Time) {
			t.Errorf("%s: %v, %+v", text, report, stub.until)
		}
	}
	nobody := *f.client
	nobody.token = ""
	ask(&nobody, illegal(plain.with(401, Unauthenticated, "")))
	untold := newContractFixture(t, func(o *Options) { o.Auth, o.Rebuilder = []Authenticator{Keys{Set: &apikey.Set{}}}, stub })
	ask(untold.operator, plain.with(503, query.NotReady, ""))
	strict := newContractFixture(t, func(o *Options) {
		o.Rebuilder, o.Limits.Caller = stub, admission.Limits{PerSecond: 1e-3, Burst: 1}
	})
	strict.fill()
	ask(strict.operator, headers(plain.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	ask(strict.operator, plain.with(429, RateLimited, ""))
	patient := *f.operator
	patient.http = &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer patient.http.CloseIdleConnections()
	large := headers(plain.with(413, BodyTooLarge, ""), "Expect", "100-continue")
	large.body += strings.Repeat(" ", maxQueryBody)
	ask(&patient, large)
	played := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body, r.ContentLength = brokenBody{brokenReader{os.ErrDeadlineExceeded}}, 10
		f.server.ServeHTTP(w, r)
	}))
	defer played.Close()
	patient.base = played.URL
	ask(&patient, plain.with(408, RequestTimeout, ""))
	ask(f.any, plain.with(403, RoleForbidden, ""))
	ask(f.admin, plain.with(403, TenantForbidden, ""))
	ask(f.operator, headers(plain.with(400, InvalidHeader, "Assigndex-Tenant"), "Assigndex-Tenant", "acme"))
	ask(f.operator, headers(plain.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	ask(f.operator, body(plain.with(400, query.InvalidJSON, ""), `[`))
	ask(f.operator, body(plain.with(400, query.UnknownField, "at"), `{"at":1}`))
	ask(f.operator, body(plain.with(400, query.InvalidField, "require_equal"), `{"require_equal":1}`))
	ask(f.operator, legal(plain.with(400, query.ConflictingFields, "require_equal"), `{"require_equal":true,"until":"7"}`))
	for _, until := range []string{"", "0", "-1", "yesterday", "2026-01-31"} {
		ask(f.operator, legal(plain.with(400, query.InvalidField, "until"), `{"until":"`+until+`"}`))
	}
	ask(f.operator, illegal(headers(plain.with(415, UnsupportedMedia, "Content-Type"), "Content-Type", "text/plain")))

	for _, fault := range []struct {
		err    error
		status int
		code   query.Code
	}{
		{rebuilt.ErrRunning, 409, RebuildRunning},
		{fmt.Errorf("%w: the stream ends", rebuilt.ErrCannotBuild), 409, CannotRebuild},
		{fmt.Errorf("%w: 7 bytes", rebuilt.ErrNoRoom), 409, CannotRebuild},
		{fmt.Errorf("%w: until-7", rebuilt.ErrExists), 409, CannotRebuild},
		{errors.New("disk"), 500, Internal},
	} {
		for _, request := range []string{`{}`, `{"until":"7"}`} {
			*stub = rebuilderStub{fails: fault.err, early: true}
			ask(f.operator, legal(plain.with(fault.status, fault.code, ""), request))
			*stub = rebuilderStub{fails: fault.err}
			if _, p := rebuildLast(t, ask(f.operator, legal(plain.with(200, "", ""), request))); p == nil || p.Status != fault.status || p.Code != fault.code || p.Detail == "" {
				t.Errorf("%v: %+v", fault.err, p)
			}
		}
	}
	// What fails behind the swap is no reason to say that it was not done.
	*stub = rebuilderStub{fails: errors.New("disk"), both: true}
	if report, _ := rebuildLast(t, ask(f.operator, legal(plain.with(200, "", ""), `{}`))); !isTrue(report["swapped"]) {
		t.Errorf("%v", report)
	}
}
