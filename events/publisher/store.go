package publisher

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Waits between attempts: the first, and the longest.
const (
	firstWait = 20 * time.Millisecond
	lastWait  = time.Second
)

// maxDuplicateRefusals is how often a batch may be refused for an id that the
// stream knows before its messages are published one by one.
const maxDuplicateRefusals = 3

// maxUnserved is how often a connected server may give no answer of the stream's leader
// before another one is connected to: it may be cut off from the others, and even take
// itself for the leader.
const maxUnserved = 2

// effort is the work on one batch.
type effort struct {
	since    time.Time // when it last made progress
	wait     time.Duration
	refusals int  // for holding a duplicate
	singly   bool // no atomic batch helps here
	unserved int  // answers that did not come from the server that is connected
}

// store publishes one batch and returns when every entry is acknowledged or when
// it gives up; the entries tell which are acknowledged.
func (p *Publisher) store(ctx context.Context, batch []*entry) error {
	linkRepeats(batch)
	work := effort{since: time.Now(), wait: firstWait}
	p.patience = p.opts.AckTimeout
	for {
		rest := remaining(batch)
		if len(rest) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return giveUp(rest, err)
		}
		// What came before may have made progress, but slowly.
		if p.mayBeForgotten(rest) {
			return giveUp(rest, fmt.Errorf("the stream could have forgotten them after %v", p.stream.retryFor))
		}
		trouble := p.attempt(ctx, rest, &work)
		if trouble == nil {
			work.since, work.wait, work.unserved = time.Now(), firstWait, 0
			continue
		}
		p.proven = false
		if trouble.final || ctx.Err() != nil {
			return giveUp(rest, trouble.err)
		}
		p.leave(&work, trouble)
		if err := p.regain(ctx, rest, &work, trouble.err); err != nil {
			return giveUp(rest, err)
		}
	}
}

// regain waits until another attempt makes sense: the stream answers, and there
// is time left. The cause is what went wrong with the last one.
func (p *Publisher) regain(ctx context.Context, rest []*entry, work *effort, cause error) error {
	for {
		if p.tooLate(rest, work.since) {
			return fmt.Errorf("tried for %v: %w", p.stream.retryFor, cause)
		}
		if err := sleep(ctx, work.wait); err != nil {
			return fmt.Errorf("%w, after: %w", err, cause)
		}
		work.wait = min(2*work.wait, lastWait)
		if p.nc.IsClosed() {
			return fmt.Errorf("%w, after: %w", nats.ErrConnectionClosed, cause)
		}
		trouble := p.readStream(ctx)
		if trouble == nil {
			if p.tooLate(rest, work.since) {
				return fmt.Errorf("tried for %v: %w", p.stream.retryFor, cause)
			}
			return nil
		}
		if trouble.final {
			return fmt.Errorf("%w, after: %w", trouble.err, cause)
		}
		cause = trouble.err
		p.leave(work, trouble)
	}
}

// leave connects to another server, if there is one, when this one has given no answer
// of the stream's leader too often.
func (p *Publisher) leave(work *effort, trouble *failure) {
	if !p.nc.IsConnected() || (trouble.code != 0 && trouble.code != codeNotAvailable) {
		return
	}
	if work.unserved++; work.unserved < maxUnserved || len(p.nc.Servers()) < 2 {
		return
	}
	work.unserved = 0
	_ = p.nc.ForceReconnect() // it fails when the connection is closed, which the next attempt finds
}

// tooLate reports whether entries may not be sent any more: the time for retries
// is over, either without progress since the given moment or since one of them was
// sent without an answer.
func (p *Publisher) tooLate(entries []*entry, since time.Time) bool {
	return elapsed(since, time.Now()) >= p.stream.retryFor || p.mayBeForgotten(entries)
}

// mayBeForgotten reports whether one of the entries was sent without an answer so
// long ago that it must not be sent again.
func (p *Publisher) mayBeForgotten(entries []*entry) bool {
	now := time.Now()
	for _, e := range entries {
		if !e.doubtSince.IsZero() && elapsed(e.doubtSince, now) >= p.stream.retryFor {
			return true
		}
	}
	return false
}

// elapsed is the time from one moment to another as the calendar has it or as the
// monotonic clock has it, whichever is longer: the latter stands still while the
// machine sleeps, the stream's window does not.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// giveUp makes the error for entries that are left over.
func giveUp(rest []*entry, cause error) error {
	for _, e := range rest {
		if !e.doubtSince.IsZero() {
			return fmt.Errorf("%w: %w", ErrUnknownOutcome, cause)
		}
	}
	return cause
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
