package bearer

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// refreshEvery is how long after one answer of the issuer the next one is
	// asked for: for so long a key that it removed may still open something.
	refreshEvery = 5 * time.Minute
	// minRefetch is how long no token can make the issuer be asked again.
	minRefetch = 10 * time.Second
	// Between minRetry and maxRetry lies the wait after an attempt that failed,
	// doubled each time.
	minRetry = time.Second
	maxRetry = time.Minute
	// maxWaiting bounds the requests that wait for one attempt.
	maxWaiting = 64
)

// errAway is returned by renew when there can be no newer keys now: the issuer
// does not answer, or not in time for so many or for this one, or nobody asks it.
var errAway = errors.New("the issuer's keys cannot be had now")

// clock is the time as this package sees it.
type clock struct {
	now   func() time.Time
	timer func(time.Duration) (fires <-chan time.Time, stop func())
}

var systemClock = clock{
	now: time.Now,
	timer: func(d time.Duration) (<-chan time.Time, func()) {
		t := time.NewTimer(d)
		return t.C, func() { t.Stop() }
	},
}

// attempt is one try to have the issuer's keys.
type attempt struct {
	err   error         // written before ended is closed
	ended chan struct{} // closed at its end
}

func newAttempt() *attempt { return &attempt{ended: make(chan struct{})} }

// keySource holds the issuer's keys. Its run, in one goroutine, makes all the
// attempts to renew them.
type keySource struct {
	fetch   func(context.Context) ([]byte, error)
	clock   clock
	metrics *metrics
	log     zerolog.Logger

	set       atomic.Pointer[keySet]    // nil: none was had yet; written by run
	confirmed atomic.Pointer[time.Time] // when the attempt began that last brought a set; written by run
	wake      chan struct{}             // holds one when an attempt was asked for that has not begun

	mu      sync.Mutex // guards what follows
	running bool
	begun   time.Time // when the last attempt did
	failed  bool      // whether the last one that ended did
	next    *attempt  // the one that ends next, begun or not
	asked   bool      // next was asked for, or has begun
	waiting int       // callers that wait for an attempt
}

func newKeySource(fetch func(context.Context) ([]byte, error), c clock, m *metrics, log zerolog.Logger) *keySource {
	return &keySource{fetch: fetch, clock: c, metrics: m, log: log, wake: make(chan struct{}, 1), next: newAttempt()}
}

// current gives the keys, or nil when there never were any.
func (s *keySource) current() *keySet { return s.set.Load() }

// age gives how long before now the issuer last confirmed the keys; false when
// it never did.
func (s *keySource) age() (time.Duration, bool) {
	at := s.confirmed.Load()
	if at == nil {
		return 0, false
	}
	return max(0, s.clock.now().Sub(*at)), true
}

// run is Tokens.Run.
func (s *keySource) run(ctx context.Context) error {
	s.start()
	defer s.stop()
	retry := minRetry
	for {
		wait := refreshEvery
		if err := s.try(ctx); err == nil {
			retry = minRetry
		} else {
			wait, retry = retry, min(2*retry, maxRetry)
		}
		fires, stop := s.clock.timer(wait)
		select {
		case <-ctx.Done():
		case <-fires:
		case <-s.wake:
		}
		stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (s *keySource) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = true
}

// stop releases who still waits.
func (s *keySource) stop() {
	s.mu.Lock()
	s.running = false
	s.mu.Unlock()
	s.end(errAway)
}

// try makes one attempt.
func (s *keySource) try(ctx context.Context) error {
	began := s.begin()
	body, err := s.fetch(ctx)
	if err == nil {
		err = s.take(body)
	}
	if err == nil {
		s.confirmed.Store(&began)
	}
	if ctx.Err() == nil {
		s.metrics.fetched(err)
		if err != nil {
			s.log.Warn().Err(err).Msg("bearer tokens: the issuer's keys cannot be had; the last ones go on serving, if there are any")
		}
	}
	s.end(err)
	return err
}

func (s *keySource) begin() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.wake: // what was asked for begins now
	default:
	}
	s.begun, s.asked = s.clock.now(), true
	return s.begun
}

func (s *keySource) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.next
	s.next, s.asked, s.failed = newAttempt(), false, err != nil
	a.err = err
	close(a.ended)
}

// take makes the keys of an answer the current ones, unless they are already.
func (s *keySource) take(body []byte) error {
	if old := s.set.Load(); old != nil && bytes.Equal(old.source, body) {
		return nil
	}
	set, err := parseKeySet(body)
	if err != nil {
		return err
	}
	s.set.Store(set)
	s.log.Info().Int("keys", set.count).Msg("bearer tokens: the issuer has given its keys")
	if len(set.unused) > 0 {
		s.log.Warn().Strs("keys", set.unused).Msg("bearer tokens: keys of the issuer are left out")
	}
	return nil
}

// renew gives a newer set than seen, which lacked a key; or seen itself, when
// the issuer has confirmed it after minRefetch ago at most. The error is errAway.
// It waits for one attempt at most, which has a limit of its own, and not when
// nobody waits for it any more.
func (s *keySource) renew(ctx context.Context, seen *keySet) (*keySet, error) {
	a, err := s.ask(seen)
	if a == nil || err != nil {
		return s.set.Load(), err
	}
	defer s.waited()
	select {
	case <-a.ended:
	case <-ctx.Done():
		return nil, errAway
	}
	if a.err != nil {
		return nil, errAway
	}
	return s.set.Load(), nil
}

// waited notes that a caller of renew waits no more.
func (s *keySource) waited() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

// ask gives the attempt to wait for, and counts the caller as waiting; nil when
// there is no need to.
func (s *keySource) ask(seen *keySet) (*attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recent := s.clock.now().Sub(s.begun) < minRefetch
	switch {
	case s.set.Load() != seen:
		return nil, nil
	case !s.running, s.waiting >= maxWaiting, !s.asked && recent && s.failed:
		return nil, errAway
	case !s.asked && recent:
		return nil, nil
	case !s.asked:
		s.asked = true
		select {
		case s.wake <- struct{}{}:
		default: // an earlier run ended before it could begin what was asked for
		}
	}
	s.waiting++
	return s.next, nil
}
