package bearer

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query/httpapi"
)

func TestNothingIsJudgedBeforeTheFirstKeys(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newEnv(t, nil, k)
	e.check("before Run", k.token(nil), undecided)
	if n := e.asked(); n != 0 {
		t.Errorf("%d requests to the issuer before Run", n)
	}
	e.issuer.down()
	e.running()
	e.check("the issuer is down", k.token(nil), undecided)
	e.check("the issuer is down, a bad token", k.token(map[string]any{"iss": "x"}), undecided)
	e.check("the issuer is down, no token at all", "x", malformed)
	if m := e.gather(); m["assigndex_token_key_fetches_total{result=failed}"] != 1 || len(m) != len(outcomes)+2 {
		t.Errorf("metrics: %v", m)
	}
	// It is asked again, less and less often.
	for _, seconds := range []float64{1, 2, 4, 8, 16, 32, 60, 60} {
		if d, err := e.tick(); d.Seconds() != seconds || err == nil {
			t.Errorf("after a failure it waited %v and got %v, want %v s and an error", d, err, seconds)
		}
		e.check("still down", k.token(nil), undecided)
	}
	e.issuer.publish(publish(k))
	if d, err := e.tick(); d != time.Minute || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
	e.check("up at last", k.sign(k.header(nil), claimsAt(e.clock.now(), nil)), accepted)
	e.issuer.down()
	if d, err := e.tick(); d != refreshEvery || err == nil {
		t.Errorf("got %v, %v", d, err)
	}
	if d, _ := e.tick(); d != minRetry {
		t.Errorf("after a success and a failure it waited %v", d)
	}
}

func TestAStaleSetServes(t *testing.T) {
	k, next := newKey("k", "EdDSA"), newKey("next", "EdDSA")
	e := newRunning(t, k)
	e.issuer.down()
	age := func() float64 { return e.gather()["assigndex_token_keys_age_seconds"] }
	if a := age(); a != 0 {
		t.Errorf("the age at first: %v", a)
	}
	for range 100 {
		if _, err := e.tick(); err == nil {
			t.Fatal("the issuer is not down")
		}
	}
	if a, want := age(), e.clock.now().Sub(begin).Seconds(); a != want || want < 3600 {
		t.Errorf("the age is %v, want %v and more than an hour", a, want)
	}
	fresh := claimsAt(e.clock.now(), nil)
	e.check("a known key", k.sign(k.header(nil), fresh), accepted)
	e.check("a known key's wrong signature", testKey{"k", "EdDSA", next.key}.sign(k.header(nil), fresh), badSignature)
	e.check("a token of the first set's time", k.token(nil), expired)
	// Whether a new key is good cannot be known: that is not the caller's fault.
	e.clock.advance(minRefetch)
	e.check("an unknown key", next.sign(next.header(nil), fresh), undecided)
	e.check("an unknown key, again", next.sign(next.header(nil), fresh), undecided)
	if m := e.gather(); m["assigndex_token_keys"] != 1 {
		t.Errorf("metrics: %v", m)
	}
}

func TestRotation(t *testing.T) {
	old, mid, next := newKey("old", "EdDSA"), newKey("mid", "RS256"), newKey("next", "ES256")
	e := newRunning(t, old)
	e.check("the old key", old.token(nil), accepted)
	e.check("the next key, too early", next.token(nil), unknownKey)
	if n := e.asked(); n != 1 {
		t.Errorf("%d requests, want the first one only", n)
	}

	e.issuer.publish(publish(mid, next))
	e.clock.advance(minRefetch)
	e.check("the next key, on demand", next.token(nil), accepted)
	if n := e.asked(); n != 1 {
		t.Errorf("%d requests for the next key, want 1", n)
	}
	e.check("the other new key", mid.token(nil), accepted)
	e.check("the old key, which is gone", old.token(nil), unknownKey)
	if n := e.asked(); n != 0 {
		t.Errorf("%d requests too many", n)
	}

	// A key that is taken back goes with the next refresh, though nobody asks for
	// a new one; and with it what it opened before.
	e.issuer.publish(publish(next))
	<-e.clock.armed // of the wait that the demand cut short
	e.check("a key that was taken back meanwhile", mid.token(nil), accepted)
	if d, err := e.tick(); d != refreshEvery || err != nil {
		t.Errorf("got %v, %v", d, err)
	}
	e.check("a key that was taken back", mid.token(nil), unknownKey)
	e.check("a key that stayed", next.token(nil), accepted)

	// The same id, another key.
	again := newKey("next", "ES256")
	e.issuer.publish(publish(again))
	if _, err := e.tick(); err != nil {
		t.Fatal(err)
	}
	e.check("the key that was replaced", next.token(nil), badSignature)
	e.check("its replacement", again.token(nil), accepted)

	// All keys taken back is an answer too.
	e.issuer.publish(setOf())
	if _, err := e.tick(); err != nil {
		t.Fatal(err)
	}
	e.check("of no keys", again.token(nil), unknownKey)
}

// Who finds that somebody else has had the newer keys meanwhile takes those.
func TestRenewalByAnother(t *testing.T) {
	k, next := newKey("k", "EdDSA"), newKey("next", "EdDSA")
	e := newRunning(t, k)
	old := e.keys.current()
	e.issuer.publish(publish(next))
	if _, err := e.tick(); err != nil {
		t.Fatal(err)
	}
	e.asked()
	e.clock.advance(minRefetch)
	if got, err := e.keys.renew(t.Context(), old); got == old || got != e.keys.current() || err != nil {
		t.Errorf("got %p, %v; the old set is %p", got, err, old)
	}
	if n := e.asked(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// However many unknown keys are named, the issuer is asked once in a while.
func TestAFloodOfUnknownKeys(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	token := func(i int) string {
		id := fmt.Sprintf("random-%d", i)
		return k.sign(k.header(map[string]any{"kid": id}), claimsAt(begin, nil))
	}
	e.asked()
	for round := range 3 {
		for i := range 500 {
			e.check("right after an answer", token(1000*round+i), unknownKey)
		}
		if n := e.asked(); n != 0 {
			t.Errorf("round %d: %d requests right after an answer", round, n)
		}
		e.clock.advance(minRefetch)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := e.Authenticate(t.Context(), bearing(token(1000*round+500+i))); err != httpapi.ErrBadCredentials {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if n := e.asked(); n != 1 {
			t.Errorf("round %d: %d requests, want 1", round, n)
		}
		e.check("a known key", k.token(nil), accepted)
	}
}

// Only a token that is good but for its key is worth a request.
func TestBadTokensDoNotAskTheIssuer(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	e.asked()
	e.clock.advance(minRefetch)
	unknown := func(header, claims map[string]any) string {
		h := map[string]any{"kid": "unknown"}
		merge(h, header)
		return k.sign(k.header(h), claimsAt(begin, claims))
	}
	e.check("expired", unknown(nil, map[string]any{"exp": begin.Add(-time.Hour).Unix()}), expired)
	e.check("not yet valid", unknown(nil, map[string]any{"nbf": begin.Add(time.Hour).Unix()}), notYetValid)
	e.check("another issuer", unknown(nil, map[string]any{"iss": "x"}), wrongIssuer)
	e.check("another audience", unknown(nil, map[string]any{"aud": "x"}), wrongAudience)
	e.check("no tenant", unknown(nil, map[string]any{"tenant": nil}), badTenant)
	e.check("another type", unknown(map[string]any{"typ": "secevent+jwt"}, nil), malformed)
	e.check("another algorithm", unknown(map[string]any{"alg": "none"}, nil), badAlgorithm)
	if n := e.asked(); n != 0 {
		t.Errorf("%d requests", n)
	}
	e.check("in order", unknown(nil, nil), unknownKey)
	if n := e.asked(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// While the issuer takes its time, only who needs a new key waits, and not too
// many of them.
func TestAnIssuerThatHangs(t *testing.T) {
	k, next := newKey("k", "EdDSA"), newKey("next", "EdDSA")
	e := newRunning(t, k)
	release := e.issuer.hang(publish(k, next))
	e.clock.advance(minRefetch)
	results := make(chan error, maxWaiting)
	for range maxWaiting {
		go func() {
			_, err := e.Authenticate(t.Context(), bearing(next.token(nil)))
			results <- err
		}()
	}
	eventually(t, "all wait", func() bool { return e.waiting() == maxWaiting })
	e.check("one too many", next.token(nil), undecided)
	e.check("a known key", k.token(nil), accepted)
	e.check("a token that is bad", k.token(map[string]any{"aud": "x"}), wrongAudience)
	release()
	for range maxWaiting {
		if err := <-results; err != nil {
			t.Errorf("one that waited got %v", err)
		}
	}
	e.check("the next key", next.token(nil), accepted)
	if n := e.waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

func (e *env) waiting() int {
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	return e.keys.waiting
}

// Run's end releases who waits, and ends the request to the issuer.
func TestRunEndsAtOnce(t *testing.T) {
	k, next := newKey("k", "EdDSA"), newKey("next", "EdDSA")
	e := newEnv(t, nil, k)
	stop := e.running()
	release := e.issuer.hang(publish(k, next))
	defer release()
	e.clock.advance(minRefetch)
	result := make(chan error, 1)
	go func() {
		_, err := e.Authenticate(t.Context(), bearing(next.token(nil)))
		result <- err
	}()
	<-e.issuer.requests // of the start
	<-e.issuer.requests // the one that hangs
	stop()
	if err := <-result; err != httpapi.ErrCannotJudge {
		t.Errorf("got %v", err)
	}
	e.check("a known key, after Run", k.token(nil), accepted)
	e.clock.advance(minRefetch)
	e.check("another key, after Run", next.token(nil), undecided)
	if m := e.gather(); m["assigndex_token_key_fetches_total{result=failed}"] != 0 {
		t.Errorf("an end counts as a failure: %v", m)
	}
	// And it can begin again.
	release()
	e.running()
	e.check("another key, in the next Run", next.token(nil), accepted)
}

// A client that went takes no place among those that wait.
func TestRenewalEndsWithItsRequest(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newEnv(t, nil, k)
	e.running()()
	e.clock.advance(minRefetch)
	e.keys.start() // of a Run that never begins what is asked for
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := e.keys.renew(ctx, e.keys.current())
		ended <- err
	}()
	eventually(t, "one waits", func() bool { return e.waiting() == 1 })
	cancel()
	if err := <-ended; err != errAway || e.waiting() != 0 {
		t.Errorf("got %v, %d wait", err, e.waiting())
	}
}

// A demand that Run's end overtook must not hold up the next Run.
func TestADemandThatWasNeverBegun(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newEnv(t, nil, k)
	e.running()()
	e.clock.advance(minRefetch)
	e.keys.start() // a Run that ends before it sees the demand
	ended := make(chan error, 1)
	go func() {
		_, err := e.keys.renew(t.Context(), e.keys.current())
		ended <- err
	}()
	eventually(t, "one waits", func() bool { return e.waiting() == 1 })
	e.keys.stop()
	if err := <-ended; err != errAway {
		t.Errorf("got %v", err)
	}
	e.keys.start()
	a, err := e.keys.ask(e.keys.current())
	if a == nil || err != nil {
		t.Errorf("the next demand got %v, %v", a, err)
	}
	if err := e.keys.try(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-a.ended:
	default:
		t.Error("the first attempt is not the one that was asked for")
	}
	if len(e.keys.wake) != 0 {
		t.Error("the demand that was met would cause another attempt")
	}
}

// What is no set of keys leaves the last set as it is.
func TestAnswersThatAreRefused(t *testing.T) {
	k, evil := newKey("k", "EdDSA"), newKey("k", "EdDSA")
	var log bytes.Buffer
	e := newEnv(t, func(o *Options) {
		o.JWKSURL += "/?secret=hunter2"
		o.Logger = zerolog.New(&log)
	}, k)
	e.running()
	redirected := newIssuer(t)
	redirected.publish(publish(evil))
	text := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	set := publish(evil)
	for _, c := range []struct {
		label  string
		answer http.HandlerFunc
		want   string
	}{
		{"an error", text(500, set), "the answer has status 500"},
		{"not found", text(404, set), "the answer has status 404"},
		{"another success", text(203, set), "the answer has status 203"},
		{"a page", text(200, "<html>hunter2</html>"), errNoSet.Error()},
		{"no keys at all", text(200, "{}"), errNoSet.Error()},
		{"an answer without end", func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[],"x":"`))
			for r.Context().Err() == nil {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10))
			}
		}, "the answer is longer than 1048576 bytes"},
		{"a header without end", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 2*maxAnswerHeader))
			_, _ = w.Write([]byte(set))
		}, "server response headers exceeded 65536 bytes"},
		{"half an answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write([]byte(set))
		}, "read the answer: unexpected EOF"},
		{"a redirection", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, redirected.url, http.StatusFound)
		}, "the answer has status 302"},
	} {
		e.issuer.serve(c.answer)
		log.Reset()
		if _, err := e.tick(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.label, err, c.want)
		}
		if !strings.Contains(log.String(), c.want) || strings.Contains(log.String(), "hunter2") {
			t.Errorf("%s: the log says %s", c.label, &log)
		}
		e.check(c.label, k.token(nil), accepted)
		if _, err := e.tick(); err == nil {
			t.Errorf("%s: no error the second time", c.label)
		}
		e.issuer.publish(publish(k))
		if _, err := e.tick(); err != nil {
			t.Fatal(err)
		}
	}
	if len(redirected.requests) != 0 {
		t.Error("a redirection was followed")
	}
	e.issuer.down()
	log.Reset()
	if _, err := e.tick(); err == nil || strings.Contains(err.Error()+log.String(), "hunter2") {
		t.Errorf("got %v, log %s", err, &log)
	}
}

// An answer that takes too long is given up; a reader must not wait for longer.
func TestTheRequestHasALimit(t *testing.T) {
	asked := make(chan time.Duration, 1)
	i := newIssuer(t)
	i.publish(setOf())
	f := must(newFetcher(i.url))
	f.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		deadline, ok := r.Context().Deadline()
		if !ok {
			t.Error("no deadline")
		}
		asked <- time.Until(deadline)
		return nil, context.DeadlineExceeded
	})
	if _, err := f.get(context.Background()); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	if left := <-asked; left > fetchTimeout || left <= 0 {
		t.Errorf("the limit is %v", left)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What tokens hold must not reach the log, whatever is wrong with them.
func TestTheLogHoldsNoToken(t *testing.T) {
	k := newKey("k", "EdDSA")
	var log bytes.Buffer
	e := newEnv(t, func(o *Options) { o.Logger = zerolog.New(&log) })
	e.issuer.publish(setOf(k.jwk(nil), `{"kty":"oct","kid":"hunter2","k":"hunter2"}`))
	e.running()
	if !strings.Contains(log.String(), `"key 2 of the set cannot be used: not a public key that is understood"`) {
		t.Errorf("a key that is left out is not told: %s", &log)
	}
	for _, token := range []string{
		k.sign(k.header(map[string]any{"kid": "hunter2"}), claimsAt(begin, nil)),
		k.sign(k.header(map[string]any{"alg": "hunter2"}), claimsAt(begin, nil)),
		k.sign(k.header(map[string]any{"typ": "hunter2"}), claimsAt(begin, nil)),
		k.sign(k.header(nil), `{"hunter2":1,"hunter2":2}`),
		k.token(map[string]any{"iss": "hunter2"}), k.token(map[string]any{"tenant": "hunter2!"}), k.token(map[string]any{"exp": "hunter2"}),
		"hunter2", k.token(nil) + "hunter2",
	} {
		if _, err := e.Authenticate(t.Context(), bearing(token)); err != httpapi.ErrBadCredentials {
			t.Errorf("got %v", err)
		}
	}
	if n := strings.Count(log.String(), `"reason"`); n != 9 || strings.Contains(log.String(), "hunter2") {
		t.Errorf("%d reasons: %s", n, &log)
	}
}
