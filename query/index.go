package query

import (
	"context"
	"time"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// Index is what is read. It may be used from any goroutine.
type Index interface {
	// Applied gives the last applied sequence and the incarnation of its stream,
	// which is empty before the index was first connected to one.
	Applied() (seq uint64, incarnation string)
	// Floor gives the lowest sequence that can be read.
	Floor() uint64
	// Wait returns when seq has been applied, or with the context's error, or with
	// listing.ErrReplaced when the incarnation changed meanwhile.
	Wait(ctx context.Context, seq uint64) error
	// SequenceAt gives the last sequence before any message with a time stamp after
	// an instant. Where that depends on messages that are not applied yet it waits for
	// them, and returns listing.ErrAhead when the context ends before. It returns
	// listing.ErrPruned for a sequence below the floor.
	SequenceAt(ctx context.Context, instant time.Time) (uint64, error)
	// List visits the faces of at most limit assignments at a sequence. It returns
	// listing.ErrPruned below the floor, listing.ErrAhead above what is applied and
	// listing.ErrReplaced when the incarnation changed meanwhile, as do the others that
	// read; what was visited before an error must not be believed.
	List(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int,
		visit func(rows.Face)) (listing.Page, error)
	// Assignments is List with whole assignments. An error of visit ends it and is
	// returned.
	Assignments(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int,
		visit func(*listing.Assignment) error) (listing.Page, error)
	// Lookup visits the assignment of an identity at a sequence, if there is one.
	Lookup(seq uint64, tenant string, at listing.Position, visit func(*listing.Assignment) error) (found bool, err error)
	// Counts gives the number of selected assignments by level at the last applied
	// sequence, which it returns. It reports false for a selection that no counter
	// is kept of.
	Counts(sel listing.Selector) (counts rows.Counts, seq uint64, ok bool, err error)
	Feed
}

// Lag says how far the index is behind its stream.
type Lag struct {
	Applied   uint64
	Head      uint64        // the stream's end as last seen
	Known     bool          // Head was seen at least once
	Sequences uint64        // Head - Applied, or 0
	Age       time.Duration // for how long it has been behind; 0 when it is not
}
