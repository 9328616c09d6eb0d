package apikey

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestVerify(t *testing.T) {
	var s Set
	a, tokenA := newKey(t, "a", Reader, "acme")
	b, tokenB := newKey(t, "b", Admin, AllTenants)

	if _, err := s.Verify(tokenA); err != ErrNotLoaded {
		t.Fatalf("before the first Replace: %v", err)
	}
	if _, err := s.Verify("nonsense"); err != ErrMalformed {
		t.Fatalf("a malformed token before the first Replace: %v", err)
	}
	s.Replace(nil, now)
	if _, err := s.Verify(tokenA); err != ErrUnknownKey {
		t.Fatalf("in an empty set: %v", err)
	}
	s.Replace([]Key{a, b}, now)
	for token, want := range map[string]Key{tokenA: a, tokenB: b} {
		if got, err := s.Verify(token); err != nil || got != want {
			t.Fatalf("Verify = %+v, %v; want %+v", got, err, want)
		}
	}
	// The id of one with the secret of the other, and each secret changed in one
	// character at either end.
	head := len(prefix) + IDLen + len(separator)
	for _, bad := range []string{tokenA[:head] + tokenB[head:], flip(tokenA, head), flip(tokenA, TokenLen-1)} {
		if got, err := s.Verify(bad); err != ErrUnknownKey || got != (Key{}) {
			t.Fatalf("a wrong secret gave %+v, %v", got, err)
		}
	}
	for i := range a.Hash {
		near := a
		near.Hash[i] ^= 1
		s.Replace([]Key{near}, now)
		if _, err := s.Verify(tokenA); err != ErrUnknownKey {
			t.Fatalf("a hash that differs in byte %d: %v", i, err)
		}
	}
	s.Replace([]Key{b}, now)
	if _, err := s.Verify(tokenA); err != ErrUnknownKey {
		t.Fatalf("a removed key: %v", err)
	}
	if s.Len() != 1 {
		t.Fatalf("Len = %d", s.Len())
	}
}

// flip changes the character at i into another one of the secret's alphabet.
func flip(token string, i int) string {
	c := byte('x')
	if token[i] == c {
		c = 'y'
	}
	return token[:i] + string(c) + token[i+1:]
}

// An unknown id must not be opened by a secret that hashes to the empty slot.
func TestVerifyNeedsAKnownID(t *testing.T) {
	var s Set
	k, token := newKey(t, "a", Reader, "acme")
	s.Replace([]Key{{ID: "zzzzzzzz", Hash: k.Hash}}, now)
	if _, err := s.Verify(token); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("the secret of another id opened: %v", err)
	}
}

func TestOpenedBy(t *testing.T) {
	a, tokenA := newKey(t, "a", Reader, "acme")
	_, tokenB := newKey(t, "b", Reader, "acme")
	if !a.OpenedBy(tokenA) {
		t.Error("its own token does not open it")
	}
	head := len(prefix) + IDLen + len(separator)
	for _, bad := range []string{
		"", "nonsense", tokenB, tokenA[:head] + tokenB[head:], tokenB[:head] + tokenA[head:], flip(tokenA, head), flip(tokenA, TokenLen-1), tokenA + "x",
	} {
		if a.OpenedBy(bad) {
			t.Errorf("%q opens it", bad)
		}
	}
	for i := range a.Hash {
		near := a
		near.Hash[i] ^= 1
		if near.OpenedBy(tokenA) {
			t.Fatalf("a hash that differs in byte %d", i)
		}
	}
}

func TestAge(t *testing.T) {
	var s Set
	if age, ok := s.Age(now); ok || age != 0 {
		t.Fatalf("never confirmed: %v, %v", age, ok)
	}
	s.Replace(nil, now)
	if age, ok := s.Age(now.Add(3 * time.Second)); !ok || age != 3*time.Second {
		t.Fatalf("3 s after Replace: %v, %v", age, ok)
	}
	s.Confirm(now.Add(10 * time.Second))
	if age, _ := s.Age(now.Add(12 * time.Second)); age != 2*time.Second {
		t.Fatalf("2 s after Confirm: %v", age)
	}
	if age, _ := s.Age(now); age != 0 {
		t.Fatalf("a clock that was set back: %v", age)
	}
}

// Readers see a whole set or the other whole set (run it with -race).
func TestReplaceIsAtomicUnderReaders(t *testing.T) {
	var s Set
	a, tokenA := newKey(t, "a", Reader, "acme")
	b, tokenB := newKey(t, "b", Reader, "acme")
	s.Replace([]Key{a, b}, now)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Verify(tokenA); err != nil {
					t.Errorf("a key that is in every set: %v", err)
					return
				}
				_, _ = s.Verify(tokenB)
				_, _ = s.Age(now)
			}
		})
	}
	for i := range 2000 {
		if i%2 == 0 {
			s.Replace([]Key{a}, now)
		} else {
			s.Replace([]Key{a, b}, now)
		}
	}
	close(stop)
	readers.Wait()
}

func TestVerifyAllocatesNothing(t *testing.T) {
	var s Set
	k, token := newKey(t, "a", Reader, "acme")
	s.Replace([]Key{k}, now)
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Verify(token) }); n != 0 {
		t.Errorf("Verify allocates %v times", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	var s Set
	keys := make([]Key, 0, 1000)
	var token string
	for i := range cap(keys) {
		var k Key
		k, token = newKey(b, fmt.Sprint("key ", i), Reader, "acme")
		keys = append(keys, k)
	}
	s.Replace(keys, now)
	_, unknown := newKey(b, "unknown", Reader, "acme")
	for name, c := range map[string]struct {
		token string
		want  error
	}{"known": {token, nil}, "wrong secret": {flip(token, TokenLen-1), ErrUnknownKey}, "unknown id": {unknown, ErrUnknownKey}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(c.token); err != c.want {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, _ = s.Verify(token)
			}
		})
	})
}
