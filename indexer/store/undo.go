package store

import (
	"fmt"
	"math"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// undoingKey holds the watermark that an undo leads to, from its beginning to its
// end. From then on the index is what it was at that watermark, whatever is still
// to be written over: Open goes on with an undo that a crash cut short.
var undoingKey = keys.Meta("undoing")

// UndoTo makes the index what it was at the sequence of to, which must lie between
// the floor and the watermark, and to its watermark: versions above it are written
// over, the change log, the quarantine and the timeline end there, and the counters
// count what is left. The floor stays.
//
// Views of before fail their Check with ErrReplaced and so does who waits for a
// sequence, so to must be of another incarnation of the stream than before.
// Counters and instants are not answered before it is over.
//
// No batch may be under way. It returns ErrPruned and ErrAhead for a sequence
// outside the bounds. After any other error the store must be closed; the next Open
// completes the undo, or it was never begun.
func (s *Store) UndoTo(to Watermark) error {
	s.constants.Lock()
	defer s.constants.Unlock()
	if applied := s.Applied().Seq; to.Seq > applied {
		return fmt.Errorf("undo to sequence %d, the last applied is %d: %w", to.Seq, applied, ErrAhead)
	}
	if floor := s.Floor(); to.Seq < floor {
		return fmt.Errorf("undo to sequence %d, the lowest that can be read is %d: %w", to.Seq, floor, ErrPruned)
	}
	if err := s.fault.Step(fault.UndoBegin, func() error { return s.markUndo(to) }); err != nil {
		s.failed = fmt.Errorf("begin to undo to sequence %d: %w", to.Seq, err)
		return s.failed
	}
	// Before the first version is written over nobody may believe what was read above.
	s.mu.Lock()
	s.applied = to
	s.epoch++
	close(s.advance)
	s.advance = make(chan struct{})
	s.mu.Unlock()
	s.failed = s.undo(to)
	return s.failed
}

// undo does the undo that is marked as begun. It may be repeated from the beginning
// wherever it was cut short. The caller holds the lock on constants.
func (s *Store) undo(to Watermark) error {
	for _, step := range []struct {
		at fault.Point
		do func() error
	}{
		{fault.UndoVersions, func() error {
			undone, highest, err := s.undoAbove(to.Seq)
			s.undone = max(s.undone, highest)
			s.log.Info().Int("keys", undone).Uint64("seq", to.Seq).Msg("undid what was applied above a sequence")
			return err
		}},
		{fault.UndoTimeline, func() error { return s.deleteRungsAbove(to.Seq) }},
		{fault.UndoCount, s.countAnew},
		{fault.UndoEnd, func() error { return s.endUndo(to) }},
	} {
		if err := s.fault.Step(step.at, step.do); err != nil {
			return fmt.Errorf("%s to sequence %d: %w", step.at, to.Seq, err)
		}
	}
	return nil
}

// markUndo makes durable that an undo has begun. From then on the counters are not
// those of the watermark.
func (s *Store) markUndo(to Watermark) error {
	value, err := json.Marshal(&to)
	if err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := txn.Set(undoingKey, value); err != nil {
		return err
	}
	if err := markIn(txn, counting{Thresholds: s.thresholds}); err != nil {
		return err
	}
	return txn.CommitAt(constant, nil)
}

// endUndo makes the watermark durable and takes the mark away, both at once.
func (s *Store) endUndo(to Watermark) error {
	value, err := json.Marshal(&to)
	if err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := txn.Set(watermarkKey, value); err != nil {
		return err
	}
	if err := txn.Delete(undoingKey); err != nil {
		return err
	}
	return txn.CommitAt(constant, nil)
}

// readUndo takes the watermark of an undo that was begun and not ended, and reports
// whether there is one.
func (s *Store) readUndo() (begun bool, err error) {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	value, err := get(txn, undoingKey)
	if value == nil || err != nil {
		return false, err
	}
	var to Watermark
	if err := json.Unmarshal(value, &to); err != nil {
		return false, fmt.Errorf("undo: %w", rows.ErrCorrupt)
	}
	s.applied = to
	return true, nil
}

// deleteRungsAbove ends the timeline at a sequence.
func (s *Store) deleteRungsAbove(seq uint64) error {
	if seq == math.MaxUint64 {
		return nil
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(rungOptions())
	defer it.Close()
	wb := s.db.NewManagedWriteBatch()
	defer wb.Cancel()
	for it.Seek(rungKey(seq + 1)); it.Valid(); it.Next() {
		if err := wb.DeleteAt(it.Item().KeyCopy(nil), constant); err != nil {
			return err
		}
	}
	return wb.Flush()
}

// storesOwn reports whether a key is one of those that the store writes for itself,
// which have no sequence.
func storesOwn(item *badger.Item) bool {
	tag := keys.Tag(item.Key()[0])
	return tag == keys.MetaTag || tag == keys.CounterTag
}
