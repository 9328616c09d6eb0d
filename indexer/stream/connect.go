package stream

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// redact gives the hosts of one or more URLs without what they hold of users and
// passwords.
func redact(urls string) string {
	var hosts []string
	for text := range strings.SplitSeq(urls, ",") {
		hosts = append(hosts, strings.TrimSpace(text[strings.LastIndexByte(text, '@')+1:]))
	}
	return strings.Join(hosts, ", ")
}

// Connect opens a connection that reconnects for ever. The first attempt must
// succeed. creds is a credentials file, empty for none.
func Connect(url, creds, name string, log zerolog.Logger, more ...nats.Option) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn().Err(err).Msg("connection to NATS lost")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info().Str("server", nc.ConnectedUrlRedacted()).Msg("connected to NATS again")
		}),
		// A missing permission shows here and otherwise only as a time-out.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error().Err(err).Msg("NATS reports an error") }),
	}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	nc, err := nats.Connect(url, append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redact(url), err)
	}
	return nc, nil
}
