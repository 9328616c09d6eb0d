package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assigndex/assigndex/query/admission"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ingest"
)

// stopping is an index whose listings stop until the test lets them go on.
type stopping struct {
	*hooked
	came chan struct{} // gets one for each listing that stops
	goOn chan struct{} // closed: none does

	release func() // closes goOn; may be called again
}

func stopLists(o *Options) *stopping {
	h := &stopping{hooked: &hooked{Index: o.Index}, came: make(chan struct{}, 100), goOn: make(chan struct{})}
	h.release = sync.OnceFunc(func() { close(h.goOn) })
	h.list = func() {
		select {
		case <-h.goOn:
		default:
			h.came <- struct{}{}
			<-h.goOn
		}
	}
	o.Index = h
	return h
}

// inBackground sends a listing and gives its answer later.
func inBackground(t *testing.T, c *client, body string) <-chan answer {
	t.Helper()
	answers := make(chan answer, 1)
	go func() {
		a, err := c.send(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader(body))
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	return answers
}

// served asks until there is a place: one that becomes free may take a moment to. It
// fails when there is none in as long as hundred requests wait.
func served(t *testing.T, c *client) {
	t.Helper()
	var a answer
	for range 100 {
		if a = c.post(`{}`); a.status == http.StatusOK {
			return
		}
		wantProblem(t, a, 503, Overloaded, "")
	}
	t.Fatalf("no read is served: %d %s", a.status, a.body)
}

func wantRetryAfter(t *testing.T, a answer, want string) {
	t.Helper()
	if got := a.header.Get("Retry-After"); got != want {
		t.Errorf("Retry-After %q, want %q", got, want)
	}
}

// subjects takes the text behind Bearer as the subject of a good token.
type subjects struct{ fixedAuth }

func (subjects) Authenticate(_ context.Context, h http.Header) (Caller, error) {
	name, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return Caller{}, ErrNoCredentials
	}
	return Caller{Name: name, Tenant: "acme", Role: apikey.Reader}, nil
}

// Each key and each subject of a token has a rate of its own.
func TestRateOfEachCaller(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Limits.Caller = admission.Limits{PerSecond: 1e-3, Burst: 2}
		o.Auth = append(o.Auth, subjects{})
	})
	f.index.apply("acme", give("u", "e", "a"))
	nobody := *f.client
	nobody.token = ""
	for _, send := range []func() answer{
		func() answer { return f.post(`{}`) },
		func() answer { return f.as("other").post(`{}`) },
		func() answer { return nobody.post(`{}`, "Authorization", "Bearer ann") },
		func() answer { return nobody.post(`{}`, "Authorization", "Bearer bob") },
	} {
		for range 2 {
			if a := send(); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		a := send()
		wantProblem(t, a, 429, RateLimited, "")
		wantRetryAfter(t, a, "1000")
	}
	// What is refused before the caller is known counts for nobody, and probes do not.
	wantProblem(t, nobody.post(`{}`), 401, Unauthenticated, "")
	for range 5 {
		if a := f.do(http.MethodGet, "/livez", ""); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
}

func TestAtOnceOfEachCaller(t *testing.T) {
	var h *stopping
	f := newFixture(t, func(o *Options) {
		o.Limits.Caller.AtOnce = 2
		h = stopLists(o)
	})
	t.Cleanup(h.release) // before the server is stopped, which waits for the requests
	f.index.apply("acme", give("u", "e", "a"))
	first, watching := inBackground(t, f.client, `{}`), f.follow("")
	if _, err := watching.lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	<-h.came
	a := f.post(`{}`)
	wantProblem(t, a, 429, RateLimited, "")
	wantRetryAfter(t, a, "1")
	other := inBackground(t, f.as("other"), `{}`)
	<-h.came
	h.release()
	for _, answers := range []<-chan answer{first, other} {
		if a := <-answers; a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	f.list(`{}`)
}

// When the places of reads are taken, more are refused and what is no read goes on:
// ingest, probes and metrics, which tell it.
func TestReadsAreShed(t *testing.T) {
	var h *stopping
	f := newIngesting(t, func(o *Options) {
		o.Limits.Reads = 2
		h = stopLists(o)
	})
	t.Cleanup(h.release)
	f.index.apply("acme", give("u", "e", "a"))
	held := []<-chan answer{inBackground(t, f.client, `{}`), inBackground(t, f.client, `{}`)}
	for range held {
		<-h.came
	}
	a := f.post(`{}`)
	wantProblem(t, a, 503, Overloaded, "")
	wantRetryAfter(t, a, "1")
	if a := f.ingest("assignments", `{"action":"upsert","assignments":[{"usr_id":"v","ent_id":"e"}]}`); a.status != 200 {
		t.Errorf("ingest: %d %s", a.status, a.body)
	}
	for _, path := range probes {
		if a := f.do(http.MethodGet, path, "", "X-API-KEY", ""); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	figures := string(f.do(http.MethodGet, "/metrics", "").body)
	for _, figure := range []string{
		`running{limit="reads"} 2`, `running{limit="ingests"} 0`, `running{limit="streams"} 0`, `waiting{limit="reads"} 0`,
		`refused_total{limit="reads"} 1`, `refused_total{limit="ingests"} 0`, `refused_total{limit="caller"} 0`, `refused_total{limit="connections"} 0`, `connections 3`,
	} {
		if !strings.Contains(figures, "\nassigndex_http_"+figure+"\n") {
			t.Errorf("no figure %s in\n%s", figure, figures)
		}
	}
	h.release()
	for _, answers := range held {
		if a := <-answers; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	f.list(`{}`)
}

// When the places of ingest are taken, reads go on.
func TestIngestLeavesReads(t *testing.T) {
	came, goOn := make(chan struct{}), make(chan struct{})
	f := newIngesting(t, func(o *Options) { o.Limits.Ingests = 1 })
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release) // before the server is stopped, which waits for the request
	f.index.apply("acme", give("u", "e", "a"))
	f.stream.fail = func(_ context.Context, all []ingest.Record) (int, error) {
		close(came)
		<-goOn
		return len(all), nil
	}
	done := make(chan answer)
	go func() {
		a, err := f.send(t.Context(), http.MethodPost, ingestPaths[3], strings.NewReader(`{"action":"upsert","assignments":[{"usr_id":"v","ent_id":"e"}]}`))
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	<-came
	if running := f.server.limits.ingests.Running(); running != 1 {
		t.Errorf("%d ingest requests run", running)
	}
	for range 10 {
		f.list(`{}`)
	}
	release()
	if a := <-done; a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// Who waits for a sequence keeps no place from others.
func TestWaitingTakesNoPlace(t *testing.T) {
	const waiters = 5
	waiting, goOn := make(chan struct{}, waiters), make(chan struct{})
	f := newFixture(t, func(o *Options) {
		o.Limits.Reads = 1
		index := o.Index
		o.Index = &hooked{Index: index, wait: func(ctx context.Context, seq uint64) error {
			waiting <- struct{}{}
			<-goOn
			return index.Wait(ctx, seq)
		}}
	})
	f.index.apply("acme", give("u", "e", "a"))
	var held []<-chan answer
	for range waiters {
		held = append(held, inBackground(t, f.client, `{"at_least":2}`))
	}
	for range waiters {
		<-waiting
	}
	f.list(`{}`)
	f.index.apply("acme", give("u", "f", "a"))
	close(goOn)
	for _, answers := range held {
		if a := <-answers; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	wantIdle(t, f.server)
}

// A listing of Semaphor whose reader stalls keeps no read out, and another such
// listing only when there are as many as may be.
func TestStalledStreamLeavesReads(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Limits.Reads = 1
		o.Index = &pieces{Index: o.Index, endless: true}
	})
	f.index.apply("acme", give("u", "e", "a"))
	r := f.request(t, question{method: http.MethodGet, path: semaphorOf("acme")})
	res, err := f.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	served(t, f.client)
	a := f.do(http.MethodGet, semaphorOf("acme"), "")
	wantEnvelope(t, a, 503, "OVERLOADED", "")
	wantRetryAfter(t, a, "1")
	served(t, f.client)
}

// A body that trickles in keeps no place from others.
func TestSlowBodyLeavesReads(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Limits.Reads = 1 })
	f.index.apply("acme", give("u", "e", "a"))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /api/assignments HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{", f.token); err != nil {
		t.Fatal(err)
	}
	for f.server.limits.reads.Running() == 0 { // until it has come in
		runtime.Gosched()
	}
	served(t, f.client)
	if _, err := io.WriteString(conn, "}"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", res, err)
	}
	defer res.Body.Close()
	wantIdle(t, f.server)
}

// wantIdle waits until no request has a place: an answer is there a moment before its
// handler has ended.
func wantIdle(t *testing.T, s *Server) {
	t.Helper()
	for name, p := range map[string]*admission.Pool{"reads": s.limits.reads, "ingests": s.limits.ingests, "streams": s.limits.streams} {
		for p.Running() > 0 || p.Waiting() > 0 {
			if t.Context().Err() != nil {
				t.Fatalf("%s: %d run, %d wait", name, p.Running(), p.Waiting())
			}
			runtime.Gosched()
		}
	}
}

// However requests end, their places come back.
func TestPlacesComeBack(t *testing.T) {
	const atOnce = 3
	f := newIngesting(t, func(o *Options) {
		o.Limits = Limits{Reads: 2, Ingests: 1, Caller: admission.Limits{AtOnce: atOnce}}
		o.MaxWait = time.Millisecond
		lists := make(chan int, 1)
		lists <- 0
		o.Index = &hooked{Index: o.Index, list: func() {
			n := <-lists
			lists <- n + 1
			if n%3 == 0 {
				panic(http.ErrAbortHandler)
			}
		}}
	})
	f.index.apply("acme", give("u", "e", "a"))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	requests := []question{
		{path: listPath, body: `{}`},
		{path: listPath, body: `{"at_least":99}`},
		{path: listPath, body: `{"as_of":"2999-01-01T00:00:00Z"}`},
		{path: listPath, body: `{`},
		{path: listPath, body: strings.Repeat(" ", maxQueryBody+1)},
		{path: semaphorOf("acme"), method: http.MethodGet},
		{path: changesPath + "?since=0", method: http.MethodGet},
		{path: verifySearchPath},
		{path: ingestPaths[3], body: `{"action":"upsert","assignments":[{"usr_id":"v","ent_id":"e"}]}`},
		{path: ingestPaths[3], body: `{"action":"upsert","assignments":[7]}`},
	}
	var storm sync.WaitGroup
	for i := range 8 {
		storm.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 60 {
				q := requests[r.IntN(len(requests))]
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(4) == 0 {
					stop := time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel) // a client that leaves
					defer stop.Stop()
				}
				if q.method == "" {
					q.method = http.MethodPost
				}
				_, _ = f.send(ctx, q.method, q.path, strings.NewReader(q.body)) // whatever comes of it
				cancel()
			}
		})
	}
	storm.Wait()
	wantIdle(t, f.server)
	id, _, err := apikey.Parse(f.token)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < atOnce; { // a handler may be about to end
		if _, taken := f.server.limits.callers.Enter(id, time.Now()); taken {
			n++
		}
		runtime.Gosched()
	}
	if f.server.limits.callers.Refused() == 0 {
		t.Error("the storm never met a limit")
	}
}
