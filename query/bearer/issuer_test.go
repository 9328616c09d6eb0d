package bearer

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query/httpapi"
)

const (
	testIssuer   = "https://id.example/"
	testAudience = "assigndex"
)

// start of every test's clock, in whole seconds as the dates of tokens are.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fakeClock goes when a test says so.
type fakeClock struct {
	armed chan time.Duration // gets the length of every timer that is made

	mu     sync.Mutex // guards what follows
	at     time.Time
	timers map[chan time.Time]time.Time
}

func newClock() *fakeClock {
	return &fakeClock{at: begin, timers: make(map[chan time.Time]time.Time), armed: make(chan time.Duration, 1000)}
}

func (c *fakeClock) clock() clock { return clock{now: c.now, timer: c.timer} }

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *fakeClock) timer(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fires := make(chan time.Time, 1)
	c.timers[fires] = c.at.Add(d)
	c.armed <- d
	return fires, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, fires)
	}
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	for fires, due := range c.timers {
		if !due.After(c.at) {
			fires <- c.at
			delete(c.timers, fires)
		}
	}
}

// testKey is a key of the issuer.
type testKey struct {
	id  string
	alg string
	key crypto.Signer
}

var rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newKey makes a key for an algorithm. All RSA keys are the same one.
func newKey(id, alg string) testKey {
	k := testKey{id: id, alg: alg}
	switch alg {
	case "ES256":
		k.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	case "ES384":
		k.key = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	case "ES512":
		k.key = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		k.key = must(private, err)
	default:
		k.key = rsaKey()
	}
	return k
}

// jwk gives the public key as the issuer publishes it, with members set or, by
// nil, removed.
func (k testKey) jwk(set map[string]any) string {
	j := must(jwkset.NewJWKFromKey(k.key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: k.id, USE: jwkset.UseSig}}))
	var members map[string]any
	if err := json.Unmarshal(must(json.Marshal(j.Marshal())), &members); err != nil {
		panic(err)
	}
	merge(members, set)
	return string(must(json.Marshal(members)))
}

func setOf(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

func publish(keys ...testKey) string {
	var list []string
	for _, k := range keys {
		list = append(list, k.jwk(nil))
	}
	return setOf(list...)
}

func merge(members, set map[string]any) {
	maps.Copy(members, set)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
}

// header gives the header of a token by k.
func (k testKey) header(set map[string]any) string {
	members := map[string]any{"alg": k.alg, "kid": k.id, "typ": "JWT"}
	merge(members, set)
	return string(must(json.Marshal(members)))
}

// claimsAt gives the claims of a good token that was made at that time.
func claimsAt(at time.Time, set map[string]any) string {
	members := map[string]any{
		"iss": testIssuer, "aud": testAudience, "sub": "robot", "tenant": "acme",
		"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(time.Hour).Unix(),
	}
	merge(members, set)
	return string(must(json.Marshal(members)))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token of a header and claims as they are.
func (k testKey) sign(header, claims string) string {
	text := encode(header) + "." + encode(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(must(jwt.GetSigningMethod(k.alg).Sign(text, k.key)))
}

// token makes a good token but for what is set in its claims.
func (k testKey) token(set map[string]any) string { return k.sign(k.header(nil), claimsAt(begin, set)) }

// issuer serves keys.
type issuer struct {
	url      string
	requests chan struct{} // gets one for each request that came

	mu     sync.Mutex
	answer http.HandlerFunc
}

func newIssuer(tb testing.TB) *issuer {
	tb.Helper()
	i := &issuer{requests: make(chan struct{}, 100_000)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.requests <- struct{}{}
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		answer(w, r)
	}))
	tb.Cleanup(server.Close)
	i.url = server.URL
	return i
}

func (i *issuer) serve(h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = h
}

// publish makes the issuer answer with a set of keys.
func (i *issuer) publish(set string) {
	i.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set)) })
}

// down makes the issuer break every connection.
func (i *issuer) down() {
	i.serve(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// hang makes the issuer answer with a set only when it is told to.
func (i *issuer) hang(set string) (release func()) {
	held := make(chan struct{})
	i.serve(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
			_, _ = w.Write([]byte(set))
		case <-r.Context().Done():
		}
	})
	return sync.OnceFunc(func() { close(held) })
}

// env is Tokens with an issuer and a clock.
type env struct {
	*Tokens
	tb     testing.TB
	issuer *issuer
	clock  *fakeClock
}

// newEnv makes Tokens that do not run yet. The issuer publishes keys.
func newEnv(tb testing.TB, change func(*Options), keys ...testKey) *env {
	tb.Helper()
	e := &env{tb: tb, issuer: newIssuer(tb), clock: newClock()}
	e.issuer.publish(publish(keys...))
	o := Options{
		JWKSURL: e.issuer.url, Issuer: testIssuer, Audience: testAudience,
		TenantClaim: "tenant", RoleClaim: "role", AdminRole: "admin", WriterRole: "writer", Logger: zerolog.Nop(),
	}
	if change != nil {
		change(&o)
	}
	var err error
	if e.Tokens, err = newTokens(o, e.clock.clock()); err != nil {
		tb.Fatal(err)
	}
	return e
}

// running starts Run, waits for its first attempt, and gives what stops it.
func (e *env) running() (stop func()) {
	e.tb.Helper()
	first := e.nextAttempt()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			e.tb.Errorf("Run: %v", err)
		}
	})
	e.tb.Cleanup(stop)
	<-first.ended
	return stop
}

func newRunning(tb testing.TB, keys ...testKey) *env {
	tb.Helper()
	e := newEnv(tb, nil, keys...)
	e.running()
	return e
}

// nextAttempt gives the attempt that will end next.
func (e *env) nextAttempt() *attempt {
	e.keys.mu.Lock()
	defer e.keys.mu.Unlock()
	return e.keys.next
}

// tick lets the timer of Run fire, waits for the attempt that follows, and gives
// how long the timer ran and how the attempt ended.
func (e *env) tick() (time.Duration, error) {
	next := e.nextAttempt()
	d := <-e.clock.armed
	e.clock.advance(d)
	<-next.ended
	return d, next.err
}

// asked counts the requests to the issuer since it was last called.
func (e *env) asked() int {
	n := 0
	for {
		select {
		case <-e.issuer.requests:
			n++
		default:
			return n
		}
	}
}

func bearing(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// check sends a token and wants an outcome: the error for it, and its count.
func (e *env) check(label, token string, want outcome) httpapi.Caller {
	e.tb.Helper()
	key := fmt.Sprintf("assigndex_token_checks_total{result=%s}", want)
	before := e.gather()[key]
	caller, err := e.Authenticate(e.tb.Context(), bearing(token))
	wantErr := httpapi.ErrBadCredentials
	switch want {
	case accepted:
		wantErr = nil
	case undecided:
		wantErr = httpapi.ErrCannotJudge
	}
	after := e.gather()
	if err != wantErr || after[key] != before+1 {
		e.tb.Errorf("%s: got %+v, %v, want %s; counts: %v", label, caller, err, want, after)
	}
	if err != nil && caller != (httpapi.Caller{}) {
		e.tb.Errorf("%s: a caller comes with the error: %+v", label, caller)
	}
	return caller
}

// gather gives the metrics by name and label.
func (e *env) gather() map[string]float64 {
	e.tb.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(e.Tokens); err != nil {
		e.tb.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		e.tb.Fatal(err)
	}
	values := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetName() + "=" + l.GetValue() + "}"
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// eventually waits for a condition that nothing announces.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			tb.Fatalf("it never came that %s", what)
		}
	}
}
