package embedded

import (
	"context"
	"errors"
	"fmt"
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
	if h := ns.Healthz(&server.HealthzOptions{}); h.Error != "" {
		return fmt.Errorf("%w: %s", ErrStore, h.Error)
	}
	return nil
}

const (
	// healEvery is how often Heal looks.
	healEvery = time.Second
	// healAgain is the least time between two restarts, which cut off every client: a
	// disk that refuses writes for another reason than space fails at once again.
	healAgain = 10 * time.Second
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
	told := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := s.Check()
		if err == nil {
			told = false
			continue
		}
		if !told {
			s.options.Logger.Error().Err(err).Msg("the embedded NATS server takes no messages; it is started again when there is room")
			told = true
		}
		if !room() || time.Since(last) < healAgain {
			continue
		}
		last = time.Now()
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
