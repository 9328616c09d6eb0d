package httpapi

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/assigndex/assigndex/query/admission"
)

// limitedRoutes are those that need a role, each with a request that is good
// otherwise.
func limitedRoutes(seq uint64) []question {
	all := slices.Clone(withCredentials)
	for _, q := range quarantineRoutes {
		all = append(all, q.of(seq))
	}
	return append(all, question{method: http.MethodGet, path: semaphorOf("acme")})
}

// full is a pool that takes nobody.
func full(tb testing.TB) *admission.Pool {
	tb.Helper()
	p := admission.NewPool(1, 0, 0)
	if err := p.Enter(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return p
}

// examineLimits asks a server that has as much to do as it takes, and one that takes
// a request of each caller and no more.
func examineLimits(t *testing.T, e *exam, _ *contractFixture) {
	busy := newContractFixture(t, nil)
	busy.fill()
	taken := full(t)
	for s, pools := range busy.server.limits.bySort {
		for i := range pools {
			busy.server.limits.bySort[s][i] = taken
		}
	}
	strict := newContractFixture(t, func(o *Options) { o.Limits.Caller = admission.Limits{PerSecond: 1e-3, Burst: 1} })
	strict.fill()
	strict.list(`{}`, "X-API-KEY", strict.admin.token)
	for _, q := range limitedRoutes(1) {
		q.status, q.code = http.StatusTooManyRequests, RateLimited
		q.name = fmt.Sprint(q.path, " ", q.code)
		if a := e.ask(t, strict.admin, q); a.header.Get("Retry-After") != "1000" {
			t.Errorf("%s: Retry-After %q", q.name, a.header.Get("Retry-After"))
		}
		if q.path == watchPath {
			continue // is no work by itself, and has a limit of its own
		}
		q.status, q.code = http.StatusServiceUnavailable, Overloaded
		q.name = fmt.Sprint(q.path, " ", q.code)
		if a := e.ask(t, busy.admin, q); a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After %q", q.name, a.header.Get("Retry-After"))
		}
	}
}
