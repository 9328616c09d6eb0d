package config

import (
	"errors"
	"reflect"
	"testing"
)

func TestTokenSettingsFromEverySource(t *testing.T) {
	want := Token{
		JWKSURL: "https://id.example/keys", Issuer: "https://id.example/", Audience: "assigndex",
		TenantClaim: "org.id", RoleClaim: "realm_access.roles", AdminRole: "index-admin", WriterRole: "writer",
	}
	for label, in := range map[string]sources{
		"flags": {args: []string{
			"--token.jwks-url=https://id.example/keys", "--token.issuer=https://id.example/", "--token.audience", "assigndex",
			"--token.tenant-claim=org.id", "--token.role-claim=realm_access.roles", "--token.admin-role=index-admin",
		}},
		"environment": {env: []string{
			"ASSIGNDEX_TOKEN_JWKS_URL=https://id.example/keys", "ASSIGNDEX_TOKEN_ISSUER=https://id.example/",
			"ASSIGNDEX_TOKEN_AUDIENCE=assigndex", "ASSIGNDEX_TOKEN_TENANT_CLAIM=org.id",
			"ASSIGNDEX_TOKEN_ROLE_CLAIM=realm_access.roles", "ASSIGNDEX_TOKEN_ADMIN_ROLE=index-admin",
		}},
		"file": {file: `
token:
  jwks-url: https://id.example/keys
  issuer: https://id.example/
  audience: assigndex
  tenant-claim: org.id
  role-claim: realm_access.roles
  admin-role: index-admin
`},
	} {
		s, warnings, err := loadServe(t, in)
		if err != nil || len(warnings) != 0 || s.Token != want || !s.Token.On() {
			t.Errorf("%s: got %+v, %q, %v", label, s.Token, warnings, err)
		}
	}
}

func TestTokenErrors(t *testing.T) {
	const (
		url     = "; " + remedyJWKSURL
		missing = " is missing, and token.jwks-url turns tokens on"
		keys    = "--token.jwks-url=https://id.example/keys"
		text    = " has a space around it, or a character that cannot be printed"
	)
	for _, c := range []struct {
		in   sources
		want string
	}{
		{
			sources{args: []string{keys}},
			"token.issuer:" + missing + " (from flag --token.jwks-url); write what the issuer's tokens have as iss\n" +
				"token.audience:" + missing + " (from flag --token.jwks-url); write what the issuer's tokens have as aud",
		},
		{
			sources{args: []string{keys, "--token.audience=a"}},
			"token.issuer:" + missing + " (from flag --token.jwks-url); write what the issuer's tokens have as iss",
		},
		{
			sources{args: []string{keys, "--token.issuer=i"}, file: "token:\n  audience: ''"},
			"token.audience:" + missing + " (from file FILE, key token.audience); write what the issuer's tokens have as aud",
		},
		{
			sources{args: []string{"--token.jwks-url=http://id.example/keys"}},
			"token.jwks-url: the value is plain HTTP to another machine, so its keys could be exchanged on the way (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.jwks-url=http://localhost.example/keys"}},
			"token.jwks-url: the value is plain HTTP to another machine, so its keys could be exchanged on the way (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.jwks-url=file:///keys"}},
			"token.jwks-url: the value has no host (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.jwks-url=ftp://h/keys"}},
			"token.jwks-url: the value has a scheme that is not https (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.jwks-url=https://u:hunter2@h/keys"}},
			"token.jwks-url: the value has a user name or a password (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.jwks-url=https://h/keys#k"}},
			"token.jwks-url: the value has a fragment (from flag --token.jwks-url)" + url,
		},
		{
			sources{args: []string{"--token.tenant-claim="}},
			`token.tenant-claim: "" is empty (from flag --token.tenant-claim); write a name`,
		},
		{
			sources{env: []string{"ASSIGNDEX_TOKEN_ISSUER=https://h\n"}},
			`token.issuer: "https://h\n"` + text + " (from environment variable ASSIGNDEX_TOKEN_ISSUER); write it as the tokens have it",
		},
		{
			sources{args: []string{"--token.admin-role= admin"}},
			`token.admin-role: " admin"` + text + " (from flag --token.admin-role); write it as the tokens have it",
		},
	} {
		s, _, err := loadServe(t, c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v:\n got %v\nwant %s", c.in, err, c.want)
		}
		var typed *Error
		if !errors.As(err, &typed) || s != (Serve{}) {
			t.Errorf("%+v: no *Error, or settings beside it: %+v", c.in, s)
		}
	}
}

func TestTokenSettingsWithoutTokens(t *testing.T) {
	const why = " is not used: no token.jwks-url is given, so no tokens are taken"
	s, warnings, err := loadServe(t, sources{
		args: []string{"--token.audience=a", "--token.jwks-url="}, file: "token:\n  jwks-url: https://h\n  role-claim: r",
	})
	want := []string{
		"token.audience: the value from flag --token.audience" + why,
		"token.role-claim: the value from file FILE, key token.role-claim" + why,
	}
	if err != nil || s.Token.On() || !reflect.DeepEqual(warnings, want) {
		t.Errorf("got %v, %q, %v", s.Token.On(), warnings, err)
	}
}
