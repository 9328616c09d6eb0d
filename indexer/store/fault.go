package store

// Point is a step that a test can make fail.
type Point string

// The points of the store. Each is one durable step, or a run of writes whose
// repetition changes nothing.
const (
	PointUndoBegin    Point = "undo begin"    // the mark that an undo was begun
	PointUndoVersions Point = "undo versions" // what was written above the sequence is written over
	PointUndoTimeline Point = "undo timeline" // the rungs above the sequence go
	PointUndoCount    Point = "undo count"    // the counters are counted anew
	PointUndoEnd      Point = "undo end"      // the watermark, and the mark goes
)

// Points are all of them, for tests that go through each.
var Points = []Point{PointUndoBegin, PointUndoVersions, PointUndoTimeline, PointUndoCount, PointUndoEnd}

// Fault is called before and after the step of each point. Its error makes the step
// fail: with done false it was not done, with done true it was done all the same.
type Fault func(at Point, done bool) error

// step does the step of a point.
func (s *Store) step(at Point, do func() error) error {
	if s.fault == nil {
		return do()
	}
	if err := s.fault(at, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.fault(at, true)
}
