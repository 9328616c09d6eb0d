package bearer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/query/httpapi"
)

// leeway is by how much the clocks of the issuer and of this machine may differ.
const leeway = 30 * time.Second

// Options of Tokens. All but Logger, RoleClaim, AdminRole and WriterRole must be
// given.
type Options struct {
	// JWKSURL is where the issuer publishes its keys: https, or http on loopback.
	JWKSURL  string
	Issuer   string // what a token's iss must be, to the letter
	Audience string // what a token's aud must be, or hold

	// TenantClaim and RoleClaim name claims. A dot leads into an object:
	// "realm_access.roles". A claim whose own name has dots is found too, since the
	// longest name that is there wins.
	TenantClaim string
	RoleClaim   string // empty: every token is a reader's

	AdminRole  string // what RoleClaim is or holds for an admin; empty: no token is an admin's
	WriterRole string // the same for a writer

	Logger zerolog.Logger
}

// Tokens is an httpapi.Authenticator by bearer tokens, and a
// prometheus.Collector of how that goes.
type Tokens struct {
	parser    *jwt.Parser
	validator *jwt.Validator // the parser's rules for claims, alone
	rights    rights
	keys      *keySource
	now       func() time.Time
	metrics   *metrics
	log       zerolog.Logger
}

var _ httpapi.Authenticator = (*Tokens)(nil)

// New checks the options and makes Tokens that can judge nothing until Run has
// had the issuer's keys. An error names the option that cannot stand.
func New(o Options) (*Tokens, error) { return newTokens(o, systemClock) }

func newTokens(o Options, c clock) (*Tokens, error) {
	for _, needed := range []struct{ name, value string }{
		{"issuer", o.Issuer}, {"audience", o.Audience}, {"name of the tenant claim", o.TenantClaim},
	} {
		if needed.value == "" {
			return nil, fmt.Errorf("bearer tokens: the %s is missing", needed.name)
		}
	}
	fetch, err := newFetcher(o.JWKSURL)
	if err != nil {
		return nil, fmt.Errorf("bearer tokens: %w", err)
	}
	rules := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithStrictDecoding(), jwt.WithTimeFunc(c.now), jwt.WithLeeway(leeway),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithIssuer(o.Issuer), jwt.WithAudience(o.Audience),
	}
	m := newMetrics()
	return &Tokens{
		parser:    jwt.NewParser(rules...),
		validator: jwt.NewValidator(rules...),
		rights:    rights{tenantClaim: o.TenantClaim, roleClaim: o.RoleClaim, admin: o.AdminRole, writer: o.WriterRole},
		keys:      newKeySource(fetch.get, c, m, o.Logger),
		now:       c.now,
		metrics:   m,
		log:       o.Logger,
	}, nil
}

// Run keeps the issuer's keys up to date until the context ends, which is not an
// error. It may run once at a time.
func (t *Tokens) Run(ctx context.Context) error { return t.keys.run(ctx) }

// Challenge is part of httpapi.Authenticator.
func (*Tokens) Challenge() string { return `Bearer realm="assigndex"` }

// Authenticate is part of httpapi.Authenticator. It waits for the issuer only
// with a token that names an unknown key, and then for fetchTimeout at most.
func (t *Tokens) Authenticate(ctx context.Context, h http.Header) (httpapi.Caller, error) {
	token, err := tokenOf(h)
	if errors.Is(err, httpapi.ErrNoCredentials) {
		return httpapi.Caller{}, err
	}
	var caller httpapi.Caller
	result := malformed
	if err == nil {
		caller, result = t.judge(ctx, token)
	}
	t.metrics.checked(result)
	switch result {
	case accepted:
		return caller, nil
	case undecided:
		return httpapi.Caller{}, httpapi.ErrCannotJudge
	default:
		t.log.Debug().Str("reason", string(result)).Msg("a bearer token was refused")
		return httpapi.Caller{}, httpapi.ErrBadCredentials
	}
}

// judge finds out about a token, with newer keys when it names one that is not
// known.
func (t *Tokens) judge(ctx context.Context, token string) (httpapi.Caller, outcome) {
	set := t.keys.current()
	if set == nil {
		return httpapi.Caller{}, undecided
	}
	caller, result := t.judgeBy(set, token)
	if result != unknownKey {
		return caller, result
	}
	newer, err := t.keys.renew(ctx, set)
	switch {
	case err != nil:
		return httpapi.Caller{}, undecided
	case newer == set:
		return httpapi.Caller{}, unknownKey
	}
	return t.judgeBy(newer, token)
}

// judgeBy judges a token by one set of keys.
func (t *Tokens) judgeBy(set *keySet, token string) (httpapi.Caller, outcome) {
	digest := digestOf(token)
	if p, found := set.passes.get(digest); found && p.holds(t.now()) {
		return p.caller, accepted
	}
	if result := checkHeader(token); result != accepted {
		return httpapi.Caller{}, result
	}
	var c claims
	_, err := t.parser.ParseWithClaims(token, &c, set.find)
	result := outcomeOf(err)
	if result == unknownKey {
		return httpapi.Caller{}, t.judgeWithoutKey(&c)
	}
	if result != accepted {
		return httpapi.Caller{}, result
	}
	caller, result := t.rights.of(&c)
	if result == accepted {
		set.passes.put(digest, c.pass(caller))
	}
	return caller, result
}

// judgeWithoutKey judges a token whose key is unknown by what it claims. It gives
// unknownKey when that is good: only then is the issuer worth asking.
func (t *Tokens) judgeWithoutKey(c *claims) outcome {
	if err := t.validator.Validate(c); err != nil {
		return outcomeOf(err)
	}
	if _, result := t.rights.of(c); result != accepted {
		return result
	}
	return unknownKey
}
