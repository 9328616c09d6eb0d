package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
)

// Limits bound what is served at once, so that what is served stays quick when more
// is asked than can be done: the rest is turned away, with the time after which
// another try makes sense.
type Limits struct {
	Reads   int              // queries at once; 0: four for each processor, at least 8. 16 times as many may wait for a moment
	Ingests int              // ingest requests at once; 0: DefaultIngests. Four times as many may wait
	Caller  admission.Limits // of each key or token subject; zero: none
	// Connections are at most so many, whatever they do; 0: DefaultConnections.
	Connections int
}

// The limits where Options names none.
const (
	DefaultIngests     = 4
	DefaultConnections = 4096
)

// defaultReads is the number of queries at once where Options names none. Reading
// is work for processors: with more at once none is done sooner, and each takes
// longer. BenchmarkOverload shows it.
func defaultReads() int { return max(8, 4*runtime.GOMAXPROCS(0)) }

const (
	// Many quick reads may wait, since their turn comes soon, and slow ones only for a
	// moment, which is all that waiting adds to the time of an answer.
	waitingReads = 16 // for each that may run
	readPatience = 100 * time.Millisecond
	// A batch of events takes longer, and is not sent again as easily.
	waitingIngests = 4 // for each that may run
	ingestPatience = 2 * time.Second
	// slowClient is how long a request keeps its place while it waits for its client
	// to send or to read.
	slowClient = 20 * time.Millisecond
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
	// streams bounds answers that last as long as their readers like. Each has a place
	// among the reads while it reads a piece, not while it sends one.
	streams     *admission.Pool
	connections *connections
	bySort      [sorts][]*admission.Pool // that a request needs a place in, in this order
}

func newLimits(l Limits) limits {
	reads, ingests := cmp.Or(l.Reads, defaultReads()), cmp.Or(l.Ingests, DefaultIngests)
	all := limits{
		callers:     admission.NewCallers(l.Caller),
		reads:       admission.NewPool(reads, reads*waitingReads, readPatience),
		ingests:     admission.NewPool(ingests, ingests*waitingIngests, ingestPatience),
		streams:     admission.NewPool(max(1, reads/2), 0, 0),
		connections: newConnections(cmp.Or(l.Connections, DefaultConnections)),
	}
	all.bySort = [sorts][]*admission.Pool{
		reading: {all.reads}, publishing: {all.ingests}, settling: {all.ingests, all.reads}, streaming: {all.streams, all.reads},
	}
	return all
}

// sort tells which pools a route's requests need a place in.
type sort uint8

const (
	reading    sort = iota // the zero: most routes that need a role
	publishing             // publishes
	settling               // reads, and waits for the stream as publishing does
	streaming              // reads, and answers for as long as the reader likes
	following              // lasts for hours, is bounded by itself, and reads now and then
	sorts                  // how many there are
)

// enter takes a request into the limits of its caller and its sort. Leave, when
// there is no error, ends that.
func (l *limits) enter(ctx context.Context, r *route, caller string) (leave func(), err error) {
	retry, taken := l.callers.Enter(caller, time.Now())
	if !taken {
		return nil, &limitError{RateLimited, retry}
	}
	pools := l.bySort[r.sort]
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
