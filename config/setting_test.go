package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// A name that Kubernetes could inject for a service would be read as a setting.
func TestNamesOfSettings(t *testing.T) {
	checkNames(t, serveSettings)
	checkNames(t, clientSettings)
}

func checkNames[C any](t *testing.T, rows []setting[C]) {
	t.Helper()
	var seen []string
	for _, s := range rows {
		env := s.env()
		if slices.Contains(seen, env) {
			t.Errorf("%s: two settings have the variable %s", s.name, env)
		}
		seen = append(seen, env)
		if strings.HasSuffix(env, "_PORT") || strings.Contains(env, "_PORT_") || strings.Contains(env, "_SERVICE_") {
			t.Errorf("%s: Kubernetes injects variables such as %s", s.name, env)
		}
		if s.name != strings.ToLower(s.name) || strings.ContainsAny(s.name, "_ ") {
			t.Errorf("%s: a name is lower case with dashes", s.name)
		}
		if s.help == "" || s.form == "" {
			t.Errorf("%s: has no help or no form", s.name)
		}
		for _, other := range rows {
			if strings.HasPrefix(other.name, s.name+delimiter) {
				t.Errorf("%s is a setting and a group", s.name)
			}
		}
	}
}

func TestHelpShowsFormDefaultAndVariable(t *testing.T) {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	ServeFlags(fs)
	help := strings.Join(strings.Fields(fs.FlagUsages()), " ")
	for _, want := range []string{
		"--listen host:port address of the HTTP API; port 0 takes a free one [ASSIGNDEX_LISTEN] (default 127.0.0.1:8080)",
		"--history duration how far back reads reach; 0 keeps one minute, for cursors [ASSIGNDEX_HISTORY] (default 24h)",
		"--accept-trimmed-stream build a new index",
		"--max-page-size count largest page of a listing, in rows [ASSIGNDEX_MAX_PAGE_SIZE] (default 5000)",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, fs.FlagUsages())
		}
	}
}

func TestFlagErrorNamesTheNearest(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"--histroy=1h", "histroy: no such flag (from the command line); did you mean --history?"},
		{"--data_dir=1h", "data_dir: no such flag (from the command line); did you mean --data-dir?"},
		{"--zzz", "zzz: no such flag (from the command line); --help lists the flags"},
		{"--hiden", "hiden: no such flag (from the command line); --help lists the flags"},
		{"-z", "z: no such flag (from the command line); --help lists the flags"},
		{"--history", "flag needs an argument: --history"},
	} {
		fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		ServeFlags(fs)
		fs.Bool("hidden", false, "")
		if err := fs.MarkHidden("hidden"); err != nil {
			t.Fatal(err)
		}
		err := FlagError(fs, fs.Parse([]string{c.arg}))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.arg, err, c.want)
		}
	}
	other := errors.New("other")
	if got := FlagError(nil, other); got != other {
		t.Errorf("another error came back as %v", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"listen", "nats-listen", "nats-url", "url", "score.high"}
	for _, c := range []struct{ misspelt, want string }{
		{"lisen", "listen"}, {"natslisten", "nats-listen"}, {"NATS_URL", "nats-url"}, {"ASSIGNDEX_URI", "url"},
		{"score_high", "score.high"}, {"port", ""}, {"", ""}, {"xy", ""},
	} {
		if got, ok := nearest(c.misspelt, names); got != c.want || ok != (c.want != "") {
			t.Errorf("nearest(%q) is %q, %v, want %q", c.misspelt, got, ok, c.want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"ab", "ba", 2}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// A mistake in a table must not wait for a user to find it.
func TestDefaultThatCannotStand(t *testing.T) {
	defer func() {
		const want = "config: the default of history is not a duration; " + remedyDuration
		if got := recover(); got != want {
			t.Errorf("got %v, want a panic with %q", got, want)
		}
	}()
	presets([]setting[Serve]{{
		name: "history", preset: "long",
		set: into(func(s *Serve) *time.Duration { return &s.History }, parseDuration),
	}})
}
