package bearer

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// signHMAC signs with what everybody knows, as if it were a secret.
func signHMAC(alg, header, claims string, secret []byte) string {
	text := encode(header) + "." + encode(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(must(jwt.GetSigningMethod(alg).Sign(text, secret)))
}

func TestUnsignedTokens(t *testing.T) {
	k := newKey("k", "RS256")
	e := newRunning(t, k)
	claims := claimsAt(begin, nil)
	for _, alg := range []string{"none", "None", "NONE", "nOnE", "", "HS256", "ES256K", "RS1"} {
		head := encode(k.header(map[string]any{"alg": alg}))
		e.check(alg+", no signature", head+"."+encode(claims)+".", badAlgorithm)
		e.check(alg+", another token's signature", head+"."+encode(claims)+"."+strings.Split(k.token(nil), ".")[2], badAlgorithm)
	}
	e.check("no algorithm", encode(k.header(map[string]any{"alg": nil}))+"."+encode(claims)+".", badAlgorithm)
	e.check("an algorithm that is no text", encode(k.header(map[string]any{"alg": 1}))+"."+encode(claims)+".", malformed)
}

func TestHMACWithThePublicKey(t *testing.T) {
	rs, es, ed := newKey("rs", "RS256"), newKey("es", "ES256"), newKey("ed", "EdDSA")
	e := newRunning(t, rs, es, ed)
	for _, k := range []testKey{rs, es, ed} {
		der := must(x509.MarshalPKIXPublicKey(k.key.Public()))
		secrets := map[string][]byte{
			"DER": der, "JWK": []byte(k.jwk(nil)), "nothing": {},
			"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		}
		if pub, ok := k.key.Public().(*rsa.PublicKey); ok {
			secrets["modulus"] = pub.N.Bytes()
			secrets["PKCS1"] = x509.MarshalPKCS1PublicKey(pub)
		}
		for label, secret := range secrets {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				header := k.header(map[string]any{"alg": alg})
				e.check(alg+" with "+label+" of "+k.id, signHMAC(alg, header, claimsAt(begin, nil), secret), badAlgorithm)
			}
			// The header says what the key is for, the signature is an HMAC all the same.
			e.check("hidden HMAC with "+label+" of "+k.id, signHMAC("HS256", k.header(nil), claimsAt(begin, nil), secret), badSignature)
		}
	}
}

// An issuer can publish a symmetric key by mistake; everybody who can read it
// could sign.
func TestSymmetricKeyInTheSet(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newEnv(t, nil)
	secret := []byte("0123456789abcdef0123456789abcdef")
	e.issuer.publish(setOf(`{"kty":"oct","kid":"o","alg":"HS256","k":"`+base64.RawURLEncoding.EncodeToString(secret)+`"}`, k.jwk(nil)))
	e.running()
	header := k.header(map[string]any{"alg": "HS256", "kid": "o"})
	e.check("by a published secret", signHMAC("HS256", header, claimsAt(begin, nil), secret), badAlgorithm)
	e.check("by the key beside it", k.token(nil), accepted)
}

func TestAlgorithmAgainstTheKey(t *testing.T) {
	rs, es := newKey("rs", "RS256"), newKey("es", "ES256")
	bound := newKey("bound", "PS256")
	e := newEnv(t, nil)
	e.issuer.publish(setOf(rs.jwk(nil), es.jwk(nil), bound.jwk(map[string]any{"alg": "PS256"})))
	e.running()
	// Each of these is signed well by a key of the issuer.
	e.check("the key's algorithm", bound.token(nil), accepted)
	other := testKey{id: "bound", alg: "RS256", key: bound.key}
	e.check("not the algorithm that the key is bound to", other.token(nil), badAlgorithm)
	e.check("another family than the key's", rs.sign(rs.header(map[string]any{"kid": "es"}), claimsAt(begin, nil)), badAlgorithm)
	e.check("another curve than the key's", func() string {
		k := newKey("es", "ES384")
		return k.token(nil)
	}(), badAlgorithm)
	e.check("an elliptic curve's for RSA", es.sign(es.header(map[string]any{"kid": "rs"}), claimsAt(begin, nil)), badAlgorithm)
}

// What a header says about where keys are must be worth nothing.
func TestHeaderBringsItsOwnKey(t *testing.T) {
	mine, evil := newKey("k", "ES256"), newKey("k", "ES256")
	e := newRunning(t, mine)
	visited := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		visited <- struct{}{}
		_, _ = w.Write([]byte(publish(evil)))
	}))
	t.Cleanup(server.Close)
	for _, set := range []map[string]any{
		{"jku": server.URL}, {"x5u": server.URL}, {"x5c": []string{"x"}},
		{"jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}},
	} {
		e.check("a key of its own", evil.sign(evil.header(set), claimsAt(begin, nil)), badSignature)
		e.check("beside a good signature", mine.sign(mine.header(set), claimsAt(begin, nil)), accepted)
		set["kid"] = "unknown"
		e.check("a key of its own, with an id of its own", evil.sign(evil.header(set), claimsAt(begin, nil)), unknownKey)
	}
	if len(visited) != 0 {
		t.Error("somebody was asked whom a token named")
	}
}

func TestHeaders(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	for _, c := range []struct {
		label  string
		header string
		want   outcome
	}{
		{"in order", k.header(nil), accepted},
		{"no type", k.header(map[string]any{"typ": nil}), accepted},
		{"an access token", k.header(map[string]any{"typ": "at+JWT"}), accepted},
		{"its long name", k.header(map[string]any{"typ": "application/at+jwt"}), accepted},
		{"a security event", k.header(map[string]any{"typ": "secevent+jwt"}), malformed},
		{"a logout token", k.header(map[string]any{"typ": "logout+jwt"}), malformed},
		{"no key id", k.header(map[string]any{"kid": nil}), malformed},
		{"an empty key id", k.header(map[string]any{"kid": ""}), malformed},
		{"a key id that is a number", k.header(map[string]any{"kid": 1}), malformed},
		{"a key id in another case", k.header(map[string]any{"kid": nil, "Kid": "k"}), malformed},
		{"an unknown critical extension", k.header(map[string]any{"crit": []string{"x"}, "x": 1}), malformed},
		{"detached payload", k.header(map[string]any{"crit": []string{"b64"}, "b64": false}), malformed},
		{"no critical extension", strings.Replace(k.header(nil), "{", `{"crit":null,`, 1), malformed},
		{"an algorithm twice", strings.Replace(k.header(nil), "{", `{"alg":"none",`, 1), malformed},
		{"a key id twice", strings.Replace(k.header(nil), "{", `{"kid":"k",`, 1), malformed},
		{"a list", `["EdDSA"]`, malformed},
		{"null", `null`, badAlgorithm},
		{"two objects", k.header(nil) + "{}", malformed},
		{"nothing", ``, malformed},
	} {
		e.check(c.label, k.sign(c.header, claimsAt(begin, nil)), c.want)
	}
}

func TestClaimsThatAreNotClear(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	good := claimsAt(begin, map[string]any{"realm": map[string]any{"a": 1}})
	for _, c := range []struct {
		label  string
		claims string
		want   outcome
	}{
		{"in order", good, accepted},
		{"a tenant twice", strings.Replace(good, "{", `{"tenant":"other",`, 1), malformed},
		{"an expiry twice", strings.Replace(good, "{", `{"exp":99999999999,`, 1), malformed},
		{"a name twice inside", strings.Replace(good, `{"a":1`, `{"a":1,"a":2`, 1), malformed},
		{"a name twice, once escaped", strings.Replace(good, "{", `{"tenan\u0074":"other",`, 1), malformed},
		{"a name in two cases", strings.Replace(good, "{", `{"Tenant":"other",`, 1), accepted},
		{"invalid UTF-8", strings.Replace(good, "robot", "\xff", 1), malformed},
		{"null", `null`, malformed},
		{"a list", `[` + good + `]`, malformed},
		{"text", `"x"`, malformed},
		{"nothing", ``, malformed},
		{"an empty object", `{}`, malformed},
		{"two objects", good + good, malformed},
	} {
		e.check(c.label, k.sign(k.header(nil), c.claims), c.want)
	}
	if caller := e.check("the name that is asked for", k.sign(k.header(nil), strings.Replace(good, "{", `{"Tenant":"other",`, 1)), accepted); caller.Tenant != "acme" {
		t.Errorf("got the tenant of another claim: %+v", caller)
	}
}

func TestTokensThatAreNone(t *testing.T) {
	k := newKey("k", "EdDSA")
	e := newRunning(t, k)
	good := k.token(nil)
	parts := strings.Split(good, ".")
	big := func(n int) string { return k.token(map[string]any{"groups": strings.Repeat("g", n)}) }
	for label, token := range map[string]string{
		"garbage":                  "x",
		"dots":                     "..",
		"two parts":                parts[0] + "." + parts[1],
		"two signatures":           good + "." + parts[2],
		"five parts":               good + "." + parts[2] + "." + parts[2],
		"padding":                  good + "==",
		"a line break":             parts[0] + ".\n" + parts[1] + "." + parts[2],
		"standard base64":          parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-2] + "+/",
		"bits behind the end":      good[:len(good)-1] + string(good[len(good)-1]+1),
		"the JSON form":            `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
		"an encrypted one's parts": "a.b.c.d.e",
		"half a byte":              "A" + strings.Repeat("A", 4) + "." + parts[1] + "." + parts[2],
		"not JSON":                 encode("x") + "." + encode("y") + "." + parts[2],
		"oversized":                big(maxTokenBytes),
		"oversized without dots":   strings.Repeat("a", 1<<20),
		"an API key":               "adx_abcdefgh_0123456789",
	} {
		e.check(label, token, malformed)
	}
	e.check("large", big(maxTokenBytes/2), accepted)
	e.check("in order", good, accepted)
}
