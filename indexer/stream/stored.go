package stream

import (
	"context"
	"errors"
)

// ErrNoMessage is returned by Stored for a sequence that the stream does not hold, or
// not any more.
var ErrNoMessage = errors.New("the stream does not hold this sequence")

// Stored gives the message at a sequence as the stream holds it now. Whether that
// is the message that the index has read there, the caller finds out: a recreated
// stream gives sequences anew.
func (r *Reader) Stored(ctx context.Context, seq uint64) (*Message, error) {
	m, err := r.message(ctx, seq)
	if errors.Is(err, errNoMessage) {
		return nil, ErrNoMessage
	}
	return m, err
}
