package bearer

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// One key that cannot be used must not cost the others.
func TestKeysThatAreLeftOut(t *testing.T) {
	good, rs := newKey("good", "EdDSA"), newKey("rs", "RS256")
	k := newKey("k", "ES256")
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	const (
		unknown = "cannot be used: not a public key that is understood"
		purpose = "cannot be used: it is not for the signatures of tokens"
	)
	for _, c := range []struct{ label, key, want string }{
		{"in order", k.jwk(nil), ""},
		{"without a use", k.jwk(map[string]any{"use": nil}), ""},
		{"for verification", k.jwk(map[string]any{"key_ops": []string{"verify"}}), ""},
		{"with its algorithm", k.jwk(map[string]any{"alg": "ES256"}), ""},
		{"with members that nobody knows", k.jwk(map[string]any{"exp": 1, "x": k.member("x")}), ""},
		{"no id", k.jwk(map[string]any{"kid": nil}), "cannot be used: it has no id"},
		{"an id that is taken", k.jwk(map[string]any{"kid": "good"}), "cannot be used: another key has its id"},
		{"for encryption", k.jwk(map[string]any{"use": "enc"}), purpose},
		{"for encryption, by its operations", k.jwk(map[string]any{"key_ops": []string{"deriveKey"}}), purpose},
		{"for encryption, by its algorithm", rs.jwk(map[string]any{"use": nil, "alg": "RSA-OAEP"}), purpose},
		{"an algorithm of another key", k.jwk(map[string]any{"alg": "RS256"}), purpose},
		{"an algorithm of another curve", k.jwk(map[string]any{"alg": "ES384"}), purpose},
		{"the algorithm none", k.jwk(map[string]any{"alg": "none"}), purpose},
		{"an HMAC's algorithm", rs.jwk(map[string]any{"alg": "HS256"}), purpose},
		{"a use that nobody knows", k.jwk(map[string]any{"use": "x"}), unknown},
		{"a type that nobody knows", `{"kty":"XY","kid":"k"}`, unknown},
		{"a curve that nobody knows", k.jwk(map[string]any{"crv": "secp256k1"}), unknown},
		{"a point off the curve", k.jwk(map[string]any{"x": k.member("y")}), unknown},
		{"no point", k.jwk(map[string]any{"x": ""}), unknown},
		{"a symmetric one", `{"kty":"oct","kid":"k","k":"AAAA"}`, unknown},
		{"for key agreement", `{"kty":"OKP","crv":"X25519","kid":"k","x":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `"}`, purpose},
		{"an Ed25519 key that is too short", `{"kty":"OKP","crv":"Ed25519","kid":"k","x":"AAAA"}`, unknown},
		{"a small RSA key", testKey{id: "w", alg: "RS256", key: weak}.jwk(nil), "cannot be used: it has 1024 bits, 2048 are the least"},
		{"a modulus of 0", rs.jwk(map[string]any{"n": "AA"}), "cannot be used: it has 0 bits, 2048 are the least"},
		{"an exponent of 1", rs.jwk(map[string]any{"e": "AQ"}), unknown},
		{"an exponent that is cut off", rs.jwk(map[string]any{"e": base64.RawURLEncoding.EncodeToString(append([]byte{1}, 0, 0, 0, 0, 0, 1, 0, 1))}), unknown},
		{"a private one", k.jwk(map[string]any{"d": base64.RawURLEncoding.EncodeToString(big.NewInt(7).Bytes())}),
			"cannot be used: its private part is published, so anybody can sign with it"},
		{"a certificate that is none", k.jwk(map[string]any{"x5c": []string{"AAAA"}}), unknown},
		{"no object", `7`, unknown},
		{"null", `null`, unknown},
	} {
		for _, order := range [][]string{{good.jwk(nil), c.key}, {good.jwk(nil), `{}`, c.key}} {
			s, err := parseKeySet([]byte(setOf(order...)))
			if err != nil {
				t.Errorf("%s: %v", c.label, err)
				continue
			}
			got := strings.Join(s.unused, "\n")
			want := ""
			if c.want != "" {
				want = fmt.Sprintf("key %d of the set %s", len(order), c.want)
			}
			if len(order) == 3 {
				want = strings.TrimRight("key 2 of the set "+unknown+"\n"+want, "\n")
			}
			count := 1
			if c.want == "" {
				count = 2
			}
			if got != want || s.count != count {
				t.Errorf("%s: %d keys, left out: %s; want %d and %s", c.label, s.count, got, count, want)
			}
		}
	}
}

// member gives a member of the key as it is published.
func (k testKey) member(name string) string {
	_, rest, _ := strings.Cut(k.jwk(nil), `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func TestAnswersThatAreNoSet(t *testing.T) {
	k := newKey("k", "ES256").jwk(nil)
	for label, answer := range map[string]string{
		"nothing": "", "null": "null", "a page": "<html>", "no keys": `{}`, "keys that are null": `{"keys":null}`,
		"an object of keys": `{"keys":{}}`, "a list": `[` + k + `]`, "keys twice": `{"keys":[],"keys":[` + k + `]}`,
		"half a set": setOf(k)[:100], "a name twice in a key": `{"keys":[` + strings.Replace(k, "{", `{"kid":"k",`, 1) + `]}`,
		"two sets": setOf(k) + setOf(k),
	} {
		if _, err := parseKeySet([]byte(answer)); !errors.Is(err, errNoSet) {
			t.Errorf("%s: %v", label, err)
		}
	}
	s, err := parseKeySet([]byte(`{"keys":[],"more":1}`))
	if err != nil || s.count != 0 || s.unused != nil {
		t.Errorf("a set without keys: %+v, %v", s, err)
	}
}
