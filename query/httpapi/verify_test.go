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
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/verify"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
)

var _ Verifier = (*verify.Verifier)(nil)

// verifierFunc is a verification that a test plays.
type verifierFunc func(ctx context.Context, at *uint64, rebuild bool, progress func(audit.Progress)) (*audit.Report, error)

func (f verifierFunc) Verify(ctx context.Context, at *uint64, rebuild bool, progress func(audit.Progress)) (*audit.Report, error) {
	return f(ctx, at, rebuild, progress)
}

// verifierOf verifies a test's index; nil: nothing may be verified.
func verifierOf(x *testIndex) Verifier {
	if x == nil {
		return verifierFunc(func(context.Context, *uint64, bool, func(audit.Progress)) (*audit.Report, error) {
			return nil, errors.New("nobody may verify this")
		})
	}
	return verify.New(verify.Only(x.st), verify.Options{Logger: zerolog.Nop()})
}

// verifyAnswer is a line of an answer.
type verifyAnswer struct {
	Progress *audit.Progress `json:"progress"`
	Report   *audit.Report   `json:"report"`
	Error    *problem        `json:"error"`
}

// verifyLines reads the lines of an answer, of which the last one alone is no progress.
func verifyLines(t *testing.T, a answer) (progress []audit.Progress, last verifyAnswer) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/x-ndjson" || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	for line := range strings.Lines(string(a.body)) {
		if last.Report != nil || last.Error != nil {
			t.Fatalf("a line after the last one: %s", a.body)
		}
		last = verifyAnswer{}
		if err := json.Unmarshal([]byte(line), &last, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if last.Progress != nil {
			progress = append(progress, *last.Progress)
		}
	}
	return progress, last
}

func TestVerify(t *testing.T) {
	f := newContractFixture(t, nil)
	f.fill()
	digest, assignments, err := f.index.Digest(f.index.st.Applied().Seq)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{``, `{}`, `{"at":null,"rebuild":false}`, fmt.Sprintf(`{"at":%d}`, f.index.st.Applied().Seq)} {
		progress, last := verifyLines(t, f.operator.do(http.MethodPost, verifyPath, body))
		r := last.Report
		if len(progress) == 0 || r == nil || r.Digest != digest || r.Assignments != assignments || r.Differs() || r.Stream != incarnation || len(r.Checks) != 5 {
			t.Errorf("%s: %v, %+v", body, progress, r)
		}
	}
	_, last := verifyLines(t, f.operator.do(http.MethodPost, verifyPath, `{"at":3}`))
	if r := last.Report; r == nil || r.Seq != 3 || r.Digest == digest || r.Differs() {
		t.Errorf("%+v", last)
	}
}

func examineVerify(t *testing.T, e *exam, _ *contractFixture) {
	var play verifierFunc
	f := newContractFixture(t, func(o *Options) {
		index := verifierOf(o.Index.(*testIndex))
		o.Verifier = verifierFunc(func(ctx context.Context, at *uint64, rebuild bool, progress func(audit.Progress)) (*audit.Report, error) {
			if play != nil {
				return play(ctx, at, rebuild, progress)
			}
			return index.Verify(ctx, at, rebuild, progress)
		})
	})
	f.fill()
	plain := question{name: "verify", path: verifyPath, body: `{"at":3}`}
	ask := func(c *client, q question) answer { t.Helper(); return e.ask(t, c, q) }
	headers := func(q question, headers ...string) question { q.headers = headers; return q }
	body := func(q question, body string) question { q.body, q.illegal = body, true; return q }
	illegal := func(q question) question { q.illegal = true; return q }

	verifyLines(t, ask(f.operator, plain.with(200, "", "")))
	verifyLines(t, ask(f.operator, headers(plain.with(200, "", ""), "Assigndex-Stream", incarnation)))
	nobody := *f.client
	nobody.token = ""
	ask(&nobody, illegal(plain.with(401, Unauthenticated, "")))
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	ask(untold.operator, plain.with(503, query.NotReady, ""))
	strict := newContractFixture(t, func(o *Options) {
		o.Verifier = verifierOf(o.Index.(*testIndex))
		o.Limits.Caller = admission.Limits{PerSecond: 1e-3, Burst: 1}
	})
	strict.fill()
	ask(strict.operator, headers(plain.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	ask(strict.operator, plain.with(429, RateLimited, ""))
	ask(f.any, plain.with(403, RoleForbidden, ""))
	ask(f.admin, plain.with(403, TenantForbidden, ""))
	ask(f.operator, headers(plain.with(400, InvalidHeader, "Assigndex-Tenant"), "Assigndex-Tenant", "acme"))
	ask(f.operator, headers(plain.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
	ask(f.operator, body(plain.with(400, query.InvalidJSON, ""), `[`))
	ask(f.operator, body(plain.with(400, query.UnknownField, "as_of"), `{"as_of":1}`))
	ask(f.operator, body(plain.with(400, query.InvalidField, "at"), `{"at":-1}`))
	ask(f.operator, body(plain.with(400, query.InvalidField, "rebuild"), `{"rebuild":1}`))
	late := plain.with(503, query.NotReached, "")
	late.body = `{"at":1000}`
	ask(f.operator, late)
	ask(f.operator, illegal(headers(plain.with(415, UnsupportedMedia, "Content-Type"), "Content-Type", "text/plain")))
	c := *f.operator
	c.http = &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer c.http.CloseIdleConnections()
	large := headers(plain.with(413, BodyTooLarge, ""), "Expect", "100-continue")
	large.body += strings.Repeat(" ", maxQueryBody)
	ask(&c, large)
	played := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body, r.ContentLength = brokenBody{brokenReader{os.ErrDeadlineExceeded}}, 10
		f.server.ServeHTTP(w, r)
	}))
	defer played.Close()
	c = *f.operator
	c.base = played.URL
	ask(&c, plain.with(408, RequestTimeout, ""))

	for _, fault := range []struct {
		err    error
		status int
		code   query.Code
		field  string
	}{
		{audit.ErrRunning, 409, VerificationRunning, ""},
		{fmt.Errorf("%w: the stream ends", audit.ErrCannotRebuild), 409, CannotRebuild, ""},
		{fmt.Errorf("passed: %w", listing.ErrPruned), 410, query.HistoryPruned, "at"},
		{errors.New("disk"), 500, Internal, ""},
	} {
		play = func(context.Context, *uint64, bool, func(audit.Progress)) (*audit.Report, error) {
			return nil, fault.err
		}
		ask(f.operator, plain.with(fault.status, fault.code, fault.field))
		// The same behind the first line.
		play = func(_ context.Context, _ *uint64, _ bool, progress func(audit.Progress)) (*audit.Report, error) {
			progress(audit.Progress{Check: audit.CheckFiles, Done: 1, Of: 2})
			return nil, fault.err
		}
		progress, last := verifyLines(t, ask(f.operator, plain.with(200, "", "")))
		if p := last.Error; len(progress) != 1 || p == nil || p.Status != fault.status || p.Code != fault.code || p.Detail == "" || p.Type != typePrefix+string(fault.code) {
			t.Errorf("%v: %v, %+v", fault.err, progress, last.Error)
		}
	}
	play = nil
}

// A verification ends when its client leaves, and when the server stops.
func TestVerifyEnds(t *testing.T) {
	began, ended := make(chan struct{}, 2), make(chan error, 2)
	f := newContractFixture(t, func(o *Options) {
		o.Verifier = verifierFunc(func(ctx context.Context, _ *uint64, _ bool, progress func(audit.Progress)) (*audit.Report, error) {
			progress(audit.Progress{Check: audit.CheckFiles})
			began <- struct{}{}
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, ctx.Err()
		})
	})
	f.fill()
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
	}()
	if a, err := f.operator.send(ctx, http.MethodPost, verifyPath, strings.NewReader(`{}`)); err == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() {
		<-began
		f.server.watches.end()
	}()
	_, last := verifyLines(t, f.operator.do(http.MethodPost, verifyPath, `{}`))
	if last.Error == nil || last.Error.Code != query.NotReady {
		t.Errorf("%+v", last)
	}
}
