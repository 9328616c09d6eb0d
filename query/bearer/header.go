package bearer

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query/httpapi"
)

// algorithms are those that a token may be signed by. All are asymmetric: who
// can check a token cannot make one.
var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// types are those that a token may say it is, in lower case; saying none is
// allowed. The issuer signs other things too, such as security events, which
// must not be taken for a token of access.
var types = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// maxTokenBytes bounds a token. Large ones, with a user's many groups, have
// around 8 KiB.
const maxTokenBytes = 16 << 10

const (
	headerName = "Authorization" // in net/http's form
	scheme     = "bearer"
)

// tokenOf gives the bearer token of a request. The error is
// httpapi.ErrNoCredentials when there is none, also when Authorization is of
// another scheme, and httpapi.ErrBadCredentials when it cannot be a token.
func tokenOf(h http.Header) (string, error) {
	values := h[headerName]
	var found []string
	for _, v := range values {
		name, token, _ := strings.Cut(v, " ")
		if strings.EqualFold(name, scheme) {
			found = append(found, strings.TrimLeft(token, " "))
		}
	}
	switch {
	case len(found) == 0:
		return "", httpapi.ErrNoCredentials
	case len(values) > 1 || !wellFormed(found[0]):
		return "", httpapi.ErrBadCredentials
	}
	return found[0], nil
}

// wellFormed reports whether a token has the form of a signed JWT: three parts
// in base64url. The decoder alone would pass over line breaks.
func wellFormed(token string) bool {
	if token == "" || len(token) > maxTokenBytes || strings.Count(token, ".") != 2 {
		return false
	}
	return !strings.ContainsFunc(token, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// header is the part of a token's header that decides whether it is looked at
// any further.
type header struct {
	Alg  string         `json:"alg"`
	Kid  string         `json:"kid"`
	Typ  string         `json:"typ"`
	Crit jsontext.Value `json:"crit"` // extensions that must be understood: none is
}

// checkHeader refuses what the parser would let pass: a repeated name, an
// unknown critical extension, another type, no key id. Without an id every key
// would have to be tried, and a rotated one could not be noticed.
func checkHeader(token string) outcome {
	part, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return malformed
	}
	var h header
	if err := json.Unmarshal(raw, &h); err != nil {
		return malformed
	}
	switch {
	case !slices.Contains(algorithms, h.Alg):
		return badAlgorithm
	case h.Kid == "" || h.Crit != nil || !slices.Contains(types, strings.ToLower(h.Typ)):
		return malformed
	}
	return accepted
}
