package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/query"
)

// readyReport is the body of /readyz when it is ready.
type readyReport struct {
	Status       string   `json:"status"`
	Applied      uint64   `json:"applied"`
	Head         *uint64  `json:"head"`
	LagSequences *uint64  `json:"lag_sequences"`
	LagSeconds   float64  `json:"lag_seconds"`
	Troubles     []string `json:"troubles"`
}

// lagged is a lag that a test sets.
type lagged struct {
	mu  sync.Mutex
	lag query.Lag
}

func (l *lagged) set(lag query.Lag) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag = lag
}

func (l *lagged) get(time.Time) query.Lag {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lag
}

func behind(applied, head uint64, age time.Duration) query.Lag {
	return query.Lag{Applied: applied, Head: head, Known: true, Sequences: head - applied, Age: age}
}

func TestReadiness(t *testing.T) {
	lag := &lagged{}
	troubles := []string{"the stream is out of reach"}
	f := newFixture(t, func(o *Options) {
		o.Lag, o.ReadyMaxLag = lag.get, time.Minute
		o.Troubles = func() []string { return troubles }
	})
	f.index.apply("acme", give("u", "e", "a"))
	probe := *f.client
	probe.token = ""
	notReady := func(why string) {
		t.Helper()
		a := probe.do(http.MethodGet, "/readyz", "")
		p := wantProblem(t, a, 503, query.NotReady, "")
		if !strings.Contains(string(p.Rest), `"troubles":["the stream is out of reach"]`) {
			t.Errorf("%s: %s", why, a.body)
		}
		a = f.post(`{}`)
		wantProblem(t, a, 503, query.NotReady, "")
		if a.header.Get("Assigndex-Seq") != "1" {
			t.Errorf("%s: headers %v", why, a.header)
		}
	}
	ready := func(want readyReport) {
		t.Helper()
		a := probe.do(http.MethodGet, "/readyz", "")
		var got readyReport
		if err := json.Unmarshal(a.body, &got, json.RejectUnknownMembers(true)); err != nil || a.status != 200 || a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v %s: %v", a.status, a.header, a.body, err)
		}
		if got.Status != "ready" || got.Applied != want.Applied || got.LagSeconds != want.LagSeconds || !slices.Equal(got.Troubles, want.Troubles) {
			t.Fatalf("%s", a.body)
		}
		if want.Head != nil && (*got.Head != *want.Head || *got.LagSequences != *want.Head-want.Applied) {
			t.Fatalf("%s", a.body)
		}
		f.list(`{}`)
	}
	notReady("the stream was not seen yet")
	lag.set(behind(5, 10, time.Second))
	notReady("behind what was there")
	lag.set(behind(9, 20, time.Second))
	notReady("still behind what was there at first")
	lag.set(behind(10, 30, 5*time.Second))
	ten := uint64(30)
	ready(readyReport{Applied: 10, Head: &ten, LagSeconds: 5, Troubles: troubles})
	lag.set(behind(10, 40, 2*time.Minute))
	a := probe.do(http.MethodGet, "/readyz", "")
	wantProblem(t, a, 503, Lagging, "")
	f.list(`{}`) // requests are answered all the same
	lag.set(query.Lag{Applied: 10})
	troubles = nil
	ready(readyReport{Applied: 10, Troubles: []string{}})
}

// An index with nothing to read is caught up, and one that is not bound to a
// stream answers nothing.
func TestReadinessOfARealIndex(t *testing.T) {
	x := newIndex(t)
	set, tokens := keySet(t, "acme")
	c := newClient(t, serve(t, newServer(t, x.options(set))), tokens["acme"])
	a := c.post(`{}`)
	wantProblem(t, a, 503, query.NotReady, "")
	if a.header.Get("Assigndex-Stream") != "" {
		t.Errorf("headers %v", a.header)
	}
	x.bind().apply("acme", give("u", "e", "a"))
	x.head.Store(3)
	wantProblem(t, c.post(`{}`), 503, query.NotReady, "")
	x.apply("acme", give("u", "e", "a"), give("u", "f", "a"))
	c.list(`{}`)
	if a := c.do(http.MethodGet, "/readyz", ""); a.status != 200 || !strings.Contains(string(a.body), `"applied":3,"head":3,"lag_sequences":0`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
}
