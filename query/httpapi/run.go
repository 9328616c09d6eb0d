package httpapi

import (
	"context"
	"errors"
	"log" //nolint:depguard // http.Server takes no other logger
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// Limits of a connection. Those of whole requests leave room for a slow client,
// not for one that sends a byte now and then to hold on to its connection. The
// longest wait for a sequence is added to those that run while a request waits:
// net/http gives up a request whose time to read is over even when all was read.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second // header and body
	writeTimeout      = 60 * time.Second // answer
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	// drainTimeout is how long requests under way may take after Run's context
	// ended.
	drainTimeout = 10 * time.Second
)

// Run serves a listener, which it closes, until the context ends, which is not
// an error: then it takes no new requests and waits for those under way.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx: they are drained.
	requests, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       s.maxWait + readTimeout,
		WriteTimeout:      s.maxWait + writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.limits.connections.changed,
		ErrorLog:          log.New(connectionLog{s.log}, "", 0),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.watches.end()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.maxWait+drainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		s.log.Warn().Err(err).Msg("requests were still under way when the time to drain was over")
		giveUp()
		_ = srv.Close() // what Shutdown gave up on
	}
	// Whoever closes the index next must not close it under a handler.
	s.handlers.Wait()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// connectionLog passes on what net/http says of single connections.
type connectionLog struct{ log zerolog.Logger }

func (l connectionLog) Write(p []byte) (int, error) {
	l.log.Debug().Str("http", strings.TrimSpace(string(p))).Msg("connection")
	return len(p), nil
}
