package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/keys"
)

// Version is what a key held from one sequence on.
type Version struct {
	Key     []byte
	Seq     uint64 // constant, 1, for a rung of the timeline
	Value   []byte
	Deleted bool // Value is empty
}

// Current reports whether v, the newest version of its key, is an assignment: one
// family holds each of them once.
func (v *Version) Current() bool { return !v.Deleted && keys.Tag(v.Key[0]) == keys.ByAssignee }

// Export is the index at the watermark of when it was opened, with its history back to
// the floor of then. The floor stays there until Close.
type Export struct {
	At    Watermark
	Floor uint64

	store   *Store
	view    *View
	release func()
}

// Export opens the index to be copied, while others write and read. Each reads it
// through any number of times; it must be closed.
func (s *Store) Export() *Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &Export{At: s.applied, Floor: max(s.floor, s.rising), store: s}
	e.At.Fingerprint = bytes.Clone(e.At.Fingerprint)
	e.release = s.pin(e.Floor)
	e.view = &View{store: s, seq: e.At.Seq, epoch: s.epoch, all: s.db.NewTransactionAt(math.MaxUint64, false)}
	return e
}

// Close lets the floor go on.
func (e *Export) Close() {
	e.view.Close()
	e.release()
}

// Badger's iterators keep memtables and tables from being dropped, and Reclaim waits
// for that. So one iterator reads so many keys, or for so long, at most.
const exportTurns = 2 * time.Second

var exportKeys = 1 << 18 // a test lowers it

// Each visits, in order of keys and from the newest version of each to the oldest, all
// that a reader can see at a sequence from the floor to the watermark: every version
// above the floor, the newest one at or below it when that is no deletion, the changes
// above the floor, and the timeline from the rung on that covers the floor. Watermark,
// floor and counters are not among them. A version is valid until visit returns.
//
// Every table file is read before, since an iterator of Badger's takes a damaged block
// for the end of its table: ErrDamaged. It returns ErrReplaced when the index was
// undone meanwhile; what was visited before an error must not be believed.
func (e *Export) Each(ctx context.Context, visit func(v *Version) error) error {
	_, damaged, err := e.store.CheckFiles(ctx, nil)
	if err != nil {
		return err
	}
	if len(damaged) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, damaged[0].File, damaged[0].Problem)
	}
	r := exportRun{Export: e, ctx: ctx, visit: visit}
	base, ok, err := e.store.RungAt(e.Floor)
	if err != nil {
		return err
	}
	if ok {
		r.base = base.Seq
	}
	for from, more := []byte(nil), true; more; {
		if from, more, err = r.turn(from); err != nil {
			return err
		}
	}
	return e.view.Check()
}

// exportRun is one call of Each.
type exportRun struct {
	*Export
	ctx   context.Context //nolint:containedctx // of one call
	visit func(*Version) error
	base  uint64 // the rung that covers the floor; 0: none
}

// turn visits some keys from one on and gives where the next turn begins.
func (r *exportRun) turn(from []byte) (next []byte, more bool, err error) {
	if err := r.ctx.Err(); err != nil {
		return nil, false, err
	}
	if err := r.view.Check(); err != nil {
		return nil, false, err
	}
	txn := r.store.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues = true, false
	it := txn.NewIterator(o)
	defer it.Close()
	began, versions := time.Now(), 0
	var key []byte
	for it.Seek(from); it.Valid(); {
		key = append(key[:0], it.Item().Key()...)
		n, err := r.key(it, key)
		if err != nil {
			return nil, false, err
		}
		versions += n
		if versions >= exportKeys || (versions%1024 < n && time.Since(began) > exportTurns) {
			return append(key, 0), true, nil // above every version of the key, and not above the next
		}
	}
	return nil, false, nil
}

// key visits the versions of the key that an iterator stands at, and leaves it at the
// next key. It tells how many there were.
func (r *exportRun) key(it *badger.Iterator, key []byte) (versions int, err error) {
	wanted, err := r.wanted(key)
	for settled := !wanted; err == nil && it.Valid() && bytes.Equal(it.Item().Key(), key); it.Next() {
		versions++
		item := it.Item()
		if settled || item.Version() > r.At.Seq {
			continue
		}
		settled = item.Version() <= r.Floor
		gone := item.IsDeletedOrExpired()
		// What was deleted by the floor is absent, as if it had never been. A deletion at
		// the constant timestamp is the store's own or a mark of Reclaim: nobody's row.
		if gone && (settled || item.Version() == constant) {
			continue
		}
		v := Version{Key: key, Seq: item.Version(), Deleted: gone}
		if gone {
			err = r.visit(&v)
			continue
		}
		err = item.Value(func(value []byte) error {
			v.Value = value
			return r.visit(&v)
		})
	}
	return versions, err
}

// wanted reports whether a key belongs into a copy.
func (r *exportRun) wanted(key []byte) (bool, error) {
	switch keys.Tag(key[0]) {
	case keys.CounterTag:
		return false, nil
	case keys.MetaTag:
		seq, ok := rungOf(key)
		return ok && seq >= r.base && seq <= r.At.Seq, nil
	case keys.ChangeTag:
		_, change, err := keys.ParseChange(key)
		if errors.Is(err, keys.ErrMalformed) {
			return false, nil // a mark of Reclaim
		}
		return change.Seq > r.Floor, err
	}
	return true, nil
}

// rungOf gives the sequence of a rung's key, and false for another key.
func rungOf(key []byte) (seq uint64, ok bool) {
	if len(key) != len(timelinePrefix)+8 || !bytes.HasPrefix(key, timelinePrefix) {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(timelinePrefix):]), true
}
