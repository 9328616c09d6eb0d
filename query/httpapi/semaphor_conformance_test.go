package httpapi

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/semaphor"
)

// semaphorForm is the form of Semaphor's refusals. Several codes of ours may be one
// of theirs: each of them must occur.
var semaphorForm = form{
	paths:      []string{semaphorPath},
	components: "Semaphor",
	want: func(tb testing.TB, a answer, status int, code query.Code, field string) {
		tb.Helper()
		wantEnvelope(tb, a, status, semaphor.CodeOf(code), field)
	},
	codes: func(r *openapi3.Response) (codes []string) {
		refusal := r.Content.Get("application/json").Schema.Value.Properties["error"]
		if refusal == nil {
			return nil
		}
		for _, theirs := range enumOf(refusal.Value.Properties["code"]) {
			before := len(codes)
			for ours := range kinds {
				if semaphor.CodeOf(ours) == theirs {
					codes = append(codes, string(ours))
				}
			}
			if len(codes) == before {
				codes = append(codes, theirs) // is none of ours: no answer has it
			}
		}
		return codes
	},
}

func examineSemaphor(t *testing.T, e *exam, f *contractFixture) {
	get := func(c *client, params string, q question) {
		t.Helper()
		q.method, q.path = http.MethodGet, semaphorOf("acme")+params
		q.name = q.path
		e.ask(t, c, q)
	}
	for _, params := range []string{
		"", "?at_least=10", "?at_least=0", "?as_of=10", "?as_of=0010", "?as_of=0", "?as_of=10&at_least=10",
		"?as_of=1970-01-01T00:00:05Z", "?as_of=1970-01-01T02:00:09.999999999%2B02:00", "?as_of=2026-01-01T00:00:00Z",
	} {
		get(f.reader, params, question{status: 200})
	}
	get(f.any, "", question{status: 200})
	get(f.reader, "", question{headers: []string{"Assigndex-Stream", incarnation, "Assigndex-Tenant", "acme"}, status: 200})
	get(f.reader, "?page=1", question{status: 400, code: query.UnknownField, field: "page", illegal: true})
	get(f.reader, "?usr_id=u", question{status: 400, code: query.UnknownField, field: "usr_id", illegal: true})
	get(f.reader, "?as_of=now", question{status: 400, code: query.InvalidField, field: "as_of", illegal: true})
	get(f.reader, "?as_of=", question{status: 400, code: query.InvalidField, field: "as_of", illegal: true})
	get(f.reader, "?at_least=1&at_least=1", question{status: 400, code: query.InvalidField, field: "at_least", illegal: true})
	get(f.reader, "?at_least=-1", question{status: 400, code: query.InvalidField, field: "at_least", illegal: true})
	get(f.reader, "?as_of=1&at_least=2", question{status: 400, code: query.ConflictingFields, field: "at_least"})
	get(f.reader, "", question{headers: []string{"Assigndex-Tenant", "other"}, status: 400, code: InvalidHeader, field: "Assigndex-Tenant"})
	get(f.reader, "", question{headers: []string{"Assigndex-Stream", "fedcba9876543210"}, status: 410, code: query.StreamChanged})
	get(f.reader, "?at_least=1000", question{status: 503, code: query.NotReached})
	forbidden := question{method: http.MethodGet, path: semaphorOf("other"), name: "another project", status: 403, code: TenantForbidden}
	e.ask(t, f.reader, forbidden)
	forbidden.path, forbidden.illegal = semaphorOf("a.b"), true
	e.ask(t, f.any, forbidden)

	nobody := *f.client
	nobody.token = ""
	get(&nobody, "", question{status: 401, code: Unauthenticated, illegal: true})
	nobody.token = "adx_no"
	get(&nobody, "", question{status: 401, code: Unauthenticated})
	powerless := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{fixedAuth{caller: Caller{Tenant: "acme"}}} })
	get(powerless.any, "", question{status: 403, code: RoleForbidden})
	untold := newContractFixture(t, func(o *Options) { o.Auth = []Authenticator{Keys{Set: &apikey.Set{}}} })
	get(untold.reader, "", question{status: 503, code: query.NotReady})
	behind := newContractFixture(t, func(o *Options) { o.Lag = (&lagged{}).get })
	get(behind.reader, "", question{status: 503, code: query.NotReady})

	broken := newContractFixture(t, func(o *Options) {
		o.Index = &hooked{Index: o.Index, wait: func(context.Context, uint64) error { return errors.New("disk") }}
	})
	broken.fill()
	get(broken.reader, "?at_least=1000", question{status: 500, code: Internal})

	history := newContractFixture(t, nil)
	history.fill()
	if err := history.index.st.AdvanceFloor(5); err != nil {
		t.Fatal(err)
	}
	get(history.reader, "?as_of=1", question{status: 410, code: query.HistoryPruned})
	get(history.reader, "?as_of=1970-01-01T00:00:01Z", question{status: 410, code: query.HistoryPruned})
	history.index.head.Store(1000)
	get(history.reader, "?as_of=2026-01-01T00:00:00Z", question{status: 503, code: query.NotReached})
}
