package indexer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/stream"
)

// SequenceAt gives the last sequence before any message with a time stamp after an
// instant. Stamps are the stream server's.
//
// An instant before the last message that was applied has one answer for ever. For
// a later one, every message that the stream held at the instant must be applied
// first; while the instant is still to come by the server's clock, every message
// that it held when SequenceAt was called. It waits for that until the context
// ends and then returns listing.ErrAhead, as it does when the stream's end cannot
// be learned. It returns listing.ErrPruned for a sequence below the floor.
func (x *Index) SequenceAt(ctx context.Context, instant time.Time) (seq uint64, err error) {
	called := time.Now()
	seq, latest, err := x.sequenceAt(instant)
	if err != nil || !latest {
		return seq, err
	}
	head, err := x.headAt(ctx, instant, called)
	if err == nil {
		err = x.Wait(ctx, head.Seq)
	}
	if err != nil {
		return 0, fmt.Errorf("the index is not known to have caught up: %w: %w", listing.ErrAhead, err)
	}
	seq, _, err = x.sequenceAt(instant)
	return seq, err
}

func (x *Index) sequenceAt(instant time.Time) (seq uint64, latest bool, err error) {
	s := x.enter()
	defer s.leave()
	return s.store.SequenceAt(nanoOf(instant))
}

// headAt gives the stream's end as it was at an instant or later, or, while the
// instant is still to come, since a request was made.
func (x *Index) headAt(ctx context.Context, instant, since time.Time) (stream.Head, error) {
	end := x.served.Load().end
	if end == nil {
		return stream.Head{}, errNoStream
	}
	if head := end.Head(); head.Until.After(instant) {
		return head, nil
	}
	return end.Ask(ctx, since)
}

var errNoStream = errors.New("the index is not kept up with a stream")

// nanoOf gives Unix nanoseconds, or the nearest instant that has some: they last
// from 1677 to 2262.
func nanoOf(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	default:
		return t.UnixNano()
	}
}
