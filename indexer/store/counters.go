package store

import (
	"errors"
	"fmt"
	"math"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Counters hold the present: they are rewritten together with the watermark, and
// so they are true at it and at no other sequence.

const (
	// fullCounterBytes is how much a batch may hold in keys of counters before it
	// is Full.
	fullCounterBytes = 256 << 10
	// maxCounters and maxTransactionBytes bound the counters that one transaction
	// takes together with the watermark: with this size of memtable Badger takes
	// 52,000 entries. A cascade over more is written in several, with a mark that
	// the counters do not count until the last.
	maxCounters         = 40_000
	maxTransactionBytes = 2 << 20 // of keys
)

// maxCounterBytes is what a batch may hold in keys of counters at all. Past it
// the batch gives them up and everything is counted anew after it. Tests lower it.
var maxCounterBytes = 64 << 20

var countingKey = keys.Meta("counting")

// counting is how the stored counters came about.
type counting struct {
	Thresholds rows.Thresholds `json:"thresholds"`
	Valid      bool            `json:"valid"` // false: a count was begun and not finished
}

// tally is what a batch adds to counters.
type tally struct {
	thresholds rows.Thresholds
	deltas     map[string]rows.Counts // by key of the counter
	bytes      int                    // of those keys
	lost       bool                   // too many: count anew
}

func (t *tally) add(id keys.Row, row *rows.Row, n int64) {
	if t.lost {
		return
	}
	var delta rows.Counts
	delta[t.thresholds.Of(row.Face)] = n
	t.addTo(keys.Counter(id.Tenant, keys.OfTenant, "", id.Assignee.Kind), delta)
	t.addTo(keys.Counter(id.Tenant, keys.OfEntitlement, id.EntID, id.Assignee.Kind), delta)
	if row.AppID != "" {
		t.addTo(keys.Counter(id.Tenant, keys.OfApplication, row.AppID, id.Assignee.Kind), delta)
	}
	if t.bytes > maxCounterBytes {
		t.lost, t.deltas = true, nil
	}
}

func (t *tally) addTo(key []byte, delta rows.Counts) {
	sum, known := t.deltas[string(key)]
	if !known {
		t.bytes += len(key)
	}
	sum.Add(delta)
	t.deltas[string(key)] = sum
}

// recount takes what an event changed in an assignment.
func (t *tally) recount(id keys.Row, before, after *rows.Row) {
	if before != nil && after != nil && before.AppID == after.AppID && t.thresholds.Of(before.Face) == t.thresholds.Of(after.Face) {
		return
	}
	if before != nil {
		t.add(id, before, -1)
	}
	if after != nil {
		t.add(id, after, +1)
	}
}

// wide reports that there are deltas, and that they do not fit into one transaction.
func (t *tally) wide() bool {
	return !t.lost && (len(t.deltas) > maxCounters || t.bytes > maxTransactionBytes)
}

// writeTo adds the deltas to the stored counters within the transaction that
// moves the watermark.
func (t *tally) writeTo(txn *badger.Txn) error {
	for key, delta := range t.deltas {
		if err := addCounts(txn, []byte(key), delta); err != nil {
			return err
		}
	}
	return nil
}

// addCounts adds to one counter. A counter at zero is not stored.
func addCounts(txn *badger.Txn, key []byte, delta rows.Counts) error {
	if delta == (rows.Counts{}) {
		return nil
	}
	sum, err := readCounts(txn, key)
	if err != nil {
		return err
	}
	sum.Add(delta)
	if sum == (rows.Counts{}) {
		return txn.Delete(key)
	}
	return txn.Set(key, sum.Encode())
}

// addWide adds the deltas of a cascade in several transactions, after the mark
// that the counters do not count. The caller holds the lock on constants, and
// moves the watermark together with the mark that they count again.
func (s *Store) addWide(t *tally) error {
	if err := s.markCounting(false); err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(constant, true)
	defer func() { txn.Discard() }()
	for key, delta := range t.deltas {
		err := addCounts(txn, []byte(key), delta)
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err := txn.CommitAt(constant, nil); err != nil {
				return err
			}
			txn = s.db.NewTransactionAt(constant, true)
			err = addCounts(txn, []byte(key), delta)
		}
		if err != nil {
			return err
		}
	}
	return txn.CommitAt(constant, nil)
}

func readCounts(txn *badger.Txn, key []byte) (rows.Counts, error) {
	value, err := get(txn, key)
	if value == nil || err != nil {
		return rows.Counts{}, err
	}
	c, err := rows.DecodeCounts(value)
	if err != nil {
		return c, fmt.Errorf("counter %q: %w", key, err)
	}
	return c, nil
}

// Counts gives the number of assignments of the given kinds in a scope, and the
// watermark at which it is true. After a failed commit or undo, which the store must
// be closed after, it gives that failure: the counters may be those of another
// sequence.
func (s *Store) Counts(tenant string, scope keys.Scope, id string, kinds []events.Kind) (rows.Counts, Watermark, error) {
	// A commit holds this lock, so counters and watermark belong together.
	s.constants.RLock()
	defer s.constants.RUnlock()
	if s.failed != nil {
		return rows.Counts{}, Watermark{}, fmt.Errorf("counters: %w", s.failed)
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	var sum rows.Counts
	for _, kind := range kinds {
		c, err := readCounts(txn, keys.Counter(tenant, scope, id, kind))
		if err != nil {
			return sum, Watermark{}, err
		}
		sum.Add(c)
	}
	return sum, s.Applied(), nil
}

// openCounters counts anew when the stored counters were made with other
// thresholds, or when counting was interrupted.
func (s *Store) openCounters() error {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	value, err := get(txn, countingKey)
	txn.Discard()
	if err != nil {
		return err
	}
	var how counting
	if value != nil {
		if err := json.Unmarshal(value, &how); err != nil {
			return fmt.Errorf("counters: %w", rows.ErrCorrupt)
		}
	}
	if s.keepThresholds && value != nil {
		s.thresholds = how.Thresholds
	}
	if how.Valid && how.Thresholds == s.thresholds {
		return nil
	}
	s.constants.Lock()
	defer s.constants.Unlock()
	return s.countAnew()
}

// countAnew replaces all counters by a count of the rows at the watermark. The
// caller holds the lock on constants. A crash in between is seen at open.
func (s *Store) countAnew() error { return s.fault.Step(fault.Count, s.replaceCounters) }

func (s *Store) replaceCounters() error {
	if err := s.markCounting(false); err != nil {
		return err
	}
	if err := s.deleteCounters(); err != nil {
		return err
	}
	wb := s.db.NewManagedWriteBatch()
	defer wb.Cancel()
	if err := s.countRowsNow(func(key []byte, c rows.Counts) error {
		return wb.SetEntryAt(badger.NewEntry(key, c.Encode()), constant)
	}); err != nil {
		return err
	}
	if err := wb.Flush(); err != nil {
		return err
	}
	return s.markCounting(true)
}

func (s *Store) markCounting(valid bool) error {
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := markIn(txn, counting{Thresholds: s.thresholds, Valid: valid}); err != nil {
		return err
	}
	return txn.CommitAt(constant, nil)
}

func markIn(txn *badger.Txn, how counting) error {
	value, err := json.Marshal(how)
	if err != nil {
		return err
	}
	return txn.Set(countingKey, value)
}

func (s *Store) deleteCounters() error {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{byte(keys.CounterTag)}, false
	it := txn.NewIterator(o)
	defer it.Close()
	wb := s.db.NewManagedWriteBatch()
	defer wb.Cancel()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := wb.DeleteAt(it.Item().KeyCopy(nil), constant); err != nil {
			return err
		}
	}
	return wb.Flush()
}

// countRowsNow counts the rows at the watermark.
func (s *Store) countRowsNow(visit func(key []byte, c rows.Counts) error) error {
	view, err := s.View(s.Applied().Seq)
	if err != nil {
		return err
	}
	defer view.Close()
	return countRows(view, s.thresholds, visit)
}

// ranger is what rows are counted in: a View, or what stands for one.
type ranger interface {
	Range(prefix, from []byte, visit func(key, value []byte) bool) error
}

// countRows counts the rows of a view and gives every counter that is not
// zero, in no order that matters. In each family the rows of a counter lie
// together, so one counter is held at a time.
func countRows(view ranger, thresholds rows.Thresholds, visit func(key []byte, c rows.Counts) error) error {
	for _, by := range []struct {
		family keys.Tag
		scope  keys.Scope
		id     func(keys.Row) string
	}{
		{keys.ByAssignee, keys.OfTenant, func(keys.Row) string { return "" }},
		{keys.ByApp, keys.OfApplication, func(r keys.Row) string { return r.AppID }},
		{keys.ByEntitlement, keys.OfEntitlement, func(r keys.Row) string { return r.EntID }},
	} {
		var key []byte
		var sum rows.Counts
		var failed error
		finish := func() {
			if failed == nil && sum != (rows.Counts{}) {
				failed = visit(key, sum)
			}
			sum = rows.Counts{}
		}
		err := view.Range([]byte{byte(by.family)}, nil, func(rowKey, value []byte) bool {
			family, id, err := keys.ParseRow(rowKey)
			face := rows.Face(value)
			if err == nil && family == keys.ByAssignee {
				face, err = rows.FaceOf(value)
			}
			if err != nil {
				failed = err
				return false
			}
			if next := keys.Counter(id.Tenant, by.scope, by.id(id), id.Assignee.Kind); string(next) != string(key) {
				finish()
				key = next
			}
			sum[thresholds.Of(face)]++
			return failed == nil
		})
		finish()
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("count the rows: %w", err)
		}
	}
	return nil
}

// CheckCounters compares every stored counter with a count of the rows. The
// error names the first counter that is wrong. Nothing may be applied meanwhile.
func (s *Store) CheckCounters() error {
	s.constants.RLock()
	defer s.constants.RUnlock()
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	counted := 0
	if err := s.countRowsNow(func(key []byte, want rows.Counts) error {
		counted++
		have, err := readCounts(txn, key)
		if err == nil && have != want {
			err = fmt.Errorf("counter %q is %v, the rows are %v", key, have, want)
		}
		return err
	}); err != nil {
		return err
	}
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{byte(keys.CounterTag)}, false
	it := txn.NewIterator(o)
	defer it.Close()
	stored := 0
	for it.Rewind(); it.Valid(); it.Next() {
		stored++
	}
	if stored != counted {
		return fmt.Errorf("%d counters are stored, %d have rows", stored, counted)
	}
	return nil
}
