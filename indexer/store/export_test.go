package store

import badger "github.com/dgraph-io/badger/v4"

// Badger lets benchmarks read the database with nothing in between.
func (s *Store) Badger() *badger.DB { return s.db }

// LowerMaxCounterBytes makes batches give their counters up early, until the
// function that it returns is called.
func LowerMaxCounterBytes(bytes int) (restore func()) {
	before := maxCounterBytes
	maxCounterBytes = bytes
	return func() { maxCounterBytes = before }
}

// LowerMaxRungsDeleted makes the floor delete fewer rungs at a time, until the
// function that it returns is called.
func LowerMaxRungsDeleted(rungs int) (restore func()) {
	before := maxRungsDeleted
	maxRungsDeleted = rungs
	return func() { maxRungsDeleted = before }
}

// ManyVersions is how many versions of one key a walk steps over.
const ManyVersions = manyVersions

// LowerExportKeys lowers how many versions an export reads in one turn.
func LowerExportKeys(n int) (restore func()) {
	was := exportKeys
	exportKeys = n
	return func() { exportKeys = was }
}
