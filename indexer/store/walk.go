package store

import (
	"bytes"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// Range visits the rows whose keys have the prefix and are not below from, in
// bytewise order, until visit returns false. Key and value are valid until visit
// returns. Only after Check may the rows be believed.
func (v *View) Range(prefix, from []byte, visit func(key, value []byte) bool) error {
	return v.Walk(prefix, from, func(key, value []byte, _ int) bool { return value == nil || visit(key, value) })
}

// manyVersions is how many versions of one key are stepped over before a seek
// passes over the rest. A seek costs as much as a hundred steps.
const manyVersions = 64

// Walk is Range with the keys that have no row at the view's sequence, deleted by
// then or of later: their value is nil. passed is how many stored versions gave no
// row since the call before, those of such a key included. Between two calls there
// are at most two times manyVersions of them.
//
// Badger's own iterator of one sequence passes over such keys in a single step,
// however many there are, where no budget and no context can end it. So this one
// steps through all versions and finds the sequence's by itself. Where every key
// has one version both take the same time.
func (v *View) Walk(prefix, from []byte, visit func(key, value []byte, passed int) bool) error {
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues, o.AllVersions = prefix, false, true
	it := v.all.NewIterator(o)
	defer it.Close()
	if bytes.Compare(from, prefix) < 0 {
		from = prefix // from a key before the prefix Badger would find nothing
	}
	w := walk{view: v, visit: visit}
	for it.Seek(from); it.Valid(); {
		past, err := w.version(it.Item())
		switch {
		case err != nil:
			return err
		case w.over:
			return nil
		case past:
			it.Seek(append(w.key, 0)) // above every version of the key, and not above the next
		default:
			it.Next()
		}
	}
	return w.leave()
}

// walk finds, among the versions of each key from the newest on, the one that the
// view reads.
type walk struct {
	view     *View
	visit    func(key, value []byte, passed int) bool
	key      []byte // of the last version
	settled  bool   // its row was visited, or that it has none
	versions int    // of the key, so far
	passed   int    // since the last visit
	over     bool   // visit returned false
}

// version takes the next one. It reports whether the rest of its key is to be
// passed over by a seek.
func (w *walk) version(item *badger.Item) (past bool, err error) {
	if key := item.Key(); w.key == nil || !bytes.Equal(key, w.key) {
		if err := w.leave(); err != nil || w.over {
			return false, err
		}
		w.key, w.settled, w.versions = append(w.key[:0], key...), false, 0
	}
	w.versions++
	switch {
	case w.settled || item.Version() > w.view.seq:
		w.passed++
		if w.versions < manyVersions {
			return false, nil
		}
		return true, w.leave()
	case !item.IsDeletedOrExpired():
		return false, item.Value(func(value []byte) error {
			w.settle(value)
			return nil
		})
	case item.Version() == constant:
		w.passed++
		w.settled = true // a mark of Reclaim, or one of the store's own rows: nobody's key
		return false, nil
	default:
		w.passed++
		w.gone()
		return false, nil
	}
}

// leave settles the last key, if it is not, before another one or the end.
func (w *walk) leave() error {
	if w.settled || w.key == nil {
		return nil
	}
	if w.versions < manyVersions { // all of them are of later
		w.gone()
		return nil
	}
	value, err := w.view.Get(w.key)
	switch {
	case err != nil:
		return fmt.Errorf("one version of many: %w", err)
	case value == nil:
		w.gone()
	default:
		w.settle(value)
	}
	return nil
}

func (w *walk) settle(value []byte) {
	if value == nil {
		value = []byte{} // a row without a value is one, too
	}
	w.settled = true
	w.over = !w.visit(w.key, value, w.passed)
	w.passed = 0
}

func (w *walk) gone() {
	w.settled = true
	w.over = !w.visit(w.key, nil, w.passed)
	w.passed = 0
}
