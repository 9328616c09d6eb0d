package store

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Options open a store.
type Options struct {
	Dir    string // made if absent
	Logger zerolog.Logger
	// Thresholds are the levels that counters count scores by; nil: the default.
	// Another value than the last time counts anew at open.
	Thresholds *rows.Thresholds
	// Fault makes steps fail in tests; nil in production. See package fault.
	Fault fault.Hook
	// StoredThresholds keeps the levels that the counters were counted by, whatever
	// they are: for tools that look at an index and must not count anew.
	StoredThresholds bool
	// OldRules opens an index of older rules of the fold as well. Nothing may be applied
	// to it: it would be of neither.
	OldRules bool
	// Temporary is for an index that is thrown away: after a power cut it need not
	// open again, so that nothing waits for the disk.
	Temporary bool
}

// Store is an open index.
type Store struct {
	db     *badger.DB
	log    zerolog.Logger
	undone uint64 // the highest sequence with versions that were undone; see Batch.eachUndone
	fault  fault.Hook

	thresholds rows.Thresholds
	oldRules   bool // of the fold
	// keepThresholds is Options.StoredThresholds; used by Open only.
	keepThresholds bool

	constants  sync.RWMutex // held while watermark, counters and timeline change together
	lowestRung uint64       // no rung is below; owned by the goroutine that advances the floor
	failed     error        // why the counters may not be those of the watermark; guarded by constants
	reclaiming sync.Mutex   // held by Reclaim, and by Close

	mu      sync.RWMutex         // guards what follows
	applied Watermark            // the last one that is durable
	floor   uint64               // reads below are refused
	rising  uint64               // what the floor is being moved to, or was; see Pin
	pins    map[*uint64]struct{} // sequences that the floor does not pass
	epoch   uint64               // grows when applied goes back; what was read in another one is void
	advance chan struct{}        // closed and replaced when applied moves
	retired bool                 // it moves no more; see Retire
}

// memTableBytes is the size of a memtable, of which Badger keeps two. A
// transaction is at most 15% of one. Writing one out takes memory in proportion.
const memTableBytes = 32 << 20

// levelZeroTables is how many tables level 0 has before they are compacted.
const levelZeroTables = 2

// blockCacheBytes holds decompressed blocks for readers.
const blockCacheBytes = 64 << 20

// Open opens the index in a directory, making it if the directory is empty, and
// undoes what a crash left above the watermark. It reads every table file first, and
// returns ErrDamaged when one does not hold what was written to it.
func Open(o Options) (*Store, error) {
	age, err := o.checkMarker()
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := refuseDamaged(o.Dir); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	var db *badger.DB
	err = o.Fault.Step(fault.Open, func() (err error) {
		db, err = openBadger(o)
		return err
	})
	if err != nil {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
		return nil, fmt.Errorf("open index in %s: %w", o.Dir, err)
	}
	if o.Thresholds == nil {
		o.Thresholds = &rows.DefaultThresholds
	}
	s := &Store{
		db: db, log: o.Logger, thresholds: *o.Thresholds, keepThresholds: o.StoredThresholds, fault: o.Fault,
		oldRules: age == OldRules,
		advance:  make(chan struct{}),
	}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("open index in %s: %w", o.Dir, errors.Join(err, db.Close()))
	}
	return s, nil
}

func (o Options) checkMarker() (Age, error) {
	if o.OldRules {
		if age, err := AgeOf(o.Dir); err != nil || age == OldRules {
			return age, err
		}
	}
	return Current, checkMarker(o.Dir)
}

// OldRules reports whether the index is of older rules of the fold, as Options.OldRules
// lets it be.
func (s *Store) OldRules() bool { return s.oldRules }

func openBadger(o Options) (*badger.DB, error) {
	opts := badger.DefaultOptions(o.Dir).
		WithLogger(badgerLog{o.Logger}).
		// Events are applied by one goroutine, in order: there are no conflicts.
		WithDetectConflicts(false).
		WithSyncWrites(!o.Temporary).
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTableBytes).
		WithNumMemtables(2).
		// A page seeks in every table of level 0 and once in each level below: few of
		// both make it a third faster, and writing is as quick.
		WithNumLevelZeroTables(levelZeroTables).
		WithBaseLevelSize(64 << 20).
		// Larger than any value of ours: rows live in the tree, next to their keys.
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		// Faces repeat much of each other: a third of the size for the same speed.
		WithCompression(options.Snappy).
		WithBlockCacheSize(blockCacheBytes).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false)
	// A power cut can leave a memtable file without a byte in it. The first open
	// gives it a size and fails, the second succeeds.
	empty := hasEmptyMemTable(o.Dir)
	db, err := badger.OpenManaged(opts)
	if err != nil && empty {
		o.Logger.Warn().Err(err).Msg("opening the index again after an empty memtable file")
		db, err = badger.OpenManaged(opts)
	}
	return db, err
}

func hasEmptyMemTable(dir string) bool {
	files, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return false
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.Size() == 0 {
			return true
		}
	}
	return false
}

// recover reads what the store knows of itself and brings the rest in line.
func (s *Store) recover() error {
	if err := s.readMeta(); err != nil {
		return err
	}
	// Badger forgets this at every close.
	s.db.SetDiscardTs(s.floor)
	if begun, err := s.readUndo(); err != nil {
		return err
	} else if begun {
		s.constants.Lock()
		defer s.constants.Unlock()
		return s.undo(s.applied)
	}
	var undone int
	err := s.fault.Step(fault.OpenUndo, func() (err error) {
		undone, s.undone, err = s.undoAbove(s.applied.Seq)
		return err
	})
	if err != nil {
		return fmt.Errorf("undo what a crash left above sequence %d: %w", s.applied.Seq, err)
	}
	if undone > 0 {
		s.log.Info().Int("keys", undone).Uint64("seq", s.applied.Seq).Msg("undid what a crash left above the watermark")
	}
	return s.openCounters()
}

// Close releases the directory, after a Reclaim that has come to its compaction.
// Views must be closed before.
func (s *Store) Close() error {
	s.reclaiming.Lock()
	defer s.reclaiming.Unlock()
	return s.db.Close()
}

// Sizes gives the bytes on disk of the tree's tables and of the value log, which
// stays empty but for a header: values lie in the tree. Badger's own account of
// either is kept only with its metrics.
func (s *Store) Sizes() (tree, valueLog int64) {
	for _, t := range s.db.Tables() {
		tree += int64(t.OnDiskSize)
	}
	files, err := filepath.Glob(filepath.Join(s.db.Opts().ValueDir, "*.vlog"))
	if err != nil {
		return tree, 0 // of a malformed pattern only
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil {
			valueLog += st.Size()
		}
	}
	return tree, valueLog
}

// undoAbove makes every key that has a version above seq read as it did at seq,
// by writing that again at the same timestamps, and returns how many versions it
// wrote and the highest that there is. A crash during it leaves versions that the
// next call finds.
func (s *Store) undoAbove(seq uint64) (undone int, highest uint64, err error) {
	all := s.db.NewTransactionAt(math.MaxUint64, false)
	defer all.Discard()
	then := s.db.NewTransactionAt(seq, false)
	defer then.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues, o.SinceTs = true, false, seq
	it := all.NewIterator(o)
	defer it.Close()

	wb := s.db.NewManagedWriteBatch()
	defer wb.Cancel()
	for it.Rewind(); it.Valid(); it.Next() {
		item := it.Item()
		if item.Version() <= seq || storesOwn(item) {
			continue
		}
		highest = max(highest, item.Version())
		key := item.KeyCopy(nil)
		old, err := get(then, key)
		if err != nil {
			return undone, highest, err
		}
		if old == nil {
			if item.IsDeletedOrExpired() {
				continue // undone by an earlier open, or deleted what was not there
			}
			err = wb.DeleteAt(key, item.Version())
		} else {
			err = wb.SetEntryAt(badger.NewEntry(key, old), item.Version())
		}
		if err != nil {
			return undone, highest, err
		}
		undone++
	}
	return undone, highest, wb.Flush()
}

// get returns the value of key at the transaction's timestamp, nil when absent.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := item.ValueCopy(nil)
	if value == nil && err == nil {
		value = []byte{}
	}
	return value, err
}

// badgerLog passes Badger's log on, one level lower: what it calls info is of
// use to us only when something is looked into.
type badgerLog struct{ log zerolog.Logger }

func (l badgerLog) Errorf(format string, args ...any) { l.log.Error().Msgf("badger: "+format, args...) }
func (l badgerLog) Warningf(format string, args ...any) {
	l.log.Warn().Msgf("badger: "+format, args...)
}
func (l badgerLog) Infof(format string, args ...any)  { l.log.Debug().Msgf("badger: "+format, args...) }
func (l badgerLog) Debugf(format string, args ...any) { l.log.Trace().Msgf("badger: "+format, args...) }
