package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func loadClient(t *testing.T, args, env []string) (Client, []Warning, error) {
	t.Helper()
	fs := pflag.NewFlagSet("query", pflag.ContinueOnError)
	ClientFlags(fs)
	fs.String("usr", "", "a flag of the command itself")
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return LoadClient(fs, env)
}

func TestClientSettings(t *testing.T) {
	defaults := Client{URL: "http://127.0.0.1:8080", NATSURL: "nats://127.0.0.1:4222"}
	if got := DefaultClient(); got != defaults {
		t.Errorf("DefaultClient is %+v", got)
	}
	all := []string{
		"ASSIGNDEX_URL=https://e/base", "ASSIGNDEX_NATS_URL=tls://e", "ASSIGNDEX_NATS_CREDS=e.creds", "ASSIGNDEX_API_KEY=ek",
		"ASSIGNDEX_DATA_DIR=/of/serve",
	}
	for _, c := range []struct {
		label     string
		args, env []string
		want      Client
	}{
		{"nothing", nil, nil, defaults},
		{"environment", nil, all, Client{URL: "https://e/base", NATSURL: "tls://e", NATSCreds: "e.creds", APIKey: "ek"}},
		{
			"flags over environment", []string{"--url=http://f/", "--nats-url=f", "--nats-creds=f.creds", "--api-key=fk", "--usr=u"}, all,
			Client{URL: "http://f", NATSURL: "f", NATSCreds: "f.creds", APIKey: "fk"},
		},
		{"an empty flag", []string{"--api-key="}, all[3:4], defaults},
	} {
		got, warnings, err := loadClient(t, c.args, c.env)
		if err != nil || len(warnings) != 0 || got != c.want {
			t.Errorf("%s: got %+v, %v, %v, want %+v", c.label, got, warnings, err, c.want)
		}
	}
}

func TestClientErrorsNeverShowACredential(t *testing.T) {
	const secret = "hunter2"
	for _, c := range []struct{ arg, want string }{
		{"--api-key=" + secret + "\n", "api-key: the value holds a space, a line break or a character outside ASCII (from flag --api-key); give the key alone, as it was printed"},
		{"--api-key=two " + secret, "api-key: the value holds a space, a line break or a character outside ASCII (from flag --api-key); give the key alone, as it was printed"},
		{"--url=ftp://u:" + secret + "@h", "url: the value has a scheme that is neither http nor https (from flag --url); write http://host:port or https://host:port"},
		{"--url=http://u:" + secret + ":1:2@h:x", "url: the value is not a URL (from flag --url); write http://host:port or https://host:port"},
		{"--url=h:8080", "url: the value has no host (from flag --url); write http://host:port or https://host:port"},
		{"--url=http://h/?k=" + secret, "url: the value has a query or a fragment (from flag --url); write http://host:port or https://host:port"},
		{"--nats-url=", "nats-url: the value has no host (from flag --nats-url); write nats://host:port, or several separated by commas"},
	} {
		got, _, err := loadClient(t, []string{c.arg}, nil)
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.arg, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), secret) || got != (Client{}) {
			t.Errorf("%q: the secret is in %v or %+v", c.arg, err, got)
		}
	}
}

func TestClientWarnsOfUnknownVariables(t *testing.T) {
	_, warnings, err := loadClient(t, nil, []string{"ASSIGNDEX_API_KEYS=k"})
	want := Warning{Name: "ASSIGNDEX_API_KEYS", Text: "not a setting of this program, ignored; did you mean ASSIGNDEX_API_KEY?"}
	if err != nil || len(warnings) != 1 || warnings[0] != want {
		t.Errorf("got %v, %v", warnings, err)
	}
}
