package httpapi

import (
	"context"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/assigndex/assigndex/query/apikey"
)

// Anybody can send tokens that open nothing, so these bound what that costs the
// source of the keys. A burst lets a script make some keys and use them at once.
const (
	lookupsPerSecond = 5
	lookupBurst      = 10
	lookupsAtOnce    = 4
	// lookupTimeout is how long a request waits for its lookup.
	lookupTimeout = time.Second
	// lookupWarnEvery is how often failing lookups are logged.
	lookupWarnEvery = time.Minute
)

// KeySource is where API keys are stored.
type KeySource interface {
	// Lookup gives the key of id as it is stored now. Found is false when there is
	// none, or not any more. The error holds no secret.
	Lookup(ctx context.Context, id string) (key apikey.Key, found bool, err error)
}

// KeyLookup judges tokens by the source of the keys, for one request each. What
// it finds never enters a set: whoever keeps the set may have learned of the key's
// revocation meanwhile. It may be used from any goroutine.
//
// Its limits are the process's, so a process has one. Over them, and when the
// source does not answer, a token is as unknown as it was.
type KeyLookup struct {
	source KeySource
	limit  *rate.Limiter
	slots  chan struct{} // holds one for each lookup under way
	warn   rate.Sometimes
	log    zerolog.Logger
}

// NewKeyLookup makes a KeyLookup.
func NewKeyLookup(source KeySource, log zerolog.Logger) *KeyLookup {
	return &KeyLookup{
		source: source, log: log,
		limit: rate.NewLimiter(lookupsPerSecond, lookupBurst),
		slots: make(chan struct{}, lookupsAtOnce),
		warn:  rate.Sometimes{Interval: lookupWarnEvery},
	}
}

// verify gives the key that token opens. The error is apikey.ErrUnknownKey, or
// apikey.ErrMalformed.
//
// A wrong secret of a known id is looked up like an unknown id, so that time does
// not tell which ids exist.
func (l *KeyLookup) verify(ctx context.Context, token string) (apikey.Key, error) {
	id, _, err := apikey.Parse(token)
	if err != nil {
		return apikey.Key{}, err
	}
	if !l.limit.Allow() {
		return apikey.Key{}, apikey.ErrUnknownKey
	}
	limited, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	key, found, err := l.find(limited, id)
	if err != nil && ctx.Err() == nil { // otherwise the client has gone
		l.warn.Do(func() {
			l.log.Warn().Err(err).Msg("an API key that is not known yet cannot be looked up and is refused")
		})
	}
	if err != nil || !found || !key.OpenedBy(token) {
		return apikey.Key{}, apikey.ErrUnknownKey
	}
	return key, nil
}

// find asks the source when it is this lookup's turn.
func (l *KeyLookup) find(ctx context.Context, id string) (key apikey.Key, found bool, err error) {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return apikey.Key{}, false, ctx.Err()
	}
	defer func() { <-l.slots }()
	return l.source.Lookup(ctx, id)
}
