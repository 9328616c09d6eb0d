package bearer

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/httpapi"
)

// emptyIndex is all that a request needs that is refused for the type of its body.
type emptyIndex struct{ query.Index }

func (emptyIndex) Applied() (uint64, string) { return 0, "" }

// What the server answers to tokens, beside API keys. Requests that are let in
// are told apart by the type of their body, which is refused next.
func TestOverHTTP(t *testing.T) {
	k := newKey("k", "ES256")
	e := newEnv(t, nil, k)
	known := new(apikey.Set)
	key, secret, err := apikey.New("a", apikey.Reader, "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	known.Replace([]apikey.Key{key}, time.Now())
	server, err := httpapi.New(httpapi.Options{
		Index: emptyIndex{}, Lag: func(time.Time) query.Lag { return query.Lag{Known: true} },
		Auth: []httpapi.Authenticator{httpapi.Keys{Set: known}, e.Tokens}, MaxPageSize: 10,
		Registry: prometheus.NewRegistry(), Logger: zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	const admitted = http.StatusUnsupportedMediaType
	send := func(label string, want int, headers ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "text/plain")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: got %d %s, want %d", label, w.Code, w.Body, want)
		}
		return w
	}
	token, all := "Bearer "+k.token(nil), "Bearer "+k.token(map[string]any{"tenant": "*", "role": "admin"})

	e.issuer.down()
	e.running()
	if w := send("before the first keys", http.StatusServiceUnavailable, "Authorization", token); w.Header().Get("Retry-After") == "" {
		t.Error("a 503 without Retry-After")
	}
	send("an API key before the first keys", admitted, "X-API-KEY", secret)
	e.issuer.publish(publish(k))
	if _, err := e.tick(); err != nil {
		t.Fatal(err)
	}

	send("a token", admitted, "Authorization", token)
	send("a token of its tenant", admitted, "Authorization", token, "Assigndex-Tenant", "acme")
	send("a token of another tenant", http.StatusForbidden, "Authorization", token, "Assigndex-Tenant", "other")
	send("a token for all, without a tenant", http.StatusBadRequest, "Authorization", all)
	send("a token for all", admitted, "Authorization", all, "Assigndex-Tenant", "other")
	w := send("a bad token", http.StatusUnauthorized, "Authorization", token+"x")
	if want := `Bearer realm="assigndex"`; !slices.Contains(w.Header().Values("WWW-Authenticate"), want) {
		t.Errorf("the challenges are %q", w.Header().Values("WWW-Authenticate"))
	}
	send("nothing", http.StatusUnauthorized)
	send("another scheme", http.StatusUnauthorized, "Authorization", "Basic eDp5")
	// The API key decides when there are both.
	send("both", admitted, "Authorization", token, "X-API-KEY", secret)
	send("an API key and a bad token", admitted, "Authorization", "Bearer x", "X-API-KEY", secret)
	send("a bad API key and a token", http.StatusUnauthorized, "Authorization", token, "X-API-KEY", secret+"x")
}
