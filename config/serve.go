package config

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"
)

// minHistory is what "serve" keeps when less is asked for, so that a cursor
// lives long enough to fetch the next page.
const minHistory = time.Minute

// maxPageSizeLimit is the largest --max-page-size, in rows.
const maxPageSizeLimit = 100_000

// MinReserve is the least that --min-free-bytes guards: what two memtables, the
// compactions under way and a batch of the stream may still write.
const MinReserve = 256 << 20

// Serve holds the settings of "assigndex serve".
type Serve struct {
	ConfigFile string // the YAML file that was read; empty: none

	DataDir    string // directory of the index and of the embedded NATS server
	Listen     string // host:port of the HTTP API
	NATSURL    string // one or more NATS URLs, separated by commas; empty: the embedded server
	NATSListen string // host:port of the embedded server, on loopback
	NATSCreds  string // path of a NATS credentials file; empty: none

	Stream         string        // name of the JetStream stream
	StreamMaxAge   time.Duration // age at which the stream drops messages; 0: never
	StreamMaxBytes int64         // size at which the stream refuses messages, in bytes; 0: no limit by this setting
	StreamReplicas int           // copies of the stream and of the API keys in a cluster
	AcceptTrimmed  bool          // build a new index of a stream that has lost its first messages

	History time.Duration // the window as configured; HistoryWindow is the one that holds
	// HistoryMaxBytes is the room that history may take on disk; 0: any.
	HistoryMaxBytes int64
	// MinFreeBytes is how much has to be free on the disks of the data directory for
	// events to be taken; 0: nothing is guarded.
	MinFreeBytes int64
	Limits       Limits
	Snapshots    Snapshots
	MaxPageSize  int           // largest page of a listing, in rows
	ReadyMaxLag  time.Duration // lag above which the server says that it is not ready; 0: none

	Score Score // levels of scores
	Token Token

	LogLevel  zerolog.Level
	LogFormat LogFormat
}

// HistoryWindow is how far back a snapshot can be read: History, and never less
// than a minute, which cursors need.
func (s Serve) HistoryWindow() time.Duration { return max(s.History, minHistory) }

// EmbeddedNATS reports whether serve runs its own NATS server.
func (s Serve) EmbeddedNATS() bool { return s.NATSURL == "" }

// serveSettings is the one description of the settings of "assigndex serve".
var serveSettings = slices.Concat(mainSettings, snapshotSettings, limitSettings, scoreSettings, tokenSettings, logSettings)

// mainSettings are the rows of serveSettings about where and how it serves.
var mainSettings = []setting[Serve]{
	{
		name: "config", form: formFile, noFile: true,
		help: "YAML file with settings under the names of these flags",
		set:  into(func(s *Serve) *string { return &s.ConfigFile }, parseOptionalPath),
	},
	{
		name: "data-dir", preset: "./data", form: formFile,
		help: "directory of the index and of the embedded NATS server",
		set:  into(func(s *Serve) *string { return &s.DataDir }, parsePath),
	},
	{
		name: "listen", preset: "127.0.0.1:8080", form: formAddress,
		help: "address of the HTTP API; port 0 takes a free one",
		set:  into(func(s *Serve) *string { return &s.Listen }, parseAddress),
	},
	{
		name: "nats-url", form: formURL, secret: true,
		help: "NATS server or servers, separated by commas; empty: an embedded server",
		set:  into(func(s *Serve) *string { return &s.NATSURL }, parseOptionalNATSURL),
	},
	{
		name: "nats-listen", preset: "127.0.0.1:4222", form: formAddress,
		help: "address of the embedded NATS server, on loopback; port 0 takes a free one",
		set:  into(func(s *Serve) *string { return &s.NATSListen }, parseLoopbackAddress),
	},
	{
		name: "nats-creds", form: formFile,
		help: "NATS credentials file",
		set:  into(func(s *Serve) *string { return &s.NATSCreds }, parseOptionalPath),
	},
	{
		name: "stream", preset: "ASSIGNMENTS", form: formText,
		help: "JetStream stream of the events",
		set:  into(func(s *Serve) *string { return &s.Stream }, parseStreamName),
	},
	{
		name: "stream-max-age", preset: "0", form: formDuration,
		help: "age at which the stream drops events; 0: never",
		set:  into(func(s *Serve) *time.Duration { return &s.StreamMaxAge }, parseStreamAge),
	},
	{
		name: "stream-max-bytes", preset: "0", form: formSize,
		help: "size at which the stream refuses events, such as 10GiB; 0: no limit by this setting",
		set:  into(func(s *Serve) *int64 { return &s.StreamMaxBytes }, parseSize),
	},
	{
		name: "stream-replicas", preset: "1", form: formCount,
		help: "copies of the stream and of the API keys in a cluster, when they are made: 1 to 5",
		set:  into(func(s *Serve) *int { return &s.StreamReplicas }, parseCount(1, 5)),
	},
	{
		name: "accept-trimmed-stream", preset: "false", form: formSwitch,
		help: "build a new index of a stream that has lost its first events, without what they said",
		set:  into(func(s *Serve) *bool { return &s.AcceptTrimmed }, parseSwitch),
	},
	{
		name: "history", preset: "24h", form: formDuration,
		help: "how far back reads reach; 0 keeps one minute, for cursors",
		set:  into(func(s *Serve) *time.Duration { return &s.History }, parseDuration),
	},
	{
		name: "history-max-bytes", preset: "0", form: formSize,
		help: "room on disk past which history reaches less far back, down to one minute, such as 10GiB; 0: any",
		set:  into(func(s *Serve) *int64 { return &s.HistoryMaxBytes }, parseSize),
	},
	{
		name: "min-free-bytes", preset: "1GiB", form: formSize,
		help: "room on the disk of the data directory below which no event is taken and reads go on, at least 256MiB; 0: none",
		set:  into(func(s *Serve) *int64 { return &s.MinFreeBytes }, parseReserve),
	},
	{
		name: "max-page-size", preset: "5000", form: formCount,
		help: "largest page of a listing, in rows",
		set:  into(func(s *Serve) *int { return &s.MaxPageSize }, parseCount(1, maxPageSizeLimit)),
	},
	{
		name: "ready-max-lag", preset: "0", form: formDuration,
		help: "lag behind the stream above which /readyz answers 503; 0: none",
		set:  into(func(s *Serve) *time.Duration { return &s.ReadyMaxLag }, parseDuration),
	},
}

// logSettings are the rows of serveSettings about the log.
var logSettings = []setting[Serve]{
	{
		name: "log-level", preset: "info", form: formText,
		help: "least level that is logged: trace, debug, info, warn or error",
		set:  into(func(s *Serve) *zerolog.Level { return &s.LogLevel }, parseLogLevel),
	},
	{
		name: "log-format", preset: string(LogConsole), form: formText,
		help: "console or json",
		set:  into(func(s *Serve) *LogFormat { return &s.LogFormat }, parseLogFormat),
	},
}

// ServeFlags adds the flags of "assigndex serve" to fs.
func ServeFlags(fs *pflag.FlagSet) { register(serveSettings, fs) }

// DefaultServe gives the settings with nothing set anywhere.
func DefaultServe() Serve { return presets(serveSettings) }

// LoadServe reads the settings from fs, which ServeFlags was applied to and
// which is parsed, from environ (as of os.Environ), and from the file that
// --config or ASSIGNDEX_CONFIG names. It returns an *Error, or several joined,
// when a value cannot stand; the warnings are in order of their names.
func LoadServe(fs *pflag.FlagSet, environ []string) (Serve, []Warning, error) {
	serve, from, warnings, err := load(serveSettings, fs, environ)
	if err != nil {
		return Serve{}, warnings, err
	}
	if missing := serve.Token.missing(from); missing != nil {
		return Serve{}, warnings, errors.Join(missing...)
	}
	if err := checkScore(serve, from); err != nil {
		return Serve{}, warnings, err
	}
	warnings = append(warnings, unused(serve, from)...)
	warnings = append(warnings, serve.Snapshots.warnings(serve.StreamMaxAge, from)...)
	return serve, append(warnings, serve.Token.unused(from)...), nil
}

// unused warns of settings that were given and that another one makes idle.
func unused(s Serve, from map[string]string) []Warning {
	const kept = "unless the stream has to be made: on a server of your own its limits are yours to change"
	idle := map[string]string{
		"nats-listen":      "nats-url names a server, so none is embedded",
		"stream-max-age":   kept,
		"stream-max-bytes": kept,
	}
	if s.EmbeddedNATS() {
		idle = map[string]string{
			"nats-creds":      "the embedded server takes no credentials; they are for the one that nats-url names",
			"stream-replicas": "the embedded server is alone",
		}
	}
	var warnings []Warning
	for _, name := range slices.Sorted(maps.Keys(idle)) {
		if source, given := from[name]; given {
			warnings = append(warnings, idleWarning(name, source, idle[name]))
		}
	}
	return warnings
}

func idleWarning(name, source, why string) Warning {
	return Warning{Name: name, Text: "the value from " + source + " is not used: " + why}
}
