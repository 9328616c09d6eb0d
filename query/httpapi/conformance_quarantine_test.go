package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// quarantineRoutes are those of the quarantine, with %d for the message.
var quarantineRoutes = []question{
	{method: http.MethodGet, path: quarantinePath},
	{method: http.MethodGet, path: quarantinePath + "/%d"},
	{method: http.MethodGet, path: quarantinePath + "/%d/message"},
	{method: http.MethodPost, path: quarantinePath + "/%d/redrive", body: `{"data":{"usr_id":"u","ent_id":"e"}}`},
	{method: http.MethodPost, path: quarantinePath + "/%d/drop", body: `{"note":"n"}`},
}

func (q question) of(seq uint64) question {
	if strings.Contains(q.path, "%d") {
		q.path = fmt.Sprintf(q.path, seq)
	}
	q.name = fmt.Sprint(q.method, " ", q.path, " ", q.status, " ", q.code)
	return q
}

// with gives the question with what is expected of its answer.
func (q question) with(status int, code query.Code, field string) question {
	q.status, q.code, q.field = status, code, field
	return q
}

func examineQuarantine(t *testing.T, e *exam, _ *contractFixture) {
	f := newContractFixture(t, nil)
	f.fill()
	nobody := *f.client
	nobody.token = ""
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	behindF := newContractFixture(t, func(o *Options) { o.Lag = func(time.Time) query.Lag { return query.Lag{} } })
	broken := newContractFixture(t, func(o *Options) { o.Quarantine = failing{errors.New("disk")} })
	moved := newContractFixture(t, func(o *Options) { o.Quarantine = failing{listing.ErrPruned} })
	broken.fill()
	moved.fill()
	for _, q := range quarantineRoutes {
		seq := f.stub.reject(bad("acme"))
		one := strings.Contains(q.path, "%d")
		ask := func(c *client, q question) {
			t.Helper()
			e.ask(t, c, q.of(seq))
		}
		headers := func(q question, headers ...string) question { q.headers = headers; return q }
		params := func(q question, params string) question { q.path += params; return q }
		illegal := func(q question) question { q.illegal = true; return q }

		ask(&nobody, illegal(q.with(401, Unauthenticated, "")))
		ask(f.writer, q.with(403, RoleForbidden, ""))
		ask(f.admin, headers(q.with(403, TenantForbidden, ""), "Assigndex-Tenant", "other"))
		ask(f.admin, params(q.with(403, TenantForbidden, "unattributed"), "?unattributed=true"))
		ask(f.operator, q.with(400, TenantRequired, "Assigndex-Tenant"))
		ask(f.operator, illegal(headers(q.with(400, InvalidHeader, "Assigndex-Tenant"), "Assigndex-Tenant", "a.b")))
		ask(f.admin, illegal(params(q.with(400, query.UnknownField, "as_of"), "?as_of=1")))
		ask(f.admin, illegal(params(q.with(400, query.InvalidField, "at_least"), "?at_least=-1")))
		ask(f.admin, illegal(params(q.with(400, query.InvalidField, "unattributed"), "?unattributed=false")))
		ask(f.admin, headers(q.with(410, query.StreamChanged, ""), "Assigndex-Stream", "fedcba9876543210"))
		ask(f.admin, params(q.with(503, query.NotReached, ""), "?at_least=1000"))
		ask(untold.admin, q.with(503, query.NotReady, ""))
		ask(behindF.admin, q.with(503, query.NotReady, ""))
		ask(broken.admin, q.with(500, Internal, ""))
		ask(moved.admin, q.with(503, query.NotReached, ""))
		if one {
			e.ask(t, f.admin, q.with(404, NotFound, "").of(1000))
		}
		if q.method == http.MethodPost {
			examineSettling(t, e, f, q, seq)
		}
		if one && q.body == "" && strings.HasSuffix(q.path, "message") {
			f.stub.fails = errors.New("no stream")
			ask(f.admin, q.with(503, StreamUnavailable, ""))
			f.stub.fails = nil
			delete(f.stub.stored, seq)
			ask(f.admin, q.with(410, MessageGone, ""))
			f.stub.stored[seq] = bad("acme")
		}
		ask(f.admin, headers(q.with(200, "", ""), "Assigndex-Stream", incarnation))
	}
	e.ask(t, f.admin, question{name: "one", method: http.MethodGet, path: quarantinePath + "?limit=1&after=0&code=bad_field", status: 200})
	for _, params := range []string{"limit=0", "limit=1001", "limit=x", "after=x", "code=worse", "code=bad_json&code=bad_json"} {
		name, _, _ := strings.Cut(params, "=")
		e.ask(t, f.admin, question{name: params, method: http.MethodGet, path: quarantinePath + "?" + params, status: 400, code: query.InvalidField, field: name, illegal: true})
	}
}

// examineSettling asks for what redrive and drop have in common, and leaves the
// message where it is.
func examineSettling(t *testing.T, e *exam, f *contractFixture, q question, seq uint64) {
	ask := func(c *client, q question) {
		t.Helper()
		e.ask(t, c, q.of(seq))
	}
	body := func(q question, body string, illegal bool) question { q.body, q.illegal = body, illegal; return q }
	f.stub.fails = errors.New("no stream")
	ask(f.admin, q.with(503, StreamUnavailable, ""))
	f.stub.fails = nil
	ask(f.admin, body(q.with(400, query.InvalidJSON, ""), `{`, true))
	ask(f.admin, body(q.with(400, query.UnknownField, "other"), `{"other":1}`, true))
	if strings.HasSuffix(q.path, "drop") {
		ask(f.admin, body(q.with(400, query.InvalidField, "note"), `{"note":7}`, true))
		ask(f.admin, body(q.with(400, query.InvalidField, "note"), `{"note":"`+strings.Repeat("x", 257)+`"}`, true))
	} else {
		ask(f.admin, body(q.with(400, query.InvalidField, "type"), `{"type":7}`, true))
		ask(f.admin, body(q.with(422, NotAnEvent, "ent_id"), ``, false))
		ask(f.admin, body(q.with(422, NotAnEvent, "type"), `{"specversion":"1.0"}`, false))
		delete(f.stub.stored, seq)
		ask(f.admin, body(q.with(410, MessageGone, ""), ``, false))
		f.stub.stored[seq] = bad("acme")
	}
	text := q.with(415, UnsupportedMedia, "Content-Type")
	text.headers, text.illegal = []string{"Content-Type", "text/plain"}, true
	ask(f.admin, text)
	c := *f.admin
	c.http = &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	defer c.http.CloseIdleConnections()
	large := q.with(413, BodyTooLarge, "")
	large.body, large.headers = q.body+strings.Repeat(" ", maxIngestBody), []string{"Expect", "100-continue"}
	ask(&c, large)
	played := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body, r.ContentLength = brokenBody{brokenReader{os.ErrDeadlineExceeded}}, 10
		f.server.ServeHTTP(w, r)
	}))
	defer played.Close()
	c = *f.admin
	c.base = played.URL
	ask(&c, q.with(408, RequestTimeout, ""))
}

var _ Settler = (*stub)(nil)
