package bearer

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/httpapi"
)

func TestEveryAlgorithm(t *testing.T) {
	var keys []testKey
	for _, alg := range algorithms {
		keys = append(keys, newKey("key-"+alg, alg))
	}
	e := newRunning(t, keys...)
	for i, k := range keys {
		caller := e.check(k.alg, k.token(nil), accepted)
		if want := (httpapi.Caller{Name: "token of robot", Tenant: "acme", Role: apikey.Reader}); caller != want {
			t.Errorf("%s: got %+v, want %+v", k.alg, caller, want)
		}
		// Signed by another key, or changed after it was signed.
		other := newKey(k.id, k.alg)
		if strings.HasPrefix(k.alg, "E") {
			e.check(k.alg+" by another key", other.token(nil), badSignature)
		}
		parts := strings.Split(k.token(nil), ".")
		e.check(k.alg+" with other claims", parts[0]+"."+encode(claimsAt(begin, map[string]any{"tenant": "other"}))+"."+parts[2], badSignature)
		e.check(k.alg+" without a signature", parts[0]+"."+parts[1]+".", badSignature)
		// Signed well, but by the key of another id.
		next := keys[(i+1)%len(keys)]
		moved := k.sign(k.header(map[string]any{"kid": next.id}), claimsAt(begin, nil))
		_, err := e.Authenticate(t.Context(), bearing(moved))
		if sameKind := k.alg[:2] == "RS" && next.alg[:1] != "E" || k.alg[:2] == "PS" && next.alg[:2] == "PS"; sameKind {
			if err != nil { // one RSA key serves for all its algorithms, since the set does not bind it to one
				t.Errorf("%s by the key for %s: %v", k.alg, next.alg, err)
			}
		} else if err != httpapi.ErrBadCredentials {
			t.Errorf("%s by the key for %s: %v", k.alg, next.alg, err)
		}
	}
}

func TestTimes(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	at := func(d time.Duration) int64 { return begin.Add(d).Unix() }
	for _, c := range []struct {
		label string
		set   map[string]any
		want  outcome
	}{
		{"in order", nil, accepted},
		{"expired", map[string]any{"exp": at(-time.Minute)}, expired},
		{"expired at the end of the leeway", map[string]any{"exp": at(-leeway)}, expired},
		{"expired inside the leeway", map[string]any{"exp": at(-leeway + time.Second)}, accepted},
		{"no expiry", map[string]any{"exp": nil}, malformed},
		{"an expiry of 0", map[string]any{"exp": 0}, expired},
		{"an expiry that is text", map[string]any{"exp": "2100-01-01"}, malformed},
		{"an expiry that is no date", map[string]any{"exp": 1e300}, malformed},
		{"an expiry before 1970", map[string]any{"exp": -1}, malformed},
		{"an expiry with a fraction", map[string]any{"exp": float64(at(time.Hour)) + 0.5}, accepted},
		{"not yet valid", map[string]any{"nbf": at(time.Minute)}, notYetValid},
		{"valid in the leeway", map[string]any{"nbf": at(leeway)}, accepted},
		{"valid a second later", map[string]any{"nbf": at(leeway + time.Second)}, notYetValid},
		{"a start that is text", map[string]any{"nbf": "0"}, malformed},
		{"no start and no issue", map[string]any{"nbf": nil, "iat": nil}, accepted},
		{"issued in the future", map[string]any{"iat": at(leeway + time.Second), "nbf": nil}, notYetValid},
		{"issued in the leeway", map[string]any{"iat": at(leeway), "nbf": nil}, accepted},
		{"issued at no date", map[string]any{"iat": []int{1}}, malformed},
	} {
		e.check(c.label, k.token(c.set), c.want)
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		null := strings.Replace(claimsAt(begin, map[string]any{name: nil}), "{", `{"`+name+`":null,`, 1)
		e.check("null as "+name, k.sign(k.header(nil), null), malformed)
	}
}

func TestIssuerAndAudience(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	for _, c := range []struct {
		label string
		set   map[string]any
		want  outcome
	}{
		{"another issuer", map[string]any{"iss": "https://evil.example/"}, wrongIssuer},
		{"the issuer without its slash", map[string]any{"iss": strings.TrimRight(testIssuer, "/")}, wrongIssuer},
		{"the issuer in another case", map[string]any{"iss": strings.ToUpper(testIssuer)}, wrongIssuer},
		{"no issuer", map[string]any{"iss": nil}, malformed},
		{"two issuers", map[string]any{"iss": []string{testIssuer, "x"}}, malformed},
		{"another audience", map[string]any{"aud": "billing"}, wrongAudience},
		{"a part of the audience", map[string]any{"aud": "assign"}, wrongAudience},
		{"one of several audiences", map[string]any{"aud": []string{"billing", testAudience}}, accepted},
		{"none of several audiences", map[string]any{"aud": []string{"billing", "assigndex2"}}, wrongAudience},
		{"audiences in one text", map[string]any{"aud": "billing " + testAudience}, wrongAudience},
		{"no audience", map[string]any{"aud": nil}, malformed},
		{"an empty list of audiences", map[string]any{"aud": []string{}}, malformed},
		{"a list that holds more than text", map[string]any{"aud": []any{testAudience, 1}}, malformed},
		{"an object as audience", map[string]any{"aud": map[string]any{testAudience: true}}, malformed},
	} {
		e.check(c.label, k.token(c.set), c.want)
	}
}

func TestTenantAndRole(t *testing.T) {
	k := newKey("k", "EdDSA")
	type object = map[string]any
	for _, c := range []struct {
		label  string
		claims object
		change func(*Options)
		tenant string // empty: refused
		role   apikey.Role
	}{
		{"reader by default", object{}, nil, "acme", apikey.Reader},
		{"no tenant", object{"tenant": nil}, nil, "", 0},
		{"an empty tenant", object{"tenant": ""}, nil, "", 0},
		{"a tenant that is no name", object{"tenant": "a.b"}, nil, "", 0},
		{"a tenant that is a number", object{"tenant": 7}, nil, "", 0},
		{"several tenants", object{"tenant": []string{"acme"}}, nil, "", 0},
		{"the tenant in another case", object{"tenant": nil, "Tenant": "acme"}, nil, "", 0},
		{"all tenants, a reader", object{"tenant": "*"}, nil, "", 0},
		{"all tenants, a writer", object{"tenant": "*", "role": "writer"}, nil, "", 0},
		{"all tenants, an admin", object{"tenant": "*", "role": "admin"}, nil, apikey.AllTenants, apikey.Admin},

		{"a writer", object{"role": "writer"}, nil, "acme", apikey.Writer},
		{"an admin", object{"role": "admin"}, nil, "acme", apikey.Admin},
		{"an admin in a list", object{"role": []any{"x", 1, "admin", "writer"}}, nil, "acme", apikey.Admin},
		{"a writer in a list", object{"role": []any{"x", "writer"}}, nil, "acme", apikey.Writer},
		{"another role", object{"role": "administrator"}, nil, "acme", apikey.Reader},
		{"a role in another case", object{"role": "Admin"}, nil, "acme", apikey.Reader},
		{"roles in one text", object{"role": "no admin"}, nil, "acme", apikey.Reader},
		{"an empty role", object{"role": ""}, nil, "acme", apikey.Reader},
		{"a role that is an object", object{"role": object{"admin": true}}, nil, "acme", apikey.Reader},
		{"true, where admin is meant", object{"role": true}, nil, "acme", apikey.Reader},

		{"an empty role, and no name for admins", object{"role": ""}, func(o *Options) { o.AdminRole, o.WriterRole = "", "" }, "acme", apikey.Reader},
		{"no role claim", object{"role": "admin", "": "admin"}, func(o *Options) { o.RoleClaim = "" }, "acme", apikey.Reader},
		{
			"a switch", object{"is_admin": true},
			func(o *Options) { o.RoleClaim, o.AdminRole = "is_admin", "true" }, "acme", apikey.Admin,
		},
		{
			"a switch that is off", object{"is_admin": false},
			func(o *Options) { o.RoleClaim, o.AdminRole = "is_admin", "true" }, "acme", apikey.Reader,
		},
		{
			"scopes", object{"scope": "openid index:admin"},
			func(o *Options) { o.RoleClaim, o.AdminRole = "scope", "index:admin" }, "acme", apikey.Admin,
		},
		{
			"inside of objects", object{"tenant": nil, "org": object{"id": "o1"}, "realm_access": object{"roles": []string{"writer"}}},
			func(o *Options) { o.TenantClaim, o.RoleClaim = "org.id", "realm_access.roles" }, "o1", apikey.Writer,
		},
		{
			"names with dots", object{
				"https://acme.example/tenant": "o1",
				"resource_access":             object{"my.client": object{"roles": []string{"admin"}}, "my": object{"client": object{"roles": "x"}}},
			},
			func(o *Options) {
				o.TenantClaim, o.RoleClaim = "https://acme.example/tenant", "resource_access.my.client.roles"
			}, "o1", apikey.Admin,
		},
		{
			"a path that ends early", object{"tenant": nil, "org": "o1"},
			func(o *Options) { o.TenantClaim = "org.id" }, "", 0,
		},
	} {
		e := newEnv(t, c.change, k)
		e.running()
		if c.tenant == "" {
			e.check(c.label, k.token(c.claims), badTenant)
			continue
		}
		caller := e.check(c.label, k.token(c.claims), accepted)
		if caller.Tenant != c.tenant || caller.Role != c.role {
			t.Errorf("%s: got %+v", c.label, caller)
		}
	}
}

func TestNameOfTheCaller(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	for subject, want := range map[any]string{
		"Ада 7": "token of Ада 7", "": "token", "a\nb": "token", "\x1b[31m": "token", 7: "token",
		strings.Repeat("s", maxNameBytes+1): "token",
	} {
		if got := e.check("subject", k.token(map[string]any{"sub": subject}), accepted).Name; got != want {
			t.Errorf("subject %q: got %q, want %q", subject, got, want)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	good := k.token(nil)
	for _, c := range []struct {
		label  string
		values []string
		want   error
	}{
		{"none", nil, httpapi.ErrNoCredentials},
		{"empty", []string{""}, httpapi.ErrNoCredentials},
		{"another scheme", []string{"Basic " + good}, httpapi.ErrNoCredentials},
		{"no scheme", []string{good}, httpapi.ErrNoCredentials},
		{"a longer scheme", []string{"Bearers " + good}, httpapi.ErrNoCredentials},
		{"a tab behind the scheme", []string{"Bearer\t" + good}, httpapi.ErrNoCredentials},
		{"in order", []string{"Bearer " + good}, nil},
		{"the scheme in another case", []string{"bEARER " + good}, nil},
		{"two spaces", []string{"Bearer  " + good}, nil},
		{"no token", []string{"Bearer"}, httpapi.ErrBadCredentials},
		{"an empty token", []string{"Bearer "}, httpapi.ErrBadCredentials},
		{"something behind it", []string{"Bearer " + good + " x"}, httpapi.ErrBadCredentials},
		{"two of them", []string{"Bearer " + good, "Bearer " + good}, httpapi.ErrBadCredentials},
		{"one beside another scheme", []string{"Basic x", "Bearer " + good}, httpapi.ErrBadCredentials},
		{"two in one", []string{"Bearer " + good + ", Bearer " + good}, httpapi.ErrBadCredentials},
	} {
		if _, err := e.Authenticate(t.Context(), http.Header{"Authorization": c.values}); err != c.want {
			t.Errorf("%s: got %v, want %v", c.label, err, c.want)
		}
	}
	// A token elsewhere is none: it would end in logs.
	if _, err := e.Authenticate(t.Context(), http.Header{"X-Api-Key": {good}, "Access_token": {good}}); err != httpapi.ErrNoCredentials {
		t.Errorf("in other headers: %v", err)
	}
}

func TestByTheSystemsClock(t *testing.T) {
	k := newKey("k", "EdDSA")
	i := newIssuer(t)
	i.publish(publish(k))
	tokens, err := New(Options{JWKSURL: i.url, Issuer: testIssuer, Audience: testAudience, TenantClaim: "tenant", Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tokens.Run(ctx) }()
	good := bearing(k.sign(k.header(nil), claimsAt(time.Now(), nil)))
	eventually(t, "a token is accepted", func() bool {
		_, err := tokens.Authenticate(t.Context(), good)
		return err == nil
	})
	if _, err := tokens.Authenticate(t.Context(), bearing(k.sign(k.header(nil), claimsAt(time.Now().Add(-2*time.Hour), nil)))); err != httpapi.ErrBadCredentials {
		t.Errorf("an expired one: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNewRefusesOptions(t *testing.T) {
	good := Options{JWKSURL: "https://id.example/keys", Issuer: "i", Audience: "a", TenantClaim: "t"}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	const (
		noHost  = "the JWKS URL is not a URL with a host"
		plain   = "the JWKS URL must be https, but on this machine"
		hasUser = "the JWKS URL must not hold a user name or a password"
	)
	jwks := func(u string) func(*Options) { return func(o *Options) { o.JWKSURL = u } }
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Issuer = "" }, "the issuer is missing"},
		{func(o *Options) { o.Audience = "" }, "the audience is missing"},
		{func(o *Options) { o.TenantClaim = "" }, "the name of the tenant claim is missing"},
		{jwks(""), noHost},
		{jwks("keys"), noHost},
		{jwks("https://u:hunter\x7f@h"), noHost},
		{jwks("http://id.example"), plain},
		{jwks("http://127.0.0.1.example/"), plain},
		{jwks("http://10.0.0.1/"), plain},
		{jwks("file://localhost/keys"), plain},
		{jwks("https://u:hunter2@id.example"), hasUser},
		{jwks("http://u@127.0.0.1"), hasUser},
	} {
		o := good
		c.change(&o)
		if _, err := New(o); err == nil || err.Error() != "bearer tokens: "+c.want {
			t.Errorf("%+v: got %v, want %s", o, err, c.want)
		}
	}
	for _, u := range []string{"http://127.0.0.1:1/keys", "http://[::1]/", "http://localhost/k?p=1", "https://id.example"} {
		o := good
		o.JWKSURL = u
		if _, err := New(o); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}
