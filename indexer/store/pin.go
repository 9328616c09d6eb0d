package store

import "fmt"

// Pin keeps a sequence readable until release is called: AdvanceFloor moves the floor
// no higher than the lowest one that is pinned. It returns ErrPruned for a sequence
// that the floor has passed, or is about to, and ErrAhead above the watermark. release
// may be called more than once.
//
// It does not keep an undo from taking back what lies above the sequence undone to;
// see View.Check.
func (s *Store) Pin(seq uint64) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.applied.Seq {
		return nil, fmt.Errorf("sequence %d, the last applied is %d: %w", seq, s.applied.Seq, ErrAhead)
	}
	if lowest := max(s.floor, s.rising); seq < lowest {
		return nil, fmt.Errorf("sequence %d, the lowest that can be read is %d: %w", seq, lowest, ErrPruned)
	}
	return s.pin(seq), nil
}

// pin is Pin with the lock on mu held and without its checks.
func (s *Store) pin(seq uint64) (release func()) {
	if s.pins == nil {
		s.pins = make(map[*uint64]struct{})
	}
	pin := &seq
	s.pins[pin] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pins, pin)
	}
}

// raise gives the floor that may be moved to when seq is asked for, and keeps what lies
// below it from being pinned from then on.
func (s *Store) raise(seq uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pin := range s.pins {
		seq = min(seq, *pin)
	}
	s.rising = max(s.rising, seq)
	return seq
}
