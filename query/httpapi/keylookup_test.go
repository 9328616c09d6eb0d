package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query/apikey"
)

// sourceFunc is a KeySource.
type sourceFunc func(ctx context.Context, id string) (apikey.Key, bool, error)

func (f sourceFunc) Lookup(ctx context.Context, id string) (apikey.Key, bool, error) {
	return f(ctx, id)
}

// storedKeys is a source that holds keys, and counts what it is asked.
type storedKeys struct {
	keys  map[string]apikey.Key
	asked int
}

func (s *storedKeys) Lookup(_ context.Context, id string) (apikey.Key, bool, error) {
	s.asked++
	k, found := s.keys[id]
	return k, found, nil
}

func newStoredKey(tb testing.TB) (apikey.Key, string) {
	tb.Helper()
	k, token, err := apikey.New("late", apikey.Writer, "acme", time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return k, token
}

// lookingUp are keys whose set is loaded and knows none.
func lookingUp(source KeySource) Keys {
	set := &apikey.Set{}
	set.Replace(nil, time.Now())
	return Keys{Set: set, Lookup: NewKeyLookup(source, zerolog.Nop())}
}

func sending(token string) http.Header { return http.Header{headerKey: {token}} }

func TestLookupOpensWhatTheSetDoesNotKnow(t *testing.T) {
	k, token := newStoredKey(t)
	_, stranger := newStoredKey(t)
	source := &storedKeys{keys: map[string]apikey.Key{k.ID: k}}
	keys := lookingUp(source)
	want := Caller{Name: k.ID, Tenant: "acme", Role: apikey.Writer}
	for range 2 {
		if got, err := keys.Authenticate(t.Context(), sending(token)); err != nil || got != want {
			t.Fatalf("a stored key: %+v, %v", got, err)
		}
	}
	// Each request asks: what was found must not outlive a revocation.
	if source.asked != 2 || keys.Set.Len() != 0 {
		t.Fatalf("asked %d times, the set holds %d", source.asked, keys.Set.Len())
	}
	idEnd := len(token) - apikey.SecretLen
	for name, bad := range map[string]string{
		"an unknown id": stranger, "a wrong secret": token[:idEnd] + stranger[idEnd:], "not a token": "adx_" + k.ID,
	} {
		if got, err := keys.Authenticate(t.Context(), sending(bad)); err != ErrBadCredentials || got != (Caller{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if source.asked != 4 {
		t.Errorf("asked %d times: a text that is no token is not worth asking", source.asked)
	}
	delete(source.keys, k.ID)
	if _, err := keys.Authenticate(t.Context(), sending(token)); err != ErrBadCredentials {
		t.Errorf("a revoked key: %v", err)
	}
}

// A source that gives the record of another id must not let its holder in.
func TestLookupBindsTheRecordToTheToken(t *testing.T) {
	k, token := newStoredKey(t)
	keys := lookingUp(sourceFunc(func(context.Context, string) (apikey.Key, bool, error) {
		other := k
		other.ID = "zzzzzzzz"
		return other, true, nil
	}))
	if _, err := keys.Authenticate(t.Context(), sending(token)); err != ErrBadCredentials {
		t.Errorf("got %v", err)
	}
}

func TestLookupIsNotAskedWithoutNeed(t *testing.T) {
	k, token := newStoredKey(t)
	source := &storedKeys{keys: map[string]apikey.Key{k.ID: k}}
	keys := lookingUp(source)
	keys.Set = &apikey.Set{}
	if _, err := keys.Authenticate(t.Context(), sending(token)); err != ErrCannotJudge {
		t.Errorf("before the set is loaded: %v", err)
	}
	keys.Set.Replace([]apikey.Key{k}, time.Now())
	if _, err := keys.Authenticate(t.Context(), sending(token)); err != nil {
		t.Errorf("a known key: %v", err)
	}
	if source.asked != 0 {
		t.Errorf("the source was asked %d times", source.asked)
	}
}

func TestLookupsPerSecondAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, token := newStoredKey(t)
		source := &storedKeys{keys: map[string]apikey.Key{k.ID: k}}
		keys := lookingUp(source)
		opened := func(tries int) (n int) {
			for range tries {
				switch _, err := keys.Authenticate(t.Context(), sending(token)); {
				case err == nil:
					n++
				case errors.Is(err, ErrBadCredentials):
				default:
					t.Fatal(err)
				}
			}
			return n
		}
		if n := opened(3 * lookupBurst); n != lookupBurst || source.asked != lookupBurst {
			t.Fatalf("at once: %d opened, %d asked", n, source.asked)
		}
		<-time.After(time.Second)
		if n := opened(3 * lookupBurst); n != lookupsPerSecond {
			t.Fatalf("a second later: %d opened", n)
		}
		// Over the bound the set still decides.
		keys.Set.Replace([]apikey.Key{k}, time.Now())
		if n := opened(100); n != 100 {
			t.Fatalf("once the set knows it: %d of 100 opened", n)
		}
	})
}

// A source that hangs holds a request for lookupTimeout, and only so many of them
// reach it together.
func TestLookupsWaitForASilentSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, token := newStoredKey(t)
		asked := make(chan struct{}, 2*lookupBurst)
		keys := lookingUp(sourceFunc(func(ctx context.Context, _ string) (apikey.Key, bool, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return apikey.Key{}, false, ctx.Err()
		}))
		began := time.Now()
		results := make(chan error, lookupBurst)
		for range lookupBurst {
			go func() {
				_, err := keys.Authenticate(t.Context(), sending(token))
				results <- err
			}()
		}
		synctest.Wait()
		if len(asked) != lookupsAtOnce || len(results) != 0 {
			t.Errorf("%d reached the source at once, %d did not wait", len(asked), len(results))
		}
		for range lookupBurst {
			if err := <-results; err != ErrBadCredentials {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); took != lookupTimeout {
			t.Errorf("they waited %v", took)
		}
	})
}

// Those that wait have their turn when the ones before them are answered.
func TestLookupsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, token := newStoredKey(t)
		keys := lookingUp(sourceFunc(func(context.Context, string) (apikey.Key, bool, error) {
			<-time.After(100 * time.Millisecond)
			return k, true, nil
		}))
		results := make(chan error, lookupBurst)
		for range lookupBurst {
			go func() {
				_, err := keys.Authenticate(t.Context(), sending(token))
				results <- err
			}()
		}
		for range lookupBurst {
			if err := <-results; err != nil {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestLookupEndsWithItsRequest(t *testing.T) {
	_, token := newStoredKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	keys := lookingUp(nil)
	keys.Lookup = NewKeyLookup(sourceFunc(func(ctx context.Context, _ string) (apikey.Key, bool, error) {
		cancel()
		<-ctx.Done()
		return apikey.Key{}, false, ctx.Err()
	}), zerolog.New(&log))
	if _, err := keys.Authenticate(ctx, sending(token)); err != ErrBadCredentials {
		t.Errorf("got %v", err)
	}
	if log.Len() != 0 {
		t.Errorf("a client that went is logged: %s", log.String())
	}
}

// A source that fails is the server's trouble, and many requests are one line.
func TestFailingLookupsAreLoggedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, token := newStoredKey(t)
		var log strings.Builder
		keys := lookingUp(nil)
		keys.Lookup = NewKeyLookup(sourceFunc(func(context.Context, string) (apikey.Key, bool, error) {
			return apikey.Key{}, false, errors.New("NATS is away")
		}), zerolog.New(&log))
		for lines := 1; lines <= 2; lines++ {
			for range lookupBurst {
				if _, err := keys.Authenticate(t.Context(), sending(token)); err != ErrBadCredentials {
					t.Fatalf("got %v", err)
				}
			}
			if got := strings.Count(log.String(), "NATS is away"); got != lines || strings.Contains(log.String(), token) {
				t.Fatalf("%d lines, want %d: %s", got, lines, log.String())
			}
			<-time.After(lookupWarnEvery)
		}
	})
}
