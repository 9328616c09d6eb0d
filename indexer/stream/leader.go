package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a server of a cluster tells of a replicated stream may be old. A server that
// has lost sight of the others answers for a stream without a leader, with what it
// has itself; and a leader that was cut off or stopped takes itself for the leader
// until it hears of the next one. Both end before what was acknowledged since.
const (
	// heardLately is less than the time after which followers that hear nothing elect
	// another leader (4 seconds at least): a leader that a majority has answered more
	// recently was still the only one.
	heardLately = 3 * time.Second
	// askAgain is how soon a stream is asked for again while nobody speaks for it.
	askAgain = 100 * time.Millisecond
	// looks and lookEvery say how often, and how far apart, a replicated stream must
	// be found to be another one before the index is undone. A server that is stopped
	// and goes on counts old answers of the others as new ones, but hears of its
	// successor, which sends a sign of life every second, before the next look.
	looks     = 3
	lookEvery = 2 * time.Second
	// leaveAfter is for how long a server may fail to give a leader's word before another
	// one is connected to: the one may be cut off from the others, and does not say so.
	leaveAfter = 8 * time.Second
)

// errNoLeader says that nobody could speak for the stream. It passes.
var errNoLeader = errors.New("its leader is not known, or has not lately heard from a majority of the servers that hold it")

// led reports whether what a server tells of a stream is the word of a leader.
func led(info *jetstream.StreamInfo) error {
	if !replicated(info) {
		return nil
	}
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return errNoLeader
	}
	heard := 1 // the leader itself
	for _, peer := range info.Cluster.Replicas {
		if !peer.Offline && peer.Active > 0 && peer.Active < heardLately { // 0: not since it leads
			heard++
		}
	}
	if servers := max(info.Config.Replicas, len(info.Cluster.Replicas)+1); heard <= servers/2 {
		return errNoLeader
	}
	return nil
}

func replicated(info *jetstream.StreamInfo) bool {
	return info.Config.Replicas > 1 || (info.Cluster != nil && len(info.Cluster.Replicas) > 0)
}

// info asks the stream's leader for its state. Where there is none at the moment, it
// waits for it for a while.
func (r *Reader) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	_, info, err := r.lookUp(ctx)
	return info, err
}

func (r *Reader) lookUp(ctx context.Context) (jetstream.Stream, *jetstream.StreamInfo, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var before error
	for {
		s, err := r.js.Stream(limited, r.stream)
		if err == nil {
			if err = led(s.CachedInfo()); err == nil {
				r.heard()
				return s, s.CachedInfo(), nil
			}
			before = err
		}
		if errors.Is(err, errNoLeader) {
			select {
			case <-limited.Done():
			case <-time.After(askAgain):
				continue
			}
		}
		if limited.Err() != nil && before != nil {
			err = before // it says more than that the time is over
		}
		if ctx.Err() == nil && unserved(err) {
			r.leave(began)
		}
		return nil, nil, fmt.Errorf("look up stream %s: %w", r.stream, err)
	}
}

// unserved reports whether a server has failed to give anybody's word.
func unserved(err error) bool {
	answer, ok := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, errNoLeader) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) ||
		(ok && answer.Code == http.StatusServiceUnavailable)
}

// heard notes that the server that is connected to gave a leader's word.
func (r *Reader) heard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unheard = time.Time{}
}

// leave connects to another server, if there is one, when this one has given nobody's
// word for too long. It was asked at the given time.
func (r *Reader) leave(asked time.Time) {
	if !r.nc.IsConnected() || len(r.nc.Servers()) < 2 {
		return
	}
	r.mu.Lock()
	if r.unheard.IsZero() {
		r.unheard = asked
	}
	over := time.Since(r.unheard) >= leaveAfter
	if over {
		r.unheard = time.Time{} // the next one has as long
	}
	r.mu.Unlock()
	if !over {
		return
	}
	r.log.Warn().Str("server", r.nc.ConnectedUrlRedacted()).Str("stream", r.stream).
		Msg("this server does not reach the stream's leader: connecting to another one")
	if err := r.nc.ForceReconnect(); err != nil {
		r.log.Debug().Err(err).Msg("the connection is closed")
	}
}

// erased reports whether a server that has got past them says that it does not hold
// the sequences from one to another. That a server holds none after a sequence proves
// nothing: it may not have got so far.
func (r *Reader) erased(ctx context.Context, from, to uint64) (bool, error) {
	s, _, err := r.lookUp(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return false, fmt.Errorf("ask stream %s for what was erased: %w", r.stream, err)
	}
	if err := led(info); err != nil {
		return false, fmt.Errorf("ask stream %s for what was erased: %w", r.stream, err)
	}
	// They are in order, each once.
	first, found := slices.BinarySearch(info.State.Deleted, from)
	last := first + int(to-from) //nolint:gosec // a count of messages
	return found && last < len(info.State.Deleted) && info.State.Deleted[last] == to, nil
}
