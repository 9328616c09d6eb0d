package config

import (
	"net/netip"
	"strings"
	"unicode"
)

// Token holds the settings of bearer tokens. They are off without a JWKSURL.
type Token struct {
	JWKSURL     string // where the issuer publishes its keys; empty: bearer tokens are off
	Issuer      string // what a token's iss must be
	Audience    string // what a token's aud must be, or hold
	TenantClaim string // claim that names the tenant, with dots to lead into objects
	RoleClaim   string // claim that holds the role or roles; empty: every token is a reader's
	AdminRole   string // what RoleClaim is or holds for an admin; empty: no token is an admin's
	WriterRole  string // the same for a writer
}

// On reports whether bearer tokens are taken.
func (t Token) On() bool { return t.JWKSURL != "" }

const (
	settingJWKSURL  = "token.jwks-url"
	settingIssuer   = "token.issuer"
	settingAudience = "token.audience"

	remedyJWKSURL = "write an https:// URL, or http:// on this machine, without a user and a fragment"
)

// tokenSettings are the rows of serveSettings about bearer tokens.
var tokenSettings = []setting[Serve]{
	{
		name: settingJWKSURL, form: formURL, secret: true,
		help: "where the issuer of bearer tokens publishes its keys (a JWKS); empty: no tokens are taken",
		set:  into(func(s *Serve) *string { return &s.Token.JWKSURL }, parseOptionalJWKSURL),
	},
	{
		name: settingIssuer, form: formText,
		help: "what the iss of a token must be, to the letter",
		set:  into(func(s *Serve) *string { return &s.Token.Issuer }, parseOptionalText),
	},
	{
		name: settingAudience, form: formText,
		help: "what the aud of a token must be or hold",
		set:  into(func(s *Serve) *string { return &s.Token.Audience }, parseOptionalText),
	},
	{
		name: "token.tenant-claim", preset: "tenant", form: formText,
		help: "claim that names the tenant; a dot leads into an object",
		set:  into(func(s *Serve) *string { return &s.Token.TenantClaim }, parseText),
	},
	{
		name: "token.role-claim", preset: "role", form: formText,
		help: "claim that is the role, or a list of them; empty: every token is a reader's",
		set:  into(func(s *Serve) *string { return &s.Token.RoleClaim }, parseOptionalText),
	},
	{
		name: "token.admin-role", preset: "admin", form: formText,
		help: "what the role claim says of an admin; empty: no token is an admin's",
		set:  into(func(s *Serve) *string { return &s.Token.AdminRole }, parseOptionalText),
	},
	{
		name: "token.writer-role", preset: "writer", form: formText,
		help: "what the role claim says of a writer; empty: no token is a writer's",
		set:  into(func(s *Serve) *string { return &s.Token.WriterRole }, parseOptionalText),
	},
}

// missing gives an *Error for each setting that tokens cannot do without. A
// token of any issuer, or meant for any service, must never be taken for want of
// a setting.
func (t Token) missing(from map[string]string) []error {
	if !t.On() {
		return nil
	}
	var faults []error
	for _, s := range []struct{ name, value, claim string }{
		{settingIssuer, t.Issuer, "iss"}, {settingAudience, t.Audience, "aud"},
	} {
		if s.value != "" {
			continue
		}
		source, given := from[s.name]
		if !given {
			source = from[settingJWKSURL]
		}
		faults = append(faults, &Error{
			Setting: s.name, Source: source, Problem: "is missing, and " + settingJWKSURL + " turns tokens on",
			Remedy: "write what the issuer's tokens have as " + s.claim,
		})
	}
	return faults
}

// unused warns of settings that were given while tokens are off.
func (t Token) unused(from map[string]string) []Warning {
	if t.On() {
		return nil
	}
	var warnings []Warning
	for _, s := range tokenSettings {
		if source, given := from[s.name]; given && s.name != settingJWKSURL {
			warnings = append(warnings, idleWarning(s.name, source, "no "+settingJWKSURL+" is given, so no tokens are taken"))
		}
	}
	return warnings
}

// parseOptionalJWKSURL refuses plain HTTP to another machine: who sits between
// could hand out keys of their own. A redirection is not followed either.
func parseOptionalJWKSURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := parseURL(text, remedyJWKSURL)
	if err != nil {
		return "", err
	}
	switch {
	case u.Scheme == "http" && !isLoopbackHost(u.Hostname()):
		return "", bad("is plain HTTP to another machine, so its keys could be exchanged on the way", remedyJWKSURL)
	case u.Scheme != "http" && u.Scheme != "https":
		return "", bad("has a scheme that is not https", remedyJWKSURL)
	case u.User != nil:
		return "", bad("has a user name or a password", remedyJWKSURL)
	case u.Fragment != "":
		return "", bad("has a fragment", remedyJWKSURL)
	}
	return text, nil
}

func isLoopbackHost(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost"
}

func parseText(text string) (string, error) {
	if text == "" {
		return "", bad("is empty", "write a name")
	}
	return parseOptionalText(text)
}

func parseOptionalText(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.TrimSpace(text) != text {
		return "", bad("has a space around it, or a character that cannot be printed", "write it as the tokens have it")
	}
	return text, nil
}
