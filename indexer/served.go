package indexer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/assigndex/assigndex/indexer/store"
)

// served is a store that readers are let into, and the end of the stream that it is
// kept up with. Another one may take its place at any moment: who has entered it reads
// on in it, and it is not closed before they have left.
type served struct {
	store *store.Store
	end   End // nil: it has no stream

	readers atomic.Int64
	over    atomic.Bool   // another one is served
	left    chan struct{} // takes a token when the last reader has left since then
}

func newServed(st *store.Store, end End) *served {
	return &served{store: st, end: end, left: make(chan struct{}, 1)}
}

// enter gives what is served now; leave must be called.
func (x *Index) enter() *served {
	for {
		s := x.served.Load()
		s.readers.Add(1)
		if x.served.Load() == s {
			return s
		}
		s.leave() // it was replaced in between, and may be closed already
	}
}

func (s *served) leave() {
	if s.readers.Add(-1) == 0 && s.over.Load() {
		select {
		case s.left <- struct{}{}:
		default:
		}
	}
}

// drain returns when nobody reads any more in a store that was replaced, or with the
// context's error.
func (s *served) drain(ctx context.Context) error {
	for s.readers.Load() > 0 {
		select {
		case <-s.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Hold gives the store that is served, for who reads it for long. It stays open until
// release is called, which may be called more than once; another store may be served
// meanwhile.
func (x *Index) Hold() (st *store.Store, release func()) {
	s := x.enter()
	var once sync.Once
	return s.store, func() { once.Do(s.leave) }
}

// Sizes gives the bytes on disk of the index that is served. See store.Store.Sizes.
func (x *Index) Sizes() (tree, valueLog int64) {
	s := x.enter()
	defer s.leave()
	return s.store.Sizes()
}

// replace serves another store from now on. It must say the same at every sequence
// that readers were given, and have applied what the one before has. drain of what it
// returns tells when that can be closed.
func (x *Index) replace(st *store.Store, end End) *served {
	before := x.served.Swap(newServed(st, end))
	before.over.Store(true)
	before.store.Retire()
	return before
}

// Wait returns when seq has been applied, or with the context's error, or with
// listing.ErrReplaced when the index is undone meanwhile.
func (x *Index) Wait(ctx context.Context, seq uint64) error {
	for {
		// Waiting touches no file, so it does not keep a store open.
		s := x.served.Load()
		err := s.store.Wait(ctx, seq)
		if !errors.Is(err, store.ErrRetired) {
			return err
		}
	}
}
