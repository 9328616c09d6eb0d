package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
)

// Limits bound what is served at once, so that what is served stays quick when more
// is asked than can be done: the rest is turned away, with the time after which
// another try makes sense.
type Limits struct {
	Reads   int              // queries at once; 0: DefaultReads. Four times as many may wait for a moment
	Ingests int              // ingest requests at once; 0: DefaultIngests. As for queries
	Caller  admission.Limits // of each key or token subject; zero: none
}

// The limits where Options names none.
const (
	DefaultReads   = 64
	DefaultIngests = 4
)

const (
	waitingShare  = 4 // as many times more requests wait as run at once
	readPatience  = 250 * time.Millisecond
	writePatience = 2 * time.Second
)

// The codes of limits.
const (
	RateLimited query.Code = "rate_limited"
	Overloaded  query.Code = "overloaded"
)

// limits are what the limits of a server are kept with.
type limits struct {
	callers *admission.Callers
	reads   *admission.Pool
	ingests *admission.Pool
	// streams bounds answers that last as long as their readers like. Each is one of
	// the reads too, so slow readers hold a quarter of those at most.
	streams *admission.Pool
}

func newLimits(l Limits) limits {
	reads, ingests := cmp.Or(l.Reads, DefaultReads), cmp.Or(l.Ingests, DefaultIngests)
	return limits{
		callers: admission.NewCallers(l.Caller),
		reads:   admission.NewPool(reads, reads*waitingShare, readPatience),
		ingests: admission.NewPool(ingests, ingests*waitingShare, writePatience),
		streams: admission.NewPool(max(1, reads/4), 0, 0),
	}
}

// sort tells which pools a route's requests need a place in.
type sort uint8

const (
	reading    sort = iota // the zero: most routes that need a role
	publishing             // publishes
	streaming              // reads, and answers for as long as the reader likes
	following              // lasts for hours, is bounded by itself, and reads now and then
)

func (l *limits) pools(s sort) []*admission.Pool {
	switch s {
	case reading:
		return []*admission.Pool{l.reads}
	case publishing:
		return []*admission.Pool{l.ingests}
	case streaming:
		return []*admission.Pool{l.streams, l.reads}
	default:
		return nil
	}
}

// enter takes a request into the limits of its caller and its sort. Leave, when
// there is no error, ends that.
func (l *limits) enter(ctx context.Context, r *route, caller string) (leave func(), err error) {
	retry, taken := l.callers.Enter(caller, time.Now())
	if !taken {
		return nil, &limitError{RateLimited, retry}
	}
	pools := l.pools(r.sort)
	for i, p := range pools {
		if err = p.Enter(ctx); err != nil {
			for _, entered := range pools[:i] {
				entered.Leave()
			}
			l.callers.Leave(caller)
			if errors.Is(err, admission.ErrFull) {
				err = &limitError{Overloaded, time.Second}
			}
			return nil, err
		}
	}
	return func() {
		for _, p := range pools {
			p.Leave()
		}
		l.callers.Leave(caller)
	}, nil
}

// limitError is a refusal that says when to try again.
type limitError struct {
	code  query.Code
	after time.Duration
}

func (e *limitError) Error() string { return string(e.code) }

// seconds gives what Retry-After says: whole seconds, 1 at least.
func (e *limitError) seconds() int { return max(1, int(math.Ceil(e.after.Seconds()))) }

func (e *limitError) problem() *query.Error {
	if e.code == RateLimited {
		return &query.Error{Code: e.code, Detail: fmt.Sprintf("these credentials have sent more requests than they may; try again after %d s", e.seconds())}
	}
	return &query.Error{Code: e.code, Detail: fmt.Sprintf("the server has as much to do as it can; try again after %d s", e.seconds())}
}

// pausing is an index whose requests give their place among the reads back while
// they wait for a sequence: waiting is no work, and those who wait must not keep
// others out.
type pausing struct {
	query.Index
	reads *admission.Pool
}

func (p pausing) Wait(ctx context.Context, seq uint64) error {
	if applied, _ := p.Applied(); applied >= seq {
		return nil
	}
	return p.reads.Pause(func() error { return p.Index.Wait(ctx, seq) })
}

func (p pausing) SequenceAt(ctx context.Context, instant time.Time) (seq uint64, err error) {
	err = p.reads.Pause(func() error {
		seq, err = p.Index.SequenceAt(ctx, instant)
		return err
	})
	return seq, err
}
