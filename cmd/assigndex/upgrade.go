package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/stream"
)

// upgrade makes an index again that an older version of this program wrote. Until then
// what is served stays as it is: the old answers when only the rules have changed, and
// none when this program cannot read them.
type upgrade struct {
	node   *node
	stream interface {
		Bounds(ctx context.Context) (created time.Time, first, last uint64, err error)
	}

	mu    sync.Mutex // guards what follows
	head  stream.Head
	state string // what operators are told; empty: it is over
}

const (
	// upgradeRetry is how long a failed upgrade waits, for the stream to be back or an
	// operator to act.
	upgradeRetry = 15 * time.Second
	// upgradeTells is how often the log tells how far it is.
	upgradeTells = 10 * time.Second
	// upgradeLooks is how often the end of the stream is asked for.
	upgradeLooks = 2 * time.Second
)

func newUpgrade(n *node, reader *stream.Reader) *upgrade {
	return &upgrade{node: n, stream: reader, state: "it has not begun"}
}

// Head is part of indexer.End.
func (u *upgrade) Head() stream.Head {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.head
}

// Ask is part of indexer.End.
func (u *upgrade) Ask(ctx context.Context, _ time.Time) (stream.Head, error) {
	asked := time.Now()
	_, _, last, err := u.stream.Bounds(ctx)
	if err != nil {
		return stream.Head{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.head.Seen = time.Now()
	if last > u.head.Seq {
		u.head.Prev, u.head.Seq, u.head.Moved = u.head.Seq, last, u.head.Seen
	}
	u.head.Asked = asked
	return u.head, nil
}

func (u *upgrade) say(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state = fmt.Sprintf(format, args...)
}

// troubles tells of an upgrade that is not over.
func (u *upgrade) troubles() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state == "" {
		return nil
	}
	return []string{"the index was written by an older version and is made again from the stream: " + u.state}
}

// run returns when the index has been made again, or the context has ended.
func (u *upgrade) run(ctx context.Context) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		u.look(looking)
	}()
	defer func() { stop(); <-looked }()
	log := u.node.log
	log.Warn().Uint64("seq", u.node.applied()).
		Msg("the index was written by an older version: it is made again from the stream, and what it says does not change until then")
	for {
		report, err := u.node.rebuilder.Rebuild(ctx, rebuild.Request{Whole: true}, u.progress())
		if ctx.Err() != nil {
			return nil
		}
		if report != nil {
			u.say("")
			log.Info().Err(err).Uint64("seq", report.Seq).Int("assignments", report.Assignments).Float64("seconds", report.Seconds).
				Msg("the index was made again")
			return nil
		}
		u.say("the last attempt failed: %v", err)
		log.Error().Err(err).Dur("retry_in", upgradeRetry).Msg("the index could not be made again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(upgradeRetry):
		}
	}
}

// progress keeps operators told.
func (u *upgrade) progress() func(audit.Progress) {
	var told time.Time
	return func(p audit.Progress) {
		u.say("%s, %d of %d", p.Check, p.Done, p.Of)
		if time.Since(told) >= upgradeTells {
			told = time.Now()
			u.node.log.Info().Str("step", p.Check).Int64("done", p.Done).Int64("of", p.Of).Msg("the index is made again")
		}
	}
}

// look keeps the end of the stream known, so that the lag is.
func (u *upgrade) look(ctx context.Context) {
	tick := time.NewTicker(upgradeLooks)
	defer tick.Stop()
	for {
		if _, err := u.Ask(ctx, time.Now()); err != nil && ctx.Err() == nil {
			u.node.log.Debug().Err(err).Msg("the end of the stream is not known")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
