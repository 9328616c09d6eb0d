package embedded

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrStore is wrapped by the error of Check when JetStream stores nothing any more
// until the server is started again.
var ErrStore = errors.New("JetStream has stopped storing")

// Check asks the running server whether JetStream still stores messages. After a
// failed write (a full disk) a stream takes no message any more, without a word to
// its publishers, or all of JetStream is off.
//
// The error wraps ErrNotRunning or ErrStore.
func (s *Server) Check() error {
	ns := s.current()
	if ns == nil {
		return ErrNotRunning
	}
	for _, e := range ns.Healthz(&server.HealthzOptions{Details: true}).Errors {
		// What else it finds no restart would mend: a stream that could not be recovered,
		// or one that is being deleted at this moment.
		if e.Type == server.HealthzErrorJetStream || strings.Contains(e.Error, writeError) {
			return fmt.Errorf("%w: %s", ErrStore, e.Error)
		}
	}
	return nil
}

// writeError is how the server's health tells of a stream that stores nothing more.
const writeError = " write error: "

const (
	// healEvery is how often Heal looks.
	healEvery = time.Second
	// healAgain is the least time between two restarts, which cut off every client. It
	// doubles up to healAtMost while they are in vain: a disk that refuses writes for
	// another reason than space does so again.
	healAgain, healAtMost = 10 * time.Second, 10 * time.Minute
)

// Heal looks after JetStream until the context ends, which it returns: when it has
// stopped storing, and room reports that it could store again, the server is
// started again. Clients see a disconnect and reconnect by themselves. What was
// acknowledged before is on disk. A start that fails is tried again.
//
// It must end before Close is called for good, or it would undo it.
func (s *Server) Heal(ctx context.Context, room func() bool) error {
	tick := time.NewTicker(healEvery)
	defer tick.Stop()
	var last time.Time // of the last restart
	wait, told := time.Duration(0), false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := s.Check()
		if err == nil {
			if time.Since(last) > healAtMost {
				wait = 0
			}
			told = false
			continue
		}
		if !told {
			s.options.Logger.Error().Err(err).Msg("the embedded NATS server takes no messages; it is started again when there is room")
			told = true
		}
		if !room() || time.Since(last) < wait {
			continue
		}
		last, wait = time.Now(), min(max(healAgain, 2*wait), healAtMost)
		if err := s.restart(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.options.Logger.Error().Err(err).Msg("the embedded NATS server could not be started again")
			continue
		}
		s.options.Logger.Info().Dur("took", time.Since(last)).Msg("the embedded NATS server was started again")
	}
}

func (s *Server) restart(ctx context.Context) error {
	if err := s.Close(); err != nil {
		return err
	}
	return s.Start(ctx)
}
