package listing

import "errors"

// Errors of the sequence at which a listing reads. The index returns them,
// whatever it keeps its rows in.
var (
	// ErrPruned is returned for a read below the floor, also when the floor
	// overtook the read while it ran.
	ErrPruned = errors.New("below the history window")
	// ErrAhead is returned for a read above the last applied sequence, and for an
	// instant whose sequence depends on what is not known to be applied.
	ErrAhead = errors.New("not yet applied")
	// ErrReplaced is returned when the index was undone, and took a new incarnation,
	// while it was read or waited for.
	ErrReplaced = errors.New("the stream has another incarnation now")
)
