package admission

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// ErrFull is returned by Pool.Enter when as many requests run and wait as may, or
// when none has left for as long as one waits.
var ErrFull = errors.New("too many requests at once")

// Pool bounds how many requests of one sort run at once.
type Pool struct {
	slots    chan struct{} // holds one for each that runs
	patience time.Duration
	most     int64 // that wait
	waiting  atomic.Int64
	aside    atomic.Int64 // gave their place back for a slow client
	refused  atomic.Uint64
}

// NewPool makes a pool of so many requests at once, 1 at least, of which so many
// more may wait, for at most patience.
func NewPool(atOnce, waiting int, patience time.Duration) *Pool {
	return &Pool{slots: make(chan struct{}, max(1, atOnce)), most: int64(waiting), patience: patience}
}

// Enter waits for a place. Each Enter that gives no error is followed by one
// Leave. The error is ErrFull, or the context's.
func (p *Pool) Enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	if p.waiting.Add(1) > p.most {
		p.waiting.Add(-1)
		p.refused.Add(1)
		return ErrFull
	}
	defer p.waiting.Add(-1)
	patience := time.NewTimer(p.patience)
	defer patience.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-patience.C:
		p.refused.Add(1)
		return ErrFull
	case <-ctx.Done():
		return ctx.Err()
	}
}

// EnterAnyway waits for a place for as long as that takes, and is never turned
// away. The error is the context's.
func (p *Pool) EnterAnyway(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave gives a place back. It panics when nobody has one, which is a mistake in the
// program and must not look like a wait.
func (p *Pool) Leave() {
	select {
	case <-p.slots:
	default:
		panic("admission: a place was given back that nobody had")
	}
}

// Pause gives a place back for as long as f takes, for a request that waits for
// something else than work, and then waits for one again, however full the pool is:
// the request was let in before.
func (p *Pool) Pause(f func() error) error {
	p.Leave()
	defer func() { p.slots <- struct{}{} }()
	return f()
}

// Aside runs f, in which a request waits for its client rather than works. When that
// takes longer than moment, the place is given back until f has ended, and then
// waited for as in Pause. No more than a pool's number of places are given back so:
// such requests hold memory, which must stay bounded too.
func (p *Pool) Aside(moment time.Duration, f func() error) error {
	gave := make(chan bool, 1)
	timer := time.AfterFunc(moment, func() {
		room := p.aside.Add(1) <= int64(cap(p.slots))
		if room {
			p.Leave()
		} else {
			p.aside.Add(-1)
		}
		gave <- room
	})
	defer func() {
		if !timer.Stop() && <-gave {
			p.slots <- struct{}{}
			p.aside.Add(-1)
		}
	}()
	return f()
}

// Running gives the number of requests that run.
func (p *Pool) Running() int { return len(p.slots) }

// Waiting gives the number of requests that wait to be let in.
func (p *Pool) Waiting() int { return int(p.waiting.Load()) }

// Refused gives the number of requests that were turned away so far.
func (p *Pool) Refused() uint64 { return p.refused.Load() }
