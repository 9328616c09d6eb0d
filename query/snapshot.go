package query

import (
	"context"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
)

// When says in which state a request wants to read.
type When struct {
	AsOf    *AsOf  // the state of then; nil: at the last applied sequence
	AtLeast uint64 // wait until this sequence has been applied
	Stream  string // the incarnation that the caller means; empty: whichever it is
}

// Snapshot chooses the sequence that a request reads at, waiting for it when it
// must. With an error the place is where the index stands, as far as that is known.
// Every error that is the caller's is an *Error.
func (l *Lister) Snapshot(ctx context.Context, w When) (Page, error) {
	page := l.Place()
	if err := page.of(w.Stream); err != nil {
		return page, err
	}
	seq, err := l.reach(ctx, &page, w.AtLeast, w.AsOf)
	if err == nil {
		page.Seq = seq
	}
	return page, err
}

// of checks that the place is in a stream, and in the one that is meant.
func (p Page) of(stream string) error {
	switch {
	case p.Stream == "":
		return &Error{NotReady, "", "the index is not connected to its stream yet"}
	case stream != "" && stream != p.Stream:
		return otherStream("the request is for another incarnation of the stream")
	default:
		return nil
	}
}

// Skip passes over at most limit assignments after a position and tells how far
// it came. Its cost is that of reading them.
func (l *Lister) Skip(ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int) (listing.Page, error) {
	page, err := l.index.List(ctx, seq, sel, after, limit, func(rows.Face) {})
	return page, l.readError(err, seq)
}

// Assignments visits at most limit whole assignments after a position at a
// sequence that Snapshot gave. What was visited before an error must not be
// believed. An error of visit ends it and is returned.
func (l *Lister) Assignments(
	ctx context.Context, seq uint64, sel listing.Selector, after *listing.Position, limit int, visit func(*listing.Assignment) error,
) (listing.Page, error) {
	page, err := l.index.Assignments(ctx, seq, sel, after, limit, visit)
	return page, l.readError(err, seq)
}

// Lookup visits the assignment of an identity at a sequence that Snapshot gave, and
// reports whether there is one.
func (l *Lister) Lookup(seq uint64, tenant string, at listing.Position, visit func(*listing.Assignment) error) (found bool, err error) {
	found, err = l.index.Lookup(seq, tenant, at, visit)
	return found, l.readError(err, seq)
}
