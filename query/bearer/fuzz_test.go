package bearer

import (
	"strings"
	"testing"

	"github.com/assigndex/assigndex/query/httpapi"
)

// No header and claims make a token good without the issuer's signature, and
// none make the check fail otherwise than by refusing.
func FuzzUnsigned(f *testing.F) {
	k := newKey("k", "EdDSA")
	e := newEnv(f, nil, k)
	good := k.token(nil)
	signature := good[strings.LastIndexByte(good, '.')+1:]
	set, err := parseKeySet([]byte(publish(k)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.header(nil), claimsAt(begin, map[string]any{"tenant": "other"}), signature)
	f.Add(k.header(map[string]any{"alg": "none"}), claimsAt(begin, nil), "")
	f.Add(k.header(map[string]any{"kid": "x"}), `{"exp":1e999}`, "AA")
	f.Add(k.header(map[string]any{"crit": []string{"b64"}}), `null`, "-_")
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		token := encode(header) + "." + encode(claims) + "." + signature
		if token == good {
			return // the only one that is signed
		}
		if caller, result := e.judgeBy(set, token); result == accepted || result == undecided || caller != (httpapi.Caller{}) {
			t.Errorf("%s %s %s: %s %+v", header, claims, signature, result, caller)
		}
	})
}

// No answer of an issuer makes the reading of it fail otherwise than by an error.
func FuzzParseKeySet(f *testing.F) {
	for _, alg := range []string{"RS256", "ES256", "ES512", "EdDSA"} {
		f.Add([]byte(publish(newKey("k", alg))))
	}
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},{},null]}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		s, err := parseKeySet(answer)
		if (s == nil) == (err == nil) {
			t.Errorf("got %v, %v", s, err)
		}
		if err == nil && s.count < 0 {
			t.Errorf("%d keys", s.count)
		}
	})
}
