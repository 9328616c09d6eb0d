package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
)

// Reclaim gives the room of what lies below the floor back to the disk, while
// others read and write. It blocks until that is done.
//
// Badger drops what the floor has passed when it compacts, and it compacts what
// is written to. A range that was deleted, or written over, and is then left alone
// keeps its size forever: it lies in the last level, where nothing comes down on
// it. So Reclaim writes marks into every table, moves them out of memory, and has
// Badger compact all levels into one, which writes every table anew.
//
// Marks are tombstones at the constant timestamp, which is below every floor: the
// compaction that they are written for drops them too. Their keys are the first
// of a table with bytes behind it. No key of ours begins another, so none is hidden
// by them, and a walk passes over them. Nothing at or above the floor is touched:
// what a compaction drops is Badger's rule, the same as in every other one.
//
// It may be killed at any point: what it wrote are marks, and a compaction takes
// effect with one record in Badger's manifest. While a compaction runs, the disk
// holds what it reads and what it writes, in the worst case the index twice.
//
// The context ends it before the compaction only, which takes about half a second
// for a million stored versions. Close waits for it.
func (s *Store) Reclaim(ctx context.Context) error {
	s.reclaiming.Lock()
	defer s.reclaiming.Unlock()
	if s.db.IsClosed() {
		return errors.New("reclaim: the index is closed")
	}
	if err := s.markTables(ctx); err != nil {
		return fmt.Errorf("reclaim: mark the tables: %w", err)
	}
	for again := true; again; again = s.levelZeroOnly() {
		if err := s.fault.Step(fault.ReclaimTurn, func() error { return s.turnMemTable(ctx) }); err != nil {
			return fmt.Errorf("reclaim: write the memtable out: %w", err)
		}
	}
	if err := s.fault.Step(fault.ReclaimCompact, func() error { return s.db.Flatten(1) }); err != nil {
		return fmt.Errorf("reclaim: compact: %w", err)
	}
	return nil
}

const (
	// A level's compaction takes one of its tables at a time and all that it overlaps
	// below. Marks of this size, one for so many bytes of a table, fill a table of the
	// upper level (2 MiB) for every 64 MiB below, so that a compaction writes no more
	// than that in one go, and what is written meanwhile gets its turn in between.
	markBytes = 1 << 10
	markEvery = 32 << 10
	// writeBytes bounds one write of Reclaim: a commit that comes at the same time
	// waits for it.
	writeBytes = 256 << 10
)

// markTables writes marks into every table below level 0, whose tables are
// compacted in any case.
func (s *Store) markTables(ctx context.Context) error {
	txn, size := s.db.NewTransactionAt(constant, true), 0
	defer func() { txn.Discard() }()
	for _, table := range s.db.Tables() {
		if table.Level == 0 {
			continue
		}
		for n := range 1 + table.OnDiskSize/markEvery {
			if err := txn.Delete(mark(withoutTimestamp(table.Left), n)); err != nil {
				return err
			}
			if size += markBytes; size < writeBytes {
				continue
			}
			if err := s.commitMarks(txn); err != nil {
				return err
			}
			txn, size = s.db.NewTransactionAt(constant, true), 0
			if err := ctx.Err(); err != nil {
				return err
			}
		}
	}
	return s.commitMarks(txn)
}

func (s *Store) commitMarks(txn *badger.Txn) error {
	return s.fault.Step(fault.ReclaimMark, func() error { return txn.CommitAt(constant, nil) })
}

// mark gives the nth key behind the first key of a table, before its next one.
func mark(first []byte, n uint32) []byte {
	key := make([]byte, max(markBytes, len(first)+8))
	copy(key, first)
	// A byte more than the key, which is nobody's, and the number.
	binary.BigEndian.PutUint32(key[len(first)+1:], n)
	return key
}

// withoutTimestamp gives a key as Badger was given it. Tables are told with the
// eight bytes of the timestamp that Badger adds.
func withoutTimestamp(key []byte) []byte { return key[:len(key)-8] }

// fillerKey is written over and over to make Badger change its memtable.
var fillerKey = keys.Meta("filler")

// turnMemTable returns when all that was written before is in tables. Badger has
// no call for that. It writes a memtable out when it is full, so this fills it, and
// tells by the files of memtables when that is over.
func (s *Store) turnMemTable(ctx context.Context) error {
	_, current, err := s.memTables()
	if err != nil {
		return err
	}
	filler := make([]byte, writeBytes)
	for {
		_, newest, err := s.memTables()
		if err != nil {
			return err
		}
		if newest > current {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.setConstant(fillerKey, filler); err != nil {
			return err
		}
	}
	if err := s.setConstant(fillerKey, nil); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond) // nobody tells
	defer tick.Stop()
	for {
		oldest, _, err := s.memTables()
		if err != nil || oldest > current {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// levelZeroOnly reports whether all lies in level 0, and in so few tables that
// Badger would leave it there.
func (s *Store) levelZeroOnly() bool {
	tables := s.db.Tables()
	for _, t := range tables {
		if t.Level > 0 {
			return false
		}
	}
	return len(tables) > 0 && len(tables) <= levelZeroTables
}

// setConstant writes one key of the store's own; nil: deletes it.
func (s *Store) setConstant(key, value []byte) error {
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	var err error
	if value == nil {
		err = txn.Delete(key)
	} else {
		err = txn.Set(key, value)
	}
	if err != nil {
		return err
	}
	return txn.CommitAt(constant, nil)
}

// memTables gives the numbers of the oldest and of the newest memtable that has a
// file: it has one until it is written out and nobody reads it any more.
func (s *Store) memTables() (oldest, newest int, err error) {
	entries, err := os.ReadDir(s.db.Opts().Dir)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		var n int
		if filepath.Ext(e.Name()) != ".mem" {
			continue
		}
		if _, err := fmt.Sscanf(e.Name(), "%d.mem", &n); err != nil {
			return 0, 0, fmt.Errorf("memtable file %s: %w", e.Name(), err)
		}
		if oldest == 0 || n < oldest {
			oldest = n
		}
		newest = max(newest, n)
	}
	return oldest, newest, nil
}

// Space is the room that the index takes on disk.
type Space struct {
	Tables int64 // bytes of Badger's tables
	Dead   int64 // an estimate of how many of them Reclaim would give back
}

// Worth reports whether Reclaim is worth its while: it writes the whole index anew.
func (sp Space) Worth() bool {
	return sp.Dead >= leastDead && sp.Dead >= sp.Tables/4
}

const (
	leastDead = 16 << 20
	// sampledTables and sampledVersions bound the estimate, to about 30 ms.
	sampledTables   = 256
	sampledVersions = 256
)

// Space measures the tables, and estimates how much of them lies below the floor
// for nothing: it looks at some keys of each table, and at all versions of each. So
// there is no account to be kept, and none to be lost in a crash.
func (s *Store) Space() Space {
	tables, dead := s.below(s.Floor())
	return Space{Tables: tables, Dead: dead}
}

// History estimates the bytes that are kept for reads of the past: what could be
// given back if the floor stood at the last applied sequence, without what can be
// given back already.
func (s *Store) History() int64 {
	_, all := s.below(s.Applied().Seq)
	return max(0, all-s.Space().Dead)
}

// below measures the tables, and what of them a floor would leave for nothing.
func (s *Store) below(floor uint64) (tables, deadBytes int64) {
	var lower, all []badger.TableInfo
	for _, t := range s.db.Tables() {
		tables += int64(t.OnDiskSize)
		all = append(all, t)
		if t.Level > 0 {
			lower = append(lower, t)
		}
	}
	if len(lower) > 0 {
		all = lower // those of level 0 each span everything
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues, o.AllVersions = false, true
	it := txn.NewIterator(o)
	defer it.Close()
	c := census{floor: floor}
	stride := 1 + len(all)/sampledTables
	var size, dead float64
	for i := 0; i < len(all); i += stride {
		size += float64(all[i].OnDiskSize)
		dead += float64(all[i].OnDiskSize) * c.of(it, withoutTimestamp(all[i].Left))
	}
	if size > 0 {
		deadBytes = int64(float64(tables) * dead / size)
	}
	return tables, deadBytes
}

// census tells what a compaction would drop.
type census struct{ floor uint64 }

// of gives the share of bytes that a compaction would drop of some versions from a
// key on.
func (c census) of(it *badger.Iterator, from []byte) float64 {
	var key []byte
	var settled bool // a version at or below the floor was seen
	var all, dead int64
	n := 0
	for it.Seek(from); it.Valid() && n < sampledVersions; it.Next() {
		n++
		item := it.Item()
		if string(item.Key()) != string(key) {
			key, settled = append(key[:0], item.Key()...), false
		}
		size := item.EstimatedSize()
		all += size
		switch {
		case settled:
			dead += size
		case item.Version() <= c.floor:
			settled = true
			// The log is pruned up to the floor before it is given back.
			if item.IsDeletedOrExpired() || keys.Tag(key[0]) == keys.ChangeTag {
				dead += size
			}
		}
	}
	if all == 0 {
		return 0
	}
	return float64(dead) / float64(all)
}
