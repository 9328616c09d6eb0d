package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Head is what is known of the stream's end.
type Head struct {
	Seq   uint64    // the highest sequence that the stream was seen to hold
	Seen  time.Time // when the stream was last heard of; zero: never
	Moved time.Time // when Seq last grew
	Prev  uint64    // what Seq was before that

	// Asked is when the server was last asked for the stream's end, by this machine's
	// clock: every message that was stored before has a sequence up to Seq. Until is
	// the same by the server's clock, which stamps messages. Zero: never.
	Asked, Until time.Time

	// Parted is why the stream cannot be read on, as Rejoin found; nil: it can.
	Parted *Parting
}

// Head gives what is known of the stream's end.
func (r *Reader) Head() Head {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

func (r *Reader) sawHead(seq uint64) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head.Seen = now
	if seq > r.head.Seq {
		r.head.Prev, r.head.Seq, r.head.Moved = r.head.Seq, seq, now
	}
}

// sawEnd notes the end of the index's stream as the server told it when it was
// asked.
func (r *Reader) sawEnd(info *jetstream.StreamInfo, asked time.Time) {
	r.sawHead(info.State.LastSeq)
	until := asked // by a server that does not tell its time
	if !info.TimeStamp.IsZero() {
		// The server took the time after it was asked, and after it looked at the stream.
		until = info.TimeStamp.Add(-time.Since(asked))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.created = info.Created
	if asked.After(r.head.Asked) {
		r.head.Asked, r.head.Until = asked, until
	}
}

// Ask makes sure that the stream's end was asked for at since, by this machine's
// clock, or later, and gives what is known of it then. Of requests that come
// together few ask the server: each question serves all that came before it. It
// fails when the server does not answer, and with ErrMismatch when the stream is
// not, or not yet, known to be the one that is read.
func (r *Reader) Ask(ctx context.Context, since time.Time) (Head, error) {
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return Head{}, ctx.Err()
	}
	r.mu.Lock()
	before, created := r.head, r.created
	r.mu.Unlock()
	if !before.Asked.Before(since) {
		return before, nil
	}
	asked := time.Now()
	info, err := r.info(ctx)
	if err != nil {
		return Head{}, err
	}
	if !info.Created.Equal(created) || info.State.LastSeq < before.Seq {
		return Head{}, fmt.Errorf("ask for the end of stream %s: %w", r.stream, ErrMismatch)
	}
	r.sawEnd(info, asked)
	return r.Head(), nil
}
