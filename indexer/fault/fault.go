// Package fault is the seam at which tests make the index fail: the one list of the
// steps that can, and the hook that is called around each.
//
// It owns names and no behaviour. In production every hook is nil, and a step is
// just done. It refuses to know what a step does, or what must hold when it fails:
// that is for the tests of who does it.
//
// Concurrency: a Hook is called from every goroutine that does a step.
//
// The tests that go through the points are indexer's TestFaults (each step fails, not
// done and done all the same), TestKillAtPoints (each is killed with SIGKILL) and
// TestKill (at random moments), and the store's TestUndoToFails and TestUndoToKilled.
// Those of snapshots are in snapshot's TestFaults and the command's TestKillSnapshots.
// They are short by default. The long lane:
//
//	go test ./indexer -run 'TestKillAtPoints|TestKill$' -pointkills 10 -kills 300 -timeout 60m
package fault

// Point is a step that a test can make fail. Each is durable as a whole, or a run
// of writes whose repetition changes nothing.
type Point string

// The points, in the order in which an event comes by them.
const (
	Fetch  Point = "fetch"  // a message is taken from the stream and passed on
	Decode Point = "decode" // it is decoded and waits to be folded
	Fold   Point = "fold"   // its writes are in a batch

	Flush     Point = "flush"     // the writes of a batch are durable
	Watermark Point = "watermark" // so is the watermark, with counters and timeline
	Wide      Point = "wide"      // the counters of a batch that touches very many
	Count     Point = "count"     // all counters are counted anew

	Floor          Point = "floor"           // the floor is durable, and what instants below it needed is gone
	Prune          Point = "prune"           // a part of the change log below the floor is gone
	ReclaimMark    Point = "reclaim mark"    // some of the marks are in the tables
	ReclaimTurn    Point = "reclaim turn"    // what was in memory is in tables
	ReclaimCompact Point = "reclaim compact" // all levels are one

	Open     Point = "open"      // the directory is open
	OpenUndo Point = "open undo" // what a crash left above the watermark is written over

	UndoBegin    Point = "undo begin"    // the mark that an undo was begun
	UndoVersions Point = "undo versions" // what was written above the sequence is written over
	UndoTimeline Point = "undo timeline" // the rungs above the sequence are gone
	UndoCount    Point = "undo count"    // the counters are counted anew
	UndoEnd      Point = "undo end"      // the watermark is durable, and the mark is gone

	SnapshotWrite  Point = "snapshot write"  // a block of a snapshot is written
	RestoreBegin   Point = "restore begin"   // the directory is marked as one that is being restored
	RestoreWrite   Point = "restore write"   // a part of the entries is in tables
	RestoreTables  Point = "restore tables"  // so are all, and the snapshot was found whole
	RestoreBind    Point = "restore bind"    // the stream that the index goes on with is there
	RestoreSettle  Point = "restore settle"  // watermark and floor are in the index
	RestoreSync    Point = "restore sync"    // all files are durable
	RestoreFinish  Point = "restore finish"  // the directory is an index
	RestoreUnmark  Point = "restore unmark"  // the mark of its restoring is gone
	RestoreClaim   Point = "restore claim"   // the data directory is marked as one that is being restored
	RestoreRelease Point = "restore release" // the mark of that is gone

	BuildRun      Point = "build run"      // a part of what a fresh index holds is in a sorted file
	BuildMerge    Point = "build merge"    // several such files are one
	BuildTables   Point = "build tables"   // its tables are durable
	BuildManifest Point = "build manifest" // so is the list of them
	BuildMark     Point = "build mark"     // and the marker, which makes it an index

	Swap  Point = "swap"  // another generation of the index is the current one
	Sweep Point = "sweep" // one that is not current is gone
)

// Undo are the points of an undo to a sequence.
var Undo = []Point{UndoBegin, UndoVersions, UndoTimeline, UndoCount, UndoEnd}

// Snapshots are the points of writing a snapshot and of restoring from one.
// The second and the third are the command's, which restores a whole data directory.
var Snapshots = append([]Point{SnapshotWrite, RestoreClaim, RestoreRelease}, Restores...)

// Restores are the points of the restore of an index, in order.
var Restores = []Point{RestoreBegin, RestoreWrite, RestoreTables, RestoreBind, RestoreSettle, RestoreSync, RestoreFinish, RestoreUnmark}

// Build are the points of the fast way to a fresh index.
var Build = []Point{BuildRun, BuildMerge, BuildTables, BuildManifest, BuildMark}

// Swaps are the points of putting another generation in the place of the current one.
var Swaps = []Point{Swap, Sweep}

// Points are those of an index at work, for tests that go through each.
var Points = append([]Point{
	Fetch, Decode, Fold, Flush, Watermark, Wide, Count, Floor, Prune, ReclaimMark, ReclaimTurn, ReclaimCompact, Open, OpenUndo,
}, Undo...)

// Hook is called before and after the step of each point. Its error makes the step
// fail: with done false it was not done, with done true it was done all the same.
// A nil Hook does nothing.
type Hook func(at Point, done bool) error

// Step does the step of a point.
func (h Hook) Step(at Point, do func() error) error {
	if h == nil {
		return do()
	}
	if err := h(at, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return h(at, true)
}
