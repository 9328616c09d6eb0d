package bearer

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/httpapi"
)

// rights says where in a token its tenant and role stand. They are those of an
// API key, with one rule more: all tenants (apikey.AllTenants) are for admins
// only. A tenant claim is often something that is known of a user, where a role
// is something that was given.
type rights struct {
	tenantClaim string
	roleClaim   string // empty: every token is a reader's
	admin       string // empty: no token is an admin's
	writer      string
}

// maxNameBytes bounds what is logged of a caller.
const maxNameBytes = 128

// of gives the caller of a good token. The outcome is accepted or badTenant.
func (r rights) of(c *claims) (httpapi.Caller, outcome) {
	value, _ := find(c.members, r.tenantClaim)
	tenant, ok := value.(string)
	role := r.role(c)
	switch {
	case !ok:
		return httpapi.Caller{}, badTenant
	case tenant == apikey.AllTenants && role == apikey.Admin:
	case !events.ValidTenant(tenant):
		return httpapi.Caller{}, badTenant
	}
	subject, err := c.GetSubject()
	if err != nil {
		subject = "" // who it is matters to nobody but the log
	}
	return httpapi.Caller{Name: nameOf(subject), Tenant: tenant, Role: role}, accepted
}

// role gives the highest role that the token holds: reader, when it holds none.
func (r rights) role(c *claims) apikey.Role {
	held := r.held(c)
	switch {
	case r.admin != "" && slices.Contains(held, r.admin):
		return apikey.Admin
	case r.writer != "" && slices.Contains(held, r.writer):
		return apikey.Writer
	default:
		return apikey.Reader
	}
}

// held lists the roles of a token: a text, a list of them, or true. A claim that
// is called scope is a list in one text, as RFC 8693 defines it.
func (r rights) held(c *claims) []string {
	if r.roleClaim == "" {
		return nil
	}
	value, _ := find(c.members, r.roleClaim)
	switch v := value.(type) {
	case string:
		if r.roleClaim == "scope" || strings.HasSuffix(r.roleClaim, ".scope") {
			return strings.Split(v, " ")
		}
		return []string{v}
	case bool:
		return []string{strconv.FormatBool(v)}
	case []any:
		var list []string
		for _, one := range v {
			if text, ok := one.(string); ok {
				list = append(list, text)
			}
		}
		return list
	}
	return nil
}

// find gives the member of an object at a path of names with dots between them.
// Names may have dots of their own, as "https://acme.example/tenant" has: at each
// step the longest name that leads on is taken.
func find(object map[string]any, path string) (any, bool) {
	if v, ok := object[path]; ok {
		return v, true
	}
	for i := strings.LastIndexByte(path, '.'); i >= 0; i = strings.LastIndexByte(path[:i], '.') {
		if inner, ok := object[path[:i]].(map[string]any); ok {
			return find(inner, path[i+1:])
		}
	}
	return nil, false
}

// nameOf makes a subject fit for a log.
func nameOf(subject string) string {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if subject == "" || len(subject) > maxNameBytes || strings.ContainsFunc(subject, unprintable) {
		return "token"
	}
	return "token of " + subject
}
