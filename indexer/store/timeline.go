package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// timelinePrefix is followed by the last sequence of a batch, eight bytes, big
// endian. There is one rung for every batch that was committed.
var timelinePrefix = keys.Meta("timeline/")

// Rung is what the timeline tells of one batch. The stamps of messages may go
// backwards; their highest up to a sequence, its peak, never does, so instants are
// looked up by peaks.
type Rung struct {
	Seq         uint64 // the last sequence of the batch
	Peak        int64  // the highest time of any message up to Seq, Unix nanoseconds
	Fingerprint []byte // of the message at Seq; empty for an erased one

	steps []byte // where in the batch the peak grew, see steps
}

// steps collects where in a batch the peak grew.
//
// A rung's value is
//
//	peak         8 bytes, big endian
//	fingerprint  a varint of its length, then bytes
//	steps        from the last one back to the first: a varint of how many sequences it
//	             lies before the step after it (the last one: before the end of the
//	             batch), and a varint of how far the peak rose there, in nanoseconds
//
// so that a batch of messages in close succession takes some four bytes a message.
type steps struct {
	peak  int64 // after the last message seen
	grown []step
}

type step struct {
	seq  uint64
	rise uint64 // nanoseconds; the first message of all rises from 0
}

// saw notes the time of the message at a sequence.
func (s *steps) saw(seq uint64, nano int64) {
	if nano > s.peak {
		s.grown = append(s.grown, step{seq, uint64(nano) - uint64(s.peak)})
		s.peak = nano
	}
}

func rungKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(timelinePrefix), seq)
}

// rungValue encodes the rung of a batch that ends at w.
func (s *steps) rungValue(w Watermark) []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 64+6*len(s.grown)), uint64(s.peak))
	value = binary.AppendUvarint(value, uint64(len(w.Fingerprint)))
	value = append(value, w.Fingerprint...)
	next := w.Seq
	for i := len(s.grown) - 1; i >= 0; i-- {
		value = binary.AppendUvarint(value, next-s.grown[i].seq)
		value = binary.AppendUvarint(value, s.grown[i].rise)
		next = s.grown[i].seq
	}
	return value
}

// parseRung reads the rung that an iterator stands at.
func parseRung(item *badger.Item) (Rung, error) {
	key := item.Key()
	value, err := item.ValueCopy(nil)
	if err != nil {
		return Rung{}, err
	}
	if len(key) != len(timelinePrefix)+8 || len(value) < 9 {
		return Rung{}, corruptRung()
	}
	r := Rung{Seq: binary.BigEndian.Uint64(key[len(timelinePrefix):]), Peak: int64(binary.BigEndian.Uint64(value))}
	size, n := binary.Uvarint(value[8:])
	rest := value[8+max(n, 0):]
	if n <= 0 || size > uint64(len(rest)) {
		return Rung{}, corruptRung()
	}
	r.Fingerprint, r.steps = rest[:size:size], rest[size:]
	return r, nil
}

func corruptRung() error { return fmt.Errorf("timeline: %w", rows.ErrCorrupt) }

// firstAfter gives the first sequence of the batch at which the peak is after
// nano, and false when it already was before the batch. The rung's own peak must
// be after it.
func (r *Rung) firstAfter(nano int64) (seq uint64, ok bool, err error) {
	seq, peak := r.Seq, r.Peak
	for b := r.steps; len(b) > 0; {
		back, n := binary.Uvarint(b)
		if n <= 0 || back > seq {
			return 0, false, corruptRung()
		}
		rise, m := binary.Uvarint(b[n:])
		if m <= 0 {
			return 0, false, corruptRung()
		}
		seq, peak, b = seq-back, peak-int64(rise), b[n+m:]
		if peak <= nano {
			return seq, true, nil
		}
	}
	return 0, false, nil
}

// SequenceAt gives the last sequence before any message with a time after nano,
// Unix nanoseconds. When no such message has been applied that is the watermark's,
// and latest says so: one that is still to come may belong to the instant. It
// returns ErrPruned when the sequence is below the floor.
func (s *Store) SequenceAt(nano int64) (seq uint64, latest bool, err error) {
	s.constants.RLock() // no batch is committed and no rung deleted meanwhile
	defer s.constants.RUnlock()
	nano = max(nano, 0) // no message is older than Unix time
	applied, floor := s.Applied(), s.Floor()
	if applied.Seq == 0 || nano >= peakOf(applied) {
		return applied.Seq, true, nil
	}
	_, after, err := s.around(nano)
	if err != nil {
		return 0, false, err
	}
	if after == nil { // before the first message, of which there was none
		return applied.Seq, true, nil
	}
	first, ok, err := after.firstAfter(nano)
	if err != nil {
		return 0, false, err
	}
	if !ok || first <= floor {
		return 0, false, fmt.Errorf("the floor is %d: %w", floor, ErrPruned)
	}
	return first - 1, false, nil
}

// RungBefore gives the highest rung whose peak is at most nano, and false when
// there is none at or above the floor's.
func (s *Store) RungBefore(nano int64) (Rung, bool, error) {
	before, _, err := s.around(nano)
	if before == nil {
		return Rung{}, false, err
	}
	return *before, true, err
}

// around gives the highest rung whose peak is at most nano and the lowest one
// whose peak is after it, nil where there is none. It halves the range of
// sequences, from the rung that covers the floor on, with a seek each time.
func (s *Store) around(nano int64) (before, after *Rung, err error) {
	low, high := uint64(0), s.Applied().Seq
	if base, ok, err := s.RungAt(s.Floor()); err != nil {
		return nil, nil, err
	} else if ok {
		low = base.Seq
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewIterator(rungOptions())
	defer it.Close()
	for low <= high {
		middle := low + (high-low)/2
		r, ok, err := seekRung(it, middle)
		if err != nil {
			return nil, nil, err
		}
		if ok && r.Peak <= nano {
			before, low = &r, r.Seq+1
			continue
		}
		if ok {
			after = &r // no higher than the one found before
		}
		if middle == low {
			break
		}
		high = middle - 1
	}
	return before, after, nil
}

// RungAt gives the highest rung at or below a sequence, and false when there is
// none: before the first batch, and below the one that covers the floor.
func (s *Store) RungAt(seq uint64) (Rung, bool, error) {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := rungOptions()
	o.Reverse = true
	it := txn.NewIterator(o)
	defer it.Close()
	return seekRung(it, seq)
}

// seekRung gives the rung at seq or the next one in the iterator's direction, and
// false when there is none.
func seekRung(it *badger.Iterator, seq uint64) (Rung, bool, error) {
	it.Seek(rungKey(seq))
	if !it.Valid() {
		return Rung{}, false, nil
	}
	r, err := parseRung(it.Item())
	return r, err == nil, err
}

func rungOptions() badger.IteratorOptions {
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = timelinePrefix, false // each seek reads one
	return o
}

// maxRungsDeleted bounds what one call of AdvanceFloor deletes. The indexer calls
// it every five seconds, in which it cannot commit as many batches.
var maxRungsDeleted = 20_000 // a test lowers it

// deleteRungs deletes, in a transaction, rungs that no instant at or above a floor
// needs. The highest one at or below it stays: its peak tells instants whose
// sequence is above the floor from those below. It gives where the next call
// begins, and deletes the rest then.
func (s *Store) deleteRungs(txn *badger.Txn, floor uint64) (next uint64, err error) {
	base, ok, err := s.RungAt(floor)
	if err != nil || !ok {
		return s.lowestRung, err
	}
	var old [][]byte
	reading := s.db.NewTransactionAt(math.MaxUint64, false)
	defer reading.Discard()
	it := reading.NewIterator(rungOptions())
	defer it.Close()
	next = base.Seq
	for it.Seek(rungKey(s.lowestRung)); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if len(key) != len(timelinePrefix)+8 {
			return 0, corruptRung()
		}
		seq := binary.BigEndian.Uint64(key[len(timelinePrefix):])
		if seq >= base.Seq || len(old) == maxRungsDeleted {
			next = seq
			break
		}
		old = append(old, key)
	}
	for _, key := range old {
		if err := txn.Delete(key); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// peakOf gives the highest time of any message up to a watermark.
func peakOf(w Watermark) int64 { return max(w.Peak, w.Nano) }
