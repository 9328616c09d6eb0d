package config

import "github.com/spf13/pflag"

// Client holds the settings of the commands that talk to a running server.
type Client struct {
	URL       string // base URL of the HTTP API, without a slash at its end
	NATSURL   string // one or more NATS URLs, separated by commas
	NATSCreds string // path of a NATS credentials file; empty: none
	APIKey    string // key for the HTTP API; empty: none
}

// clientSettings is the one description of the settings of the other commands.
// They take no file.
var clientSettings = []setting[Client]{
	{
		name: "url", preset: "http://127.0.0.1:8080", form: formURL, secret: true,
		help: "the server's HTTP API",
		set:  into(func(c *Client) *string { return &c.URL }, parseHTTPURL),
	},
	{
		name: "nats-url", preset: "nats://127.0.0.1:4222", form: formURL, secret: true,
		help: "NATS server or servers, separated by commas",
		set:  into(func(c *Client) *string { return &c.NATSURL }, parseNATSURL),
	},
	{
		name: "nats-creds", form: formFile,
		help: "NATS credentials file",
		set:  into(func(c *Client) *string { return &c.NATSCreds }, parseOptionalPath),
	},
	{
		name: "api-key", form: formText, secret: true,
		help: "key for the HTTP API; the variable hides it from the list of processes",
		set:  into(func(c *Client) *string { return &c.APIKey }, parseOptionalToken),
	},
}

// ClientFlags adds the flags of a command that talks to a running server to fs.
func ClientFlags(fs *pflag.FlagSet) { register(clientSettings, fs) }

// DefaultClient gives the settings with nothing set anywhere: they reach a
// "serve" on the same machine that was started with its defaults.
func DefaultClient() Client { return presets(clientSettings) }

// LoadClient reads the settings from fs, which ClientFlags was applied to and
// which is parsed, and from environ (as of os.Environ). It returns an *Error,
// or several joined, when a value cannot stand; the warnings are in order of
// their names.
func LoadClient(fs *pflag.FlagSet, environ []string) (Client, []Warning, error) {
	client, _, warnings, err := load(clientSettings, fs, environ)
	if err != nil {
		return Client{}, warnings, err
	}
	return client, warnings, nil
}
