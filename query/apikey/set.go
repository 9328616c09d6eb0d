package apikey

import (
	"crypto/subtle"
	"errors"
	"sync/atomic"
	"time"
)

var (
	// ErrUnknownKey is returned by Set.Verify for a token that no key of the set
	// opens: never issued, revoked, or with a wrong secret.
	ErrUnknownKey = errors.New("unknown API key")
	// ErrNotLoaded is returned by Set.Verify before the first Replace: no key can
	// be judged yet, which is the server's state and not the caller's fault.
	ErrNotLoaded = errors.New("API keys are not loaded yet")
)

// Set is the keys that a server knows. The zero Set is empty and not loaded.
//
// A source keeps it up to date with Replace and Confirm. While the source is
// out of reach the last keys go on serving, and Age says how old they are.
type Set struct {
	keys      atomic.Pointer[map[string]Key] // replaced, never changed
	confirmed atomic.Pointer[time.Time]      // with a monotonic reading when the source gives one
}

// Replace makes keys the whole set, at once: a request is checked against the
// old set or the new one. At is when the source was known to hold these keys.
func (s *Set) Replace(keys []Key, at time.Time) {
	m := make(map[string]Key, len(keys))
	for _, k := range keys {
		m[k.ID] = k
	}
	s.keys.Store(&m)
	s.confirmed.Store(&at)
}

// Confirm notes that at that time the source still held exactly these keys.
func (s *Set) Confirm(at time.Time) { s.confirmed.Store(&at) }

// Age gives how long before now the source last confirmed the set; false when
// it never did.
func (s *Set) Age(now time.Time) (time.Duration, bool) {
	at := s.confirmed.Load()
	if at == nil {
		return 0, false
	}
	return max(0, now.Sub(*at)), true
}

// Len gives the number of keys.
func (s *Set) Len() int {
	m := s.keys.Load()
	if m == nil {
		return 0
	}
	return len(*m)
}

// Verify gives the key that token opens. The error is ErrMalformed,
// ErrUnknownKey or ErrNotLoaded.
//
// An unknown id costs the same hash and comparison as a wrong secret, so that
// time does not tell which ids exist.
func (s *Set) Verify(token string) (Key, error) {
	id, secret, err := Parse(token)
	if err != nil {
		return Key{}, err
	}
	m := s.keys.Load()
	if m == nil {
		return Key{}, ErrNotLoaded
	}
	k, known := (*m)[id] // when unknown, the zero hash, which no secret is known to have
	got := hashOf(secret)
	if subtle.ConstantTimeCompare(got[:], k.Hash[:])&boolToInt(known) != 1 {
		return Key{}, ErrUnknownKey
	}
	return k, nil
}

// OpenedBy reports whether token is the one of this key. A wrong secret costs the
// same wherever it differs.
func (k Key) OpenedBy(token string) bool {
	id, secret, err := Parse(token)
	if err != nil || id != k.ID {
		return false
	}
	got := hashOf(secret)
	return subtle.ConstantTimeCompare(got[:], k.Hash[:]) == 1
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
