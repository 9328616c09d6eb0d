package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// sources is what one load of the tests reads.
type sources struct {
	args []string
	env  []string
	file string // content of the configuration file; empty: none is named
}

// loadServe writes the file, parses the flags and loads. Errors and warnings
// name the file as FILE.
func loadServe(t *testing.T, in sources) (Serve, []string, error) {
	t.Helper()
	path := ""
	if in.file != "" {
		path = filepath.Join(t.TempDir(), "assigndex.yaml")
		if err := os.WriteFile(path, []byte(in.file), 0o600); err != nil {
			t.Fatal(err)
		}
		in.args = append(in.args, "--config", path)
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	ServeFlags(fs)
	if err := fs.Parse(in.args); err != nil {
		t.Fatal(err)
	}
	s, warnings, err := LoadServe(fs, in.env)
	if s.ConfigFile != path && err == nil {
		t.Errorf("ConfigFile is %q, want %q", s.ConfigFile, path)
	}
	s.ConfigFile = ""
	var lines []string
	for _, w := range warnings {
		lines = append(lines, generic(w.String(), path))
	}
	if err != nil && path != "" {
		err = genericError{generic(err.Error(), path), err}
	}
	return s, lines, err
}

func generic(text, path string) string {
	if path == "" {
		return text
	}
	return strings.ReplaceAll(text, path, "FILE")
}

type genericError struct {
	text string
	err  error
}

func (e genericError) Error() string { return e.text }
func (e genericError) Unwrap() error { return e.err }

func TestServeDefaultsAreTheContract(t *testing.T) {
	want := Serve{
		DataDir: "./data", Listen: "127.0.0.1:8080", NATSURL: "", NATSListen: "127.0.0.1:4222", NATSCreds: "",
		Stream: "ASSIGNMENTS", StreamMaxAge: 0, StreamMaxBytes: 0, StreamReplicas: 1, History: 24 * time.Hour, MaxPageSize: 5000,
		MinFreeBytes: 1 << 30,
		Snapshots:    Snapshots{Keep: 3}, Limits: Limits{Ingests: 4, Connections: 4096},
		Score:    Score{High: 0.75, Medium: 0.35},
		LogLevel: zerolog.InfoLevel, LogFormat: LogConsole,
		Token: Token{TenantClaim: "tenant", RoleClaim: "role", AdminRole: "admin", WriterRole: "writer"},
	}
	if got := DefaultServe(); got != want {
		t.Errorf("DefaultServe:\n got %+v\nwant %+v", got, want)
	}
	got, warnings, err := loadServe(t, sources{})
	if got != want || len(warnings) != 0 || err != nil {
		t.Errorf("LoadServe of nothing:\n got %+v, %q, %v\nwant %+v", got, warnings, err, want)
	}
	if !want.EmbeddedNATS() {
		t.Error("EmbeddedNATS is false by default")
	}
}

// everySetting holds, for each setting of serve, a value of its own for every
// source and how it reads back.
var everySetting = []struct {
	name            string
	flag, env, file string // file is YAML
	get             func(Serve) any
	byFlag          any
	byEnv           any
	byFile          any
}{
	{"data-dir", "/f", "/e", "/y", func(s Serve) any { return s.DataDir }, "/f", "/e", "/y"},
	{"listen", ":1", "h:2", "'[::1]:3'", func(s Serve) any { return s.Listen }, ":1", "h:2", "[::1]:3"},
	{
		"nats-url", "nats://f", "tls://e:1,tls://e:2", "y:3",
		func(s Serve) any { return s.NATSURL }, "nats://f", "tls://e:1,tls://e:2", "y:3",
	},
	{
		"nats-listen", "127.0.0.1:1", "[::1]:2", "localhost:3",
		func(s Serve) any { return s.NATSListen }, "127.0.0.1:1", "[::1]:2", "localhost:3",
	},
	{"nats-creds", "f", "e", "y", func(s Serve) any { return s.NATSCreds }, "f", "e", "y"},
	{"stream", "F", "E", "Y-1_é", func(s Serve) any { return s.Stream }, "F", "E", "Y-1_é"},
	{
		"stream-max-age", "90s", "1d", "0",
		func(s Serve) any { return s.StreamMaxAge }, 90 * time.Second, 24 * time.Hour, time.Duration(0),
	},
	{
		"stream-max-bytes", "10GiB", "5 MB", "1073741824",
		func(s Serve) any { return s.StreamMaxBytes }, int64(10 << 30), int64(5e6), int64(1 << 30),
	},
	{
		"history", "0", "7d", "1h30m",
		func(s Serve) any { return s.History }, time.Duration(0), 7 * 24 * time.Hour, 90 * time.Minute,
	},
	{
		"history-max-bytes", "10GiB", "5 MB", "1073741824",
		func(s Serve) any { return s.HistoryMaxBytes }, int64(10 << 30), int64(5e6), int64(1 << 30),
	},
	{
		"min-free-bytes", "0", "5 GB", "268435456",
		func(s Serve) any { return s.MinFreeBytes }, int64(0), int64(5e9), int64(1 << 28),
	},
	{"max-page-size", "1", "100000", "250", func(s Serve) any { return s.MaxPageSize }, 1, 100000, 250},
	{
		"snapshot-every", "1h", "7d", "1m",
		func(s Serve) any { return s.Snapshots.Every }, time.Hour, 7 * 24 * time.Hour, time.Minute,
	},
	{"snapshot-keep", "1", "1000", "7", func(s Serve) any { return s.Snapshots.Keep }, 1, 1000, 7},
	{
		"snapshot-max-age", "1h", "7d", "1ms",
		func(s Serve) any { return s.Snapshots.MaxAge }, time.Hour, 7 * 24 * time.Hour, time.Millisecond,
	},
	{"bootstrap", "true", "false", "true", func(s Serve) any { return s.Snapshots.Bootstrap }, true, false, true},
	{"limits.reads", "1", "100000", "9", func(s Serve) any { return s.Limits.Reads }, 1, 100000, 9},
	{"limits.ingests", "1", "100000", "9", func(s Serve) any { return s.Limits.Ingests }, 1, 100000, 9},
	{"limits.connections", "16", "100000", "99", func(s Serve) any { return s.Limits.Connections }, 16, 100000, 99},
	{"limits.caller-per-second", "0.5", "1e6", "9", func(s Serve) any { return s.Limits.CallerPerSecond }, 0.5, 1e6, 9.0},
	{"limits.caller-burst", "1", "100000", "9", func(s Serve) any { return s.Limits.CallerBurst }, 1, 100000, 9},
	{"limits.caller-at-once", "1", "100000", "9", func(s Serve) any { return s.Limits.CallerAtOnce }, 1, 100000, 9},
	{"score.high", "1", "0.9", "0.8", func(s Serve) any { return s.Score.High }, 1.0, 0.9, 0.8},
	{"score.medium", "0", "0.1", "0.2", func(s Serve) any { return s.Score.Medium }, 0.0, 0.1, 0.2},
	{
		"ready-max-lag", "0", "30s", "1m",
		func(s Serve) any { return s.ReadyMaxLag }, time.Duration(0), 30 * time.Second, time.Minute,
	},
	{"stream-replicas", "3", "1", "5", func(s Serve) any { return s.StreamReplicas }, 3, 1, 5},
	{"accept-trimmed-stream", "true", "false", "true", func(s Serve) any { return s.AcceptTrimmed }, true, false, true},
	{
		"log-level", "DEBUG", "warn", "error",
		func(s Serve) any { return s.LogLevel }, zerolog.DebugLevel, zerolog.WarnLevel, zerolog.ErrorLevel,
	},
	{"log-format", "json", "JSON", "json", func(s Serve) any { return s.LogFormat }, LogJSON, LogJSON, LogJSON},
	{
		"token.jwks-url", "https://f/keys", "http://127.0.0.1:1/?p=e", "http://localhost:2",
		func(s Serve) any { return s.Token.JWKSURL }, "https://f/keys", "http://127.0.0.1:1/?p=e", "http://localhost:2",
	},
	{"token.issuer", "https://f/", "e", "y", func(s Serve) any { return s.Token.Issuer }, "https://f/", "e", "y"},
	{"token.audience", "api://f", "e", "y", func(s Serve) any { return s.Token.Audience }, "api://f", "e", "y"},
	{"token.tenant-claim", "https://f.example/t", "e.t", "y", func(s Serve) any { return s.Token.TenantClaim }, "https://f.example/t", "e.t", "y"},
	{"token.role-claim", "a.b", "e", "''", func(s Serve) any { return s.Token.RoleClaim }, "a.b", "e", ""},
	{"token.admin-role", "Index Admin", "true", "''", func(s Serve) any { return s.Token.AdminRole }, "Index Admin", "true", ""},
	{"token.writer-role", "", "e", "y", func(s Serve) any { return s.Token.WriterRole }, "", "e", "y"},
}

func TestServePrecedenceOfEverySetting(t *testing.T) {
	covered := map[string]bool{fileSetting: true}
	for _, c := range everySetting {
		covered[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			variable := setting[Serve]{name: c.name}.env()
			flag, env, file := []string{"--" + c.name + "=" + c.flag}, []string{variable + "=" + c.env}, c.name+": "+c.file
			var needed []string // by this setting, of others
			if c.name == settingJWKSURL {
				needed = []string{"--token.issuer=i", "--token.audience=a"}
			}
			for _, l := range []struct {
				label string
				in    sources
				want  any
			}{
				{"nothing", sources{}, c.get(DefaultServe())},
				{"file", sources{file: file}, c.byFile},
				{"environment over file", sources{env: env, file: file}, c.byEnv},
				{"flag over environment and file", sources{args: flag, env: env, file: file}, c.byFlag},
				{"flag over file", sources{args: flag, file: file}, c.byFlag},
				{"flag", sources{args: flag}, c.byFlag},
				{"environment", sources{env: env}, c.byEnv},
				{"an empty variable is none", sources{env: []string{variable + "="}, file: file}, c.byFile},
			} {
				l.in.args = slices.Concat(l.in.args, needed)
				s, _, err := loadServe(t, l.in)
				if err != nil {
					t.Errorf("%s: %v", l.label, err)
				} else if got := c.get(s); got != l.want {
					t.Errorf("%s: got %v, want %v", l.label, got, l.want)
				}
			}
		})
	}
	for _, s := range serveSettings {
		if !covered[s.name] {
			t.Errorf("setting %s has no case", s.name)
		}
	}
}

// A switch needs no value, and one source can turn off what another turned on.
func TestServeSwitch(t *testing.T) {
	for _, c := range []struct {
		arg  string
		want bool
	}{{"--accept-trimmed-stream", true}, {"--accept-trimmed-stream=false", false}} {
		s, _, err := loadServe(t, sources{args: []string{c.arg}, file: fmt.Sprintf("accept-trimmed-stream: %v", !c.want)})
		if err != nil || s.AcceptTrimmed != c.want {
			t.Errorf("%s over the file: got %v, %v", c.arg, s.AcceptTrimmed, err)
		}
	}
}

// A flag that is given with its default still beats the sources below it.
func TestServeFlagAtItsDefaultCounts(t *testing.T) {
	s, _, err := loadServe(t, sources{args: []string{"--history", "24h", "--nats-url", ""}, file: "history: 1h\nnats-url: nats://y"})
	if err != nil || s.History != 24*time.Hour || s.NATSURL != "" {
		t.Errorf("got history %v, nats-url %q, %v", s.History, s.NATSURL, err)
	}
}

func TestHistoryWindowKeepsAMinuteForCursors(t *testing.T) {
	for _, c := range []struct{ history, want time.Duration }{
		{0, time.Minute}, {time.Second, time.Minute}, {time.Minute, time.Minute}, {time.Hour, time.Hour},
	} {
		if got := (Serve{History: c.history}).HistoryWindow(); got != c.want {
			t.Errorf("history %v: window %v, want %v", c.history, got, c.want)
		}
	}
}

func TestConfigFileFromTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte("history: 5h"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := loadServe(t, sources{args: []string{"--config="}, env: []string{"ASSIGNDEX_CONFIG=" + path}})
	if err != nil || s.History != 24*time.Hour {
		t.Errorf("an empty --config still reads a file: %v, %v", s.History, err)
	}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	ServeFlags(fs)
	s, _, err = LoadServe(fs, []string{"ASSIGNDEX_CONFIG=" + path})
	if err != nil || s.History != 5*time.Hour || s.ConfigFile != path {
		t.Errorf("got %v from %q, %v", s.History, s.ConfigFile, err)
	}
}

func TestServeErrorsNameSettingSourceProblemAndRemedy(t *testing.T) {
	const (
		duration = "write a number with its unit, such as 90s, 24h or 7d"
		size     = "write bytes, or a whole number with its unit, such as 500MB or 10GiB"
		address  = "write host:port, such as 127.0.0.1:8080 or [::1]:8080"
		natsURL  = "write nats://host:port, or several separated by commas"
		stream   = "write letters, digits, - and _, such as ASSIGNMENTS"
		loopback = "can be reached from other machines, and the embedded NATS server has no authentication" +
			" (from flag --nats-listen); listen on 127.0.0.1, or run a NATS server with authentication and name it by nats-url"
	)
	flag := func(name, value string) sources { return sources{args: []string{"--" + name + "=" + value}} }
	for _, c := range []struct {
		in   sources
		want string
	}{
		{flag("data-dir", ""), `data-dir: "" is empty (from flag --data-dir); name a path`},
		{flag("nats-creds", "a\x00"), `nats-creds: "a\x00" holds a NUL character (from flag --nats-creds); name a path without one`},
		{flag("listen", "8080"), `listen: "8080" is not an address (from flag --listen); ` + address},
		{flag("listen", ""), `listen: "" is not an address (from flag --listen); ` + address},
		{flag("listen", "::1:80"), `listen: "::1:80" is not an address (from flag --listen); ` + address},
		{flag("listen", "h:http"), `listen: "h:http" has no port from 0 to 65535 (from flag --listen); ` + address},
		{flag("listen", "h:65536"), `listen: "h:65536" has no port from 0 to 65535 (from flag --listen); ` + address},
		{flag("listen", "a b:80"), `listen: "a b:80" has no valid host (from flag --listen); ` + address},
		{flag("listen", "http://h:80"), `listen: "http://h:80" is not an address (from flag --listen); ` + address},
		{flag("nats-listen", "x"), `nats-listen: "x" is not an address (from flag --nats-listen); ` + address},
		{flag("nats-listen", ":4222"), `nats-listen: ":4222" ` + loopback},
		{flag("nats-listen", "0.0.0.0:4222"), `nats-listen: "0.0.0.0:4222" ` + loopback},
		{flag("nats-listen", "[::]:4222"), `nats-listen: "[::]:4222" ` + loopback},
		{flag("nats-listen", "nats.example:4222"), `nats-listen: "nats.example:4222" ` + loopback},
		{flag("nats-url", "http://u:hunter2@h"), `nats-url: the value has a scheme that is none of nats, tls, ws and wss (from flag --nats-url); ` + natsURL},
		{flag("nats-url", "nats://u:hunter/2@h"), `nats-url: the value is not a URL (from flag --nats-url); ` + natsURL},
		{flag("nats-url", "a,,b"), `nats-url: the value has no host (from flag --nats-url); ` + natsURL},
		{flag("nats-url", "h:65536"), `nats-url: the value has a port above 65535 (from flag --nats-url); ` + natsURL},
		{flag("stream", ""), `stream: "" is empty (from flag --stream); ` + stream},
		{flag("stream", "a.b"), `stream: "a.b" holds a character that JetStream does not allow in a stream's name (from flag --stream); ` + stream},
		{flag("stream", "a b"), `stream: "a b" holds a character that JetStream does not allow in a stream's name (from flag --stream); ` + stream},
		{flag("stream", strings.Repeat("s", 256)), `stream: "` + strings.Repeat("s", 256) + `" is longer than 255 bytes (from flag --stream); ` + stream},
		{flag("stream-max-age", "99ms"), `stream-max-age: "99ms" is shorter than JetStream allows (from flag --stream-max-age); write at least 100ms, or 0 for no limit`},
		{flag("stream-max-age", "x"), `stream-max-age: "x" is not a duration (from flag --stream-max-age); ` + duration},
		{flag("stream-max-bytes", "10G"), `stream-max-bytes: "10G" is not a size (from flag --stream-max-bytes); ` + size},
		{flag("min-free-bytes", "255MiB"), `min-free-bytes: "255MiB" is less than what is written after ingest has stopped (from flag --min-free-bytes); write at least 256MiB, or 0 to guard nothing`},
		{flag("stream-max-bytes", "-1"), `stream-max-bytes: "-1" is not a size (from flag --stream-max-bytes); ` + size},
		{flag("stream-max-bytes", "1.5GiB"), `stream-max-bytes: "1.5GiB" is not a size (from flag --stream-max-bytes); ` + size},
		{flag("stream-max-bytes", ""), `stream-max-bytes: "" is not a size (from flag --stream-max-bytes); ` + size},
		{flag("stream-max-bytes", "8388608TiB"), `stream-max-bytes: "8388608TiB" is larger than any disk (from flag --stream-max-bytes); ` + size},
		{flag("history", "-1h"), `history: "-1h" is below zero (from flag --history); ` + duration},
		{flag("history", "24"), `history: "24" is not a duration (from flag --history); ` + duration},
		{flag("history", ""), `history: "" is not a duration (from flag --history); ` + duration},
		{flag("history", "1.5d"), `history: "1.5d" is not a duration (from flag --history); ` + duration},
		{flag("history", "106752d"), `history: "106752d" is not a duration (from flag --history); ` + duration},
		{flag("history", "106751d24h"), `history: "106751d24h" is not a duration (from flag --history); ` + duration},
		{flag("accept-trimmed-stream", "ja"), `accept-trimmed-stream: "ja" is neither true nor false (from flag --accept-trimmed-stream); write true or false`},
		{flag("max-page-size", "0"), `max-page-size: "0" is out of range (from flag --max-page-size); write a whole number from 1 to 100000`},
		{flag("max-page-size", "100001"), `max-page-size: "100001" is out of range (from flag --max-page-size); write a whole number from 1 to 100000`},
		{flag("max-page-size", "1e3"), `max-page-size: "1e3" is not a whole number (from flag --max-page-size); write a whole number from 1 to 100000`},
		{flag("log-level", "loud"), `log-level: "loud" is not a level (from flag --log-level); write trace, debug, info, warn or error`},
		{flag("log-level", ""), `log-level: "" is not a level (from flag --log-level); write trace, debug, info, warn or error`},
		{flag("log-level", "1"), `log-level: "1" is not a level (from flag --log-level); write trace, debug, info, warn or error`},
		{flag("log-format", "xml"), `log-format: "xml" is not a format (from flag --log-format); write console or json`},
		{
			sources{env: []string{"ASSIGNDEX_HISTORY=1w"}},
			`history: "1w" is not a duration (from environment variable ASSIGNDEX_HISTORY); ` + duration,
		},
		{flag("snapshot-every", "59s"), `snapshot-every: "59s" is shorter than snapshots are of use (from flag --snapshot-every); write at least 1m, or 0 to take none`},
		{
			sources{file: "history: 1w"},
			`history: "1w" is not a duration (from file FILE, key history); ` + duration,
		},
		{
			sources{args: []string{"--listen=x"}, env: []string{"ASSIGNDEX_MAX_PAGE_SIZE=x"}, file: "histroy: 1h\nlog-level: x"},
			"histroy: no such key (from file FILE, key histroy); did you mean history?\n" +
				`listen: "x" is not an address (from flag --listen); ` + address + "\n" +
				`max-page-size: "x" is not a whole number (from environment variable ASSIGNDEX_MAX_PAGE_SIZE); ` +
				"write a whole number from 1 to 100000\n" +
				`log-level: "x" is not a level (from file FILE, key log-level); write trace, debug, info, warn or error`,
		},
	} {
		s, _, err := loadServe(t, c.in)
		if err == nil || err.Error() != c.want {
			t.Errorf("%+v:\n got %v\nwant %s", c.in, err, c.want)
		}
		var typed *Error
		if !errors.As(err, &typed) {
			t.Errorf("%+v: the error is no *Error", c.in)
		}
		if s != (Serve{}) {
			t.Errorf("%+v: settings come with the error: %+v", c.in, s)
		}
	}
}

// A value that was beaten by another source is not checked: a flag mends it.
func TestServeChecksOnlyTheValueThatHolds(t *testing.T) {
	s, _, err := loadServe(t, sources{args: []string{"--history=2h"}, env: []string{"ASSIGNDEX_HISTORY=x"}, file: "history: y"})
	if err != nil || s.History != 2*time.Hour {
		t.Errorf("got %v, %v", s.History, err)
	}
}

func TestServeWarnings(t *testing.T) {
	for _, c := range []struct {
		label string
		in    sources
		want  []string
	}{
		{"what Kubernetes injects", sources{env: []string{
			"ASSIGNDEX_SERVICE_HOST=10.0.0.1", "ASSIGNDEX_PORT=tcp://10.0.0.1:8080", "PATH=/bin",
		}}, []string{
			"ASSIGNDEX_PORT: not a setting of this program, ignored",
			"ASSIGNDEX_SERVICE_HOST: not a setting of this program, ignored",
		}},
		{"a misspelt one", sources{env: []string{"ASSIGNDEX_DATADIR=/x", "ASSIGNDEX_histroy=1h"}}, []string{
			"ASSIGNDEX_DATADIR: not a setting of this program, ignored; did you mean ASSIGNDEX_DATA_DIR?",
			"ASSIGNDEX_histroy: not a setting of this program, ignored; did you mean ASSIGNDEX_HISTORY?",
		}},
		{"empty and unknown", sources{env: []string{"ASSIGNDEX_X="}}, []string{"ASSIGNDEX_X: not a setting of this program, ignored"}},
		{"another command's", sources{env: []string{"ASSIGNDEX_URL=http://h", "ASSIGNDEX_API_KEY=k", "assigndex_data_dir=/x"}}, nil},
		{"nats-listen without an embedded server", sources{args: []string{"--nats-url=h"}, file: "nats-listen: 127.0.0.1:1"}, []string{
			"nats-listen: the value from file FILE, key nats-listen is not used: nats-url names a server, so none is embedded",
		}},
		{"nats-creds with an embedded server", sources{env: []string{"ASSIGNDEX_NATS_CREDS=x"}}, []string{
			"nats-creds: the value from environment variable ASSIGNDEX_NATS_CREDS is not used: " +
				"the embedded server takes no credentials; they are for the one that nats-url names",
		}},
		{"a stream that is trimmed, and no snapshots", sources{args: []string{"--stream-max-age=24h"}}, []string{
			"snapshot-every: stream-max-age is 24h0m0s and snapshot-every is 0: when the stream has dropped its first events, " +
				"a new replica or a rebuild has nothing to begin with; set snapshot-every to less than stream-max-age",
		}},
		{"snapshots further apart than the stream reaches", sources{args: []string{"--stream-max-age=24h", "--snapshot-every=24h"}}, []string{
			"snapshot-every: snapshot-every is 24h0m0s and stream-max-age is 24h0m0s: the stream drops events before the next snapshot holds them, " +
				"so that a new replica or a rebuild cannot reach the stream; set snapshot-every to less than stream-max-age",
		}},
		{"snapshots that reach", sources{args: []string{"--stream-max-age=24h", "--snapshot-every=23h", "--snapshot-keep=1"}}, nil},
		{"what is kept of none", sources{args: []string{"--snapshot-keep=1"}}, []string{
			"snapshot-keep: the value from flag --snapshot-keep is not used: snapshot-every is 0, and only a server with a schedule removes snapshots",
		}},
		{"nats-creds where they belong", sources{args: []string{"--nats-creds=x", "--nats-url=h"}}, nil},
	} {
		_, got, err := loadServe(t, c.in)
		if err != nil {
			t.Errorf("%s: %v", c.label, err)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.label, got, c.want)
		}
	}
}

// Warnings matter most when something else is wrong too.
func TestServeWarnsBesideAnError(t *testing.T) {
	_, warnings, err := loadServe(t, sources{env: []string{"ASSIGNDEX_HISTROY=1h", "ASSIGNDEX_LISTEN=x"}})
	if err == nil || len(warnings) != 1 {
		t.Errorf("got %q, %v", warnings, err)
	}
}
