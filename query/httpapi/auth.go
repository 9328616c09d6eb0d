package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Caller is who sends a request.
type Caller struct {
	Name   string // for logs; no secret
	Tenant string // apikey.AllTenants: any that the request names
	Role   apikey.Role
}

// Errors of an Authenticator.
var (
	// ErrNoCredentials is returned for a request that carries no credentials of the
	// authenticator's kind.
	ErrNoCredentials = errors.New("no credentials")
	// ErrBadCredentials is returned for credentials that open nothing, or that are
	// given more than once.
	ErrBadCredentials = errors.New("invalid credentials")
	// ErrCannotJudge is returned while the authenticator does not know yet which
	// credentials are good.
	ErrCannotJudge = errors.New("credentials cannot be checked yet")
)

// Authenticator tells who sends a request by one kind of credentials. It may be
// used from any goroutine.
type Authenticator interface {
	// Authenticate returns one of the errors above, never with a credential in it.
	// It gives up waiting when the context of the request ends.
	Authenticate(ctx context.Context, h http.Header) (Caller, error)
	// Challenge is what WWW-Authenticate says of this kind.
	Challenge() string
}

// Keys authenticates by an API key in the header X-API-KEY.
type Keys struct {
	Set *apikey.Set
	// Lookup judges what Set does not open, so that a key opens as soon as it is
	// stored; nil: Set alone decides.
	Lookup *KeyLookup
}

// Authenticate is part of Authenticator. It waits only with a well-formed token
// that Set does not open, and then for lookupTimeout at most.
func (k Keys) Authenticate(ctx context.Context, h http.Header) (Caller, error) {
	tokens := h[headerKey]
	if len(tokens) == 0 {
		return Caller{}, ErrNoCredentials
	}
	if len(tokens) > 1 {
		return Caller{}, ErrBadCredentials
	}
	key, err := k.Set.Verify(tokens[0])
	if errors.Is(err, apikey.ErrUnknownKey) && k.Lookup != nil {
		key, err = k.Lookup.verify(ctx, tokens[0])
	}
	switch {
	case err == nil:
		return Caller{Name: key.ID, Tenant: key.Tenant, Role: key.Role}, nil
	case errors.Is(err, apikey.ErrNotLoaded):
		return Caller{}, ErrCannotJudge
	default:
		return Caller{}, ErrBadCredentials
	}
}

// Challenge is part of Authenticator.
func (Keys) Challenge() string { return `ApiKey realm="assigndex", header="X-API-KEY"` }

// admit makes the checks that need no look at the request's body.
func (s *Server) admit(x *exchange) error {
	if len(x.route.methods) > 0 && !slices.Contains(x.route.methods, x.r.Method) {
		return &query.Error{Code: MethodNotAllowed, Detail: "this path has another method, see the header Allow"}
	}
	if x.route.role == 0 {
		return nil
	}
	if err := s.authenticate(x); err != nil {
		return err
	}
	if !x.caller.Role.Allows(x.route.role) {
		return &query.Error{Code: RoleForbidden, Detail: "this needs the role " + x.route.role.String()}
	}
	if x.route.all {
		return allTenants(x.caller, x.r.Header)
	}
	var err error
	if x.route.tenant {
		x.tenant, err = tenantInPath(x.caller, x.r.Header, x.segment)
	} else {
		x.tenant, err = tenantOf(x.caller, x.r.Header)
	}
	return err
}

func (s *Server) authenticate(x *exchange) error {
	for _, a := range s.auth {
		caller, err := a.Authenticate(x.r.Context(), x.r.Header)
		switch {
		case err == nil:
			x.caller = caller
			return nil
		case errors.Is(err, ErrNoCredentials):
			continue
		case errors.Is(err, ErrBadCredentials):
			return &query.Error{Code: Unauthenticated, Detail: "the credentials are not valid, or not any more"}
		case errors.Is(err, ErrCannotJudge):
			return &query.Error{Code: query.NotReady, Detail: "the server does not know its keys yet; try again"}
		default:
			return err
		}
	}
	return &query.Error{Code: Unauthenticated, Detail: "send an API key in the header X-API-KEY"}
}

// allTenants checks that a request is about all tenants and may be.
func allTenants(c Caller, h http.Header) error {
	_, given, err := single(h, headerTenant)
	switch {
	case err != nil:
		return err
	case c.Tenant != apikey.AllTenants:
		return &query.Error{Code: TenantForbidden, Detail: "this is about all tenants and needs credentials of all tenants"}
	case given:
		return invalidHeader(headerTenant, "must be left out: this is about all tenants")
	}
	return nil
}

// tenantOf gives the tenant that a request is about.
func tenantOf(c Caller, h http.Header) (string, error) {
	named, given, err := single(h, headerTenant)
	switch {
	case err != nil:
		return "", err
	case c.Tenant != apikey.AllTenants && given && named != c.Tenant:
		return "", &query.Error{Code: TenantForbidden, Detail: "the credentials are not for the tenant that " + headerTenant + " names"}
	case c.Tenant != apikey.AllTenants:
		return c.Tenant, nil
	case !given:
		return "", &query.Error{
			Code: TenantRequired, Field: headerTenant,
			Detail: "these credentials are for every tenant: name the one that is meant in this header",
		}
	case !events.ValidTenant(named):
		return "", invalidHeader(headerTenant, "must be 1 to 64 letters, digits, '_' and '-'")
	}
	return named, nil
}

// tenantInPath gives the tenant of a request whose path names it. The header may
// name it too.
func tenantInPath(c Caller, h http.Header, segment string) (string, error) {
	named, given, err := single(h, headerTenant)
	switch {
	case err != nil:
		return "", err
	case !events.ValidTenant(segment) || (c.Tenant != apikey.AllTenants && segment != c.Tenant):
		return "", &query.Error{Code: TenantForbidden, Detail: "the credentials are not for the tenant that the path names"}
	case given && named != segment:
		return "", invalidHeader(headerTenant, "names another tenant than the path")
	}
	return segment, nil
}

// single reads a header that may be given once. Name is in net/http's form.
func single(h http.Header, name string) (value string, given bool, err error) {
	switch values := h[name]; {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", true, invalidHeader(name, "must not be given twice")
	case values[0] == "":
		return "", true, invalidHeader(name, "must not be empty; leave the header out")
	default:
		return values[0], true, nil
	}
}

func invalidHeader(name, detail string) *query.Error {
	return &query.Error{Code: InvalidHeader, Field: name, Detail: detail}
}
