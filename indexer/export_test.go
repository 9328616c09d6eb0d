package indexer

import "time"

// AdvanceFloor looks at the history window as Run does every few seconds. Run
// must not be under way: one goroutine writes.
func (x *Indexer) AdvanceFloor(now time.Time) error { return x.advanceFloor(now) }

// LookAtFloorEvery makes Run look at the history window more often.
func (x *Indexer) LookAtFloorEvery(d time.Duration) { x.floorEvery = d }
