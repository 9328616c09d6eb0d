package store

import (
	"fmt"
	"math"
	"sync"

	badger "github.com/dgraph-io/badger/v4"
)

// View reads the index as it was when the event at its sequence had been
// applied. It is used by one goroutine at a time and must be closed.
type View struct {
	store *Store
	seq   uint64
	epoch uint64      // of the store when the view was opened
	all   *badger.Txn // of all versions, for walks
	then  *badger.Txn // at seq; nil before it is first asked, which most listings do without
	once  sync.Once
}

// View opens the index at a sequence between the floor and the watermark. It
// returns ErrPruned below and ErrAhead above.
func (s *Store) View(seq uint64) (*View, error) {
	s.mu.RLock()
	applied, floor, epoch := s.applied.Seq, s.floor, s.epoch
	s.mu.RUnlock()
	if seq > applied {
		return nil, fmt.Errorf("sequence %d, the last applied is %d: %w", seq, applied, ErrAhead)
	}
	if seq < floor {
		return nil, fmt.Errorf("sequence %d, the lowest that can be read is %d: %w", seq, floor, ErrPruned)
	}
	return &View{store: s, seq: seq, epoch: epoch, all: s.db.NewTransactionAt(math.MaxUint64, false)}, nil
}

// Seq is the sequence that the view reads at.
func (v *View) Seq() uint64 { return v.seq }

// Get returns a copy of the value of key, nil when absent.
func (v *View) Get(key []byte) ([]byte, error) {
	return get(v.at(), key)
}

// at gives the transaction that reads at the view's sequence.
func (v *View) at() *badger.Txn {
	if v.then == nil {
		v.then = v.store.db.NewTransactionAt(v.seq, false)
	}
	return v.then
}

// Later visits the values that key was given after the view's sequence, as far as
// they are applied, newest first.
func (v *View) Later(key []byte, visit func(value []byte) error) error {
	applied := v.store.Applied().Seq
	if applied <= v.seq {
		return nil // as on the first page of most listings
	}
	txn := v.store.db.NewTransactionAt(applied, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues, o.SinceTs = true, false, v.seq
	it := txn.NewKeyIterator(key, o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if item.Version() <= v.seq || item.IsDeletedOrExpired() {
			continue
		}
		if err := item.Value(visit); err != nil {
			return err
		}
	}
	return nil
}

// Versions visits what key held at the view's sequence and before, back to the
// floor, the newest first, with the sequence of each, until visit returns false. A
// nil value is a deletion; another is valid until visit returns.
func (v *View) Versions(key []byte, visit func(seq uint64, value []byte) bool) error {
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues = true, false
	it := v.at().NewKeyIterator(key, o)
	defer it.Close()
	floor := v.store.Floor()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		var value []byte
		if !item.IsDeletedOrExpired() {
			var err error
			if value, err = item.ValueCopy([]byte{}); err != nil {
				return err
			}
		}
		if !visit(item.Version(), value) || item.Version() <= floor {
			return nil
		}
	}
	return nil
}

// ChangedAt reports whether key was written or deleted at a sequence, which must be
// above the floor and not above the view's.
func (v *View) ChangedAt(key []byte, seq uint64) bool {
	txn := v.store.db.NewTransactionAt(seq, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues, o.SinceTs = true, false, seq-1
	it := txn.NewKeyIterator(key, o)
	defer it.Close()
	it.Rewind()
	return it.Valid() && it.Item().Version() == seq
}

// Floor is the lowest sequence that can be read now.
func (v *View) Floor() uint64 { return v.store.Floor() }

// Check returns ErrReplaced when the index was undone since the view was opened, so
// that what was read from it may mix what was and what is, and ErrPruned when the
// floor has overtaken the view, so that it may lack rows.
func (v *View) Check() error {
	v.store.mu.RLock()
	floor, epoch := v.store.floor, v.store.epoch
	v.store.mu.RUnlock()
	if epoch != v.epoch {
		return fmt.Errorf("sequence %d: %w", v.seq, ErrReplaced)
	}
	if v.seq < floor {
		return fmt.Errorf("sequence %d, the lowest that can be read is %d: %w", v.seq, floor, ErrPruned)
	}
	return nil
}

// Close releases the view. It may be called more than once.
func (v *View) Close() {
	v.once.Do(func() {
		v.all.Discard()
		if v.then != nil {
			v.then.Discard()
		}
	})
}
