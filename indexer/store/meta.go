package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Errors of positions, which are the listing's: who reads through the index does
// not know the store.
var (
	ErrPruned = listing.ErrPruned
	ErrAhead  = listing.ErrAhead
	// ErrReplaced is returned when the index was undone meanwhile.
	ErrReplaced = listing.ErrReplaced
)

// constant is the timestamp of what the store writes for itself. A key must
// never gain a version per batch: Badger keeps all versions of a key in one
// table.
const constant = 1

var (
	watermarkKey = keys.Meta("watermark")
	floorKey     = keys.Meta("floor")
)

// Watermark is the last sequence that is wholly in the index, and what tells
// the stream that it came from.
type Watermark = position.Position

func (s *Store) readMeta() error {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	value, err := get(txn, watermarkKey)
	if err != nil {
		return err
	}
	if value != nil {
		if err := json.Unmarshal(value, &s.applied); err != nil {
			return fmt.Errorf("watermark: %w", rows.ErrCorrupt)
		}
	}
	value, err = get(txn, floorKey)
	if err != nil {
		return err
	}
	if value != nil {
		if len(value) != 8 {
			return fmt.Errorf("floor: %w", rows.ErrCorrupt)
		}
		s.floor = binary.BigEndian.Uint64(value)
	}
	return nil
}

// Applied gives the watermark: every event up to it is in the index, durably.
func (s *Store) Applied() Watermark {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.applied
}

// Floor gives the lowest sequence that can still be read.
func (s *Store) Floor() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.floor
}

// Wait returns when seq has been applied, or with the context's error. When the
// index is undone meanwhile it returns ErrReplaced: the sequence that was waited for
// is another one now.
func (s *Store) Wait(ctx context.Context, seq uint64) error {
	s.mu.RLock()
	began := s.epoch
	s.mu.RUnlock()
	for {
		s.mu.RLock()
		reached, epoch, advance, retired := s.applied.Seq >= seq, s.epoch, s.advance, s.retired
		s.mu.RUnlock()
		if epoch != began {
			return fmt.Errorf("wait for sequence %d: %w", seq, ErrReplaced)
		}
		if reached {
			return nil
		}
		if retired {
			return fmt.Errorf("wait for sequence %d: %w", seq, ErrRetired)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-advance:
		}
	}
}

// ErrRetired is returned by Wait for what a store will not apply any more.
var ErrRetired = errors.New("nothing more is applied to this index")

// Retire says that nothing more is applied: nobody waits for that any longer.
func (s *Store) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	close(s.advance)
	s.advance = make(chan struct{})
}

// Bind ties an empty index to its stream, at the position before the first
// message that it will read. It must be called before the first batch.
func (s *Store) Bind(at Watermark) error {
	if s.Applied().Seq != 0 {
		return errors.New("bind: the index is not empty")
	}
	return s.commitWatermark(at, nil, &tally{})
}

// commitWatermark makes w durable, with the counters and with the batch's rung, and
// then lets readers see it. Without a batch there is no rung.
func (s *Store) commitWatermark(w Watermark, rung []byte, t *tally) error {
	s.constants.Lock()
	defer s.constants.Unlock()
	s.failed = s.moveWatermark(w, rung, t)
	return s.failed
}

// moveWatermark is commitWatermark with the lock on constants held.
func (s *Store) moveWatermark(w Watermark, rung []byte, t *tally) error {
	if t.wide() {
		if err := s.fault.Step(fault.Wide, func() error { return s.addWide(t) }); err != nil {
			return err
		}
	}
	if err := s.fault.Step(fault.Watermark, func() error { return s.commitConstants(w, rung, t) }); err != nil {
		return err
	}
	s.mu.Lock()
	s.applied = w
	close(s.advance)
	s.advance = make(chan struct{})
	s.mu.Unlock()
	if t.lost {
		return s.countAnew()
	}
	return nil
}

// commitConstants writes all that moves with the watermark in one transaction.
func (s *Store) commitConstants(w Watermark, rung []byte, t *tally) error {
	value, err := json.Marshal(&w)
	if err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := txn.Set(watermarkKey, value); err != nil {
		return err
	}
	if rung != nil {
		if err := txn.Set(rungKey(w.Seq), rung); err != nil {
			return err
		}
	}
	switch {
	case t.lost:
		err = markIn(txn, counting{Thresholds: s.thresholds}) // a crash before the count is over counts again
	case t.wide():
		err = markIn(txn, counting{Thresholds: s.thresholds, Valid: true}) // addWide has added them
	default:
		err = t.writeTo(txn)
	}
	if err != nil {
		return err
	}
	return txn.CommitAt(constant, nil)
}

// AdvanceFloor gives up the history below seq: reads there are refused from now
// on, and compaction may drop what they would have seen. A seq at or below the
// floor does nothing; one above the watermark is an error. The floor stops at the
// lowest sequence that is pinned (Pin).
func (s *Store) AdvanceFloor(seq uint64) error {
	if applied := s.Applied().Seq; seq > applied {
		return fmt.Errorf("floor %d is above the watermark %d: %w", seq, applied, ErrAhead)
	}
	if seq = s.raise(seq); seq <= s.Floor() {
		return nil
	}
	txn := s.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := txn.Set(floorKey, binary.BigEndian.AppendUint64(nil, seq)); err != nil {
		return err
	}
	lowest, err := s.deleteRungs(txn, seq)
	if err != nil {
		return err
	}
	// Nobody looks an instant up while its rungs go.
	s.constants.Lock()
	defer s.constants.Unlock()
	if err := s.fault.Step(fault.Floor, func() error { return txn.CommitAt(constant, nil) }); err != nil {
		return err
	}
	s.lowestRung = lowest
	// Readers are refused before anything can be dropped.
	s.mu.Lock()
	s.floor = seq
	s.mu.Unlock()
	s.db.SetDiscardTs(seq)
	return nil
}
