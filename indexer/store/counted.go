package store

import (
	"bytes"
	"maps"
	"math"
	"slices"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Counted are the stored counters as they were at one watermark. They take about
// 200 bytes of memory for each application, entitlement and tenant that has
// assignments of a kind.
type Counted struct {
	At Watermark

	thresholds rows.Thresholds
	stored     map[string][]byte // by key
}

// Counted copies the counters. Commits wait while it does, some hundred
// milliseconds for a hundred thousand counters.
func (s *Store) Counted() (*Counted, error) {
	s.constants.RLock()
	defer s.constants.RUnlock()
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	c := &Counted{At: s.Applied(), thresholds: s.thresholds, stored: make(map[string][]byte)}
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{byte(keys.CounterTag)}, false
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		value, err := it.Item().ValueCopy(nil)
		if err != nil {
			return nil, err
		}
		c.stored[string(it.Item().Key())] = value
	}
	return c, nil
}

// Len is the number of counters.
func (c *Counted) Len() int { return len(c.stored) }

// Compare compares the counters with a count of the rows that a view holds at the
// watermark, and tells of each that differs: what is stored, nil for nothing, and
// what the rows are. It uses the counters up.
func (c *Counted) Compare(view ranger, differs func(key, stored []byte, counted rows.Counts)) error {
	err := countRows(view, c.thresholds, func(key []byte, counted rows.Counts) error {
		stored, there := c.stored[string(key)]
		delete(c.stored, string(key))
		if !there || !bytes.Equal(stored, counted.Encode()) {
			differs(key, stored, counted)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(c.stored)) {
		differs([]byte(key), c.stored[key], rows.Counts{})
	}
	return nil
}
