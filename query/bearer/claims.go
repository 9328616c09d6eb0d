package bearer

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"github.com/assigndex/assigndex/query/httpapi"
)

// errClaim is returned for a claim of a wrong type or out of range.
var errClaim = errors.New("a claim is not what it must be")

// maxSeconds is the end of the year 9999, in seconds since 1970.
const maxSeconds = 253402300799

// claims are what a token says. Unlike the types of the parser, it takes each
// name once only, in its own case only, and a date that is present as it is.
type claims struct {
	members map[string]any
}

var _ jwt.Claims = (*claims)(nil)

// UnmarshalJSON refuses what is not an object, a repeated name at any depth and
// invalid UTF-8.
func (c *claims) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &c.members) }

// GetExpirationTime is part of jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.date("exp") }

// GetNotBefore is part of jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.date("nbf") }

// GetIssuedAt is part of jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.date("iat") }

// GetIssuer is part of jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return c.text("iss") }

// GetSubject is part of jwt.Claims.
func (c *claims) GetSubject() (string, error) { return c.text("sub") }

// GetAudience is part of jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) {
	switch aud := c.members["aud"].(type) {
	case nil:
		return nil, nil
	case string:
		return jwt.ClaimStrings{aud}, nil
	case []any:
		list := make(jwt.ClaimStrings, 0, len(aud))
		for _, one := range aud {
			text, ok := one.(string)
			if !ok {
				return nil, errClaim
			}
			list = append(list, text)
		}
		return list, nil
	}
	return nil, errClaim
}

// date gives nil for a claim that is not there, and for no other one.
func (c *claims) date(name string) (*jwt.NumericDate, error) {
	value, there := c.members[name]
	if !there {
		return nil, nil
	}
	seconds, ok := value.(float64)
	if !ok || seconds < 0 || seconds > maxSeconds {
		return nil, errClaim
	}
	return jwt.NewNumericDate(time.Unix(int64(seconds), 0)), nil
}

func (c *claims) text(name string) (string, error) {
	value, there := c.members[name]
	if !there {
		return "", nil
	}
	text, ok := value.(string)
	if !ok {
		return "", errClaim
	}
	return text, nil
}

// pass gives what is kept of a token whose claims were found to be good.
func (c *claims) pass(caller httpapi.Caller) pass {
	p := pass{caller: caller}
	if exp, err := c.GetExpirationTime(); err == nil && exp != nil {
		p.until = exp.Add(leeway)
	}
	for _, get := range []func() (*jwt.NumericDate, error){c.GetNotBefore, c.GetIssuedAt} {
		if at, err := get(); err == nil && at != nil && at.Add(-leeway).After(p.from) {
			p.from = at.Add(-leeway)
		}
	}
	return p
}
