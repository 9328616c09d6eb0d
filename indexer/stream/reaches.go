package stream

import (
	"context"
	"time"

	"github.com/assigndex/assigndex/indexer/position"
)

// Reaches checks that an index at a position could read on: that the stream is the one
// of the position, holds what comes after it, and, if it still holds the message there,
// the same one. A *Parting says that it is not so; other errors pass.
func (r *Reader) Reaches(ctx context.Context, at position.Position) error {
	info, err := r.infoFor(ctx, at)
	if err != nil {
		return err
	}
	return r.check(ctx, info, at, nil)
}

// Bounds asks for the stream's first and last sequence and for when it was created. Of
// an empty stream first is last+1.
func (r *Reader) Bounds(ctx context.Context) (created time.Time, first, last uint64, err error) {
	info, err := r.info(ctx)
	if err != nil {
		return created, 0, 0, err
	}
	return info.Created.UTC(), max(info.State.FirstSeq, 1), info.State.LastSeq, nil
}
