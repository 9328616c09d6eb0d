package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestFileErrors(t *testing.T) {
	const (
		keys = "the keys are data-dir, listen, nats-url, nats-listen, nats-creds, stream, stream-max-age, stream-max-bytes, " +
			"stream-replicas, accept-trimmed-stream, history, history-max-bytes, min-free-bytes, max-page-size, ready-max-lag, " +
			"snapshot-every, snapshot-keep, snapshot-max-age, bootstrap, " +
			"limits.reads, limits.ingests, limits.connections, limits.caller-per-second, limits.caller-burst, limits.caller-at-once, score.high, score.medium, token.jwks-url, token.issuer, token.audience, " +
			"token.tenant-claim, token.role-claim, token.admin-role, token.writer-role, log-level, log-format"
		quotes = "is not text, as YAML reads it"
		remedy = "put it in quotes, with its unit if it has one"
	)
	for _, c := range []struct{ file, want string }{
		{"data_dir: x", "data_dir: no such key (from file FILE, key data_dir); did you mean data-dir?"},
		{"maxPageSize: 1", "maxPageSize: no such key (from file FILE, key maxPageSize); did you mean max-page-size?"},
		{"colour: red", "colour: no such key (from file FILE, key colour); " + keys},
		{"1: red", "1: no such key (from file FILE, key 1); " + keys},
		{"server: {listen: ':1'}", "server: no such key (from file FILE, key server); " + keys},
		{"config: x", "config: cannot stand in the file (from file FILE, key config); use the flag --config or the variable ASSIGNDEX_CONFIG"},
		{"data-dir: 7", "data-dir: the value " + quotes + " (from file FILE, key data-dir); " + remedy},
		{"data-dir: true", "data-dir: the value " + quotes + " (from file FILE, key data-dir); " + remedy},
		{"stream: 2026-01-02", "stream: the value " + quotes + " (from file FILE, key stream); " + remedy},
		{"history: 1.5", "history: the value " + quotes + " (from file FILE, key history); " + remedy},
		{"history: 24", `history: "24" is not a duration (from file FILE, key history); write a number with its unit, such as 90s, 24h or 7d`},
		{"listen: [':1', ':2']", "listen: the value is a list, where one value belongs (from file FILE, key listen); give one value"},
		{"listen: {host: x}", "listen: the value is a group of keys, where one value belongs (from file FILE, key listen); give one value"},
		{"listen:", `listen: the value is missing (from file FILE, key listen); give one, or delete the line; "" is an empty text`},
		{
			"accept-trimmed-stream: 'true'",
			"accept-trimmed-stream: the value is text, where true or false belongs (from file FILE, key accept-trimmed-stream); " +
				"write true or false, without quotes",
		},
		{
			"accept-trimmed-stream: 1",
			"accept-trimmed-stream: the value is 1, where true or false belongs (from file FILE, key accept-trimmed-stream); write true or false",
		},
		{
			"max-page-size: '100'",
			"max-page-size: the value is text, where a whole number belongs (from file FILE, key max-page-size); write the number without quotes",
		},
		{
			"max-page-size: 10.5",
			"max-page-size: the value is 10.5, where a whole number belongs (from file FILE, key max-page-size); write a whole number",
		},
		{
			"max-page-size: yes",
			"max-page-size: the value is text, where a whole number belongs (from file FILE, key max-page-size); write the number without quotes",
		},
		{
			"stream-max-bytes: 18446744073709551615",
			`stream-max-bytes: "18446744073709551615" is not a size (from file FILE, key stream-max-bytes); ` +
				"write bytes, or a whole number with its unit, such as 500MB or 10GiB",
		},
	} {
		_, _, err := loadServe(t, sources{file: c.file})
		if err == nil || err.Error() != c.want {
			t.Errorf("%q:\n got %v\nwant %s", c.file, err, c.want)
		}
	}
}

func TestFileThatIsNoConfiguration(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"- listen", "cannot unmarshal"},
		{"just text", "cannot unmarshal"},
		{"a: [", "did not find expected"},
		{"listen: ':1'\nlisten: ':2'", `mapping key "listen" already defined at line 1`},
		{"listen: ':1'\n---\nlisten: ':2'", "line 2 starts a second document"},
	} {
		_, _, err := loadServe(t, sources{file: c.file})
		if err == nil {
			t.Errorf("%q: no error", c.file)
			continue
		}
		text := err.Error()
		if !strings.HasPrefix(text, "FILE: not a configuration file: ") || !strings.Contains(text, c.want) ||
			!strings.HasSuffix(text, " (from flag --config); it holds one YAML map of settings, such as data-dir: ./data") {
			t.Errorf("%q: got %s", c.file, text)
		}
	}
}

func TestFileWithoutSettings(t *testing.T) {
	for _, file := range []string{"# nothing\n", "---\n", "{}", "\ufeff# byte order mark\n"} {
		s, _, err := loadServe(t, sources{file: file})
		if err != nil || s != DefaultServe() {
			t.Errorf("%q: got %+v, %v", file, s, err)
		}
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "absent.yaml"), dir} {
		set := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		ServeFlags(set)
		_, _, err := LoadServe(set, []string{"ASSIGNDEX_CONFIG=" + path})
		var unreadable *fs.PathError
		if err == nil || !strings.HasPrefix(err.Error(), "config: the file cannot be read: ") || !errors.As(err, &unreadable) ||
			!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "(from environment variable ASSIGNDEX_CONFIG)") {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// nested stands for a program whose table has settings below a group.
type nested struct {
	High, Low int
	Name      string
}

var nestedSettings = []setting[nested]{
	{name: "config", form: formFile, noFile: true, set: func(*nested, string) error { return nil }},
	{name: "score.high", preset: "80", form: formCount, set: into(func(n *nested) *int { return &n.High }, parseCount(0, 100))},
	{name: "score.low", preset: "20", form: formCount, set: into(func(n *nested) *int { return &n.Low }, parseCount(0, 100))},
	{name: "name", form: formText, set: func(n *nested, text string) error {
		if text == "refused" {
			return os.ErrPermission
		}
		n.Name = text
		return nil
	}},
}

func TestNestedKeys(t *testing.T) {
	for _, c := range []struct {
		label string
		in    sources
		want  nested
		err   string
	}{
		{label: "defaults", want: nested{High: 80, Low: 20}},
		{label: "file", in: sources{file: "score:\n  high: 90\n  low: 10\nname: n"}, want: nested{High: 90, Low: 10, Name: "n"}},
		{label: "dotted key in the file", in: sources{file: "score.high: 91"}, want: nested{High: 91, Low: 20}},
		{label: "group with nothing in it", in: sources{file: "score:\n#  high: 90\nname: n"}, want: nested{High: 80, Low: 20, Name: "n"}},
		{label: "environment over file", in: sources{env: []string{"ASSIGNDEX_SCORE_HIGH=92"}, file: "score: {high: 90, low: 1}"}, want: nested{High: 92, Low: 1}},
		{label: "flag", in: sources{args: []string{"--score.high=93"}, env: []string{"ASSIGNDEX_SCORE_HIGH=92"}}, want: nested{High: 93, Low: 20}},
		{
			label: "given twice", in: sources{file: "score: {high: 90}\nscore.high: 91"},
			err: "score.high: given twice, nested and with a dot (from file FILE, key score.high); keep one of them",
		},
		{
			label: "unknown key in a group", in: sources{file: "score: {hihg: 90}"},
			err: "score.hihg: no such key (from file FILE, key score.hihg); did you mean score.high?",
		},
		{
			label: "value for a group", in: sources{file: "score: 3"},
			err: "score: no such key (from file FILE, key score); the keys are score.high, score.low, name",
		},
		{
			label: "parser with an error of its own", in: sources{args: []string{"--name=refused"}},
			err: `name: "refused" cannot be used: permission denied (from flag --name)`,
		},
	} {
		t.Run(c.label, func(t *testing.T) {
			set := pflag.NewFlagSet("nested", pflag.ContinueOnError)
			register(nestedSettings, set)
			path := filepath.Join(t.TempDir(), "f.yaml")
			if c.in.file != "" {
				if err := os.WriteFile(path, []byte(c.in.file), 0o600); err != nil {
					t.Fatal(err)
				}
				c.in.args = append(c.in.args, "--config", path)
			}
			if err := set.Parse(c.in.args); err != nil {
				t.Fatal(err)
			}
			got, _, warnings, err := load(nestedSettings, set, c.in.env)
			text := ""
			if err != nil {
				text = generic(err.Error(), path)
			}
			if text != c.err || len(warnings) != 0 || c.err == "" && got != c.want {
				t.Errorf("got %+v, %v, %q\nwant %+v, %q", got, warnings, text, c.want, c.err)
			}
		})
	}
}
