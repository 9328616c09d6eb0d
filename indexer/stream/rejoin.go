package stream

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/position"
)

// Rejoin finds where an index can go on to read after Read has ended with a Parting.
//
// When the stream is the index's after all, that is at. Otherwise it is the highest
// message that the index has a rung of, at the floor or above it, and that the stream
// holds as well: what follows there is to be undone and read again. The position has
// the stream's identity then, with an incarnation that the index never had.
//
// Messages in common are what proves a common past, so an index that has applied
// any does not go back to sequence 0 for a stream that was created at another time,
// or that is empty: it may be a wrong one, and all that is left may be in the index.
// Otherwise 0 counts when the floor is 0 and the stream begins at 1.
//
// Without such a place the error is a Parting, and Head tells of it until the next
// call; other errors pass. No Read may be under way.
func (r *Reader) Rejoin(ctx context.Context, at position.Position, floor uint64, older Ladder) (position.Position, error) {
	info, err := r.checked(ctx, at, older)
	parting, ok := errors.AsType[*Parting](err)
	if !ok {
		if err == nil {
			r.setParted(nil)
		}
		return at, err
	}
	if info != nil && parting.Kind != OtherName && parting.Kind != Trimmed {
		to, found, err := r.ancestor(ctx, info, at, floor, older)
		if err != nil {
			return at, err
		}
		if found {
			to.Stream = identityOf(info, at.Stream.Partings+1)
			r.beginAgain(info, to.Seq)
			return to, nil
		}
	}
	r.setParted(parting)
	return at, parting
}

// checked looks at the stream and compares it with what the index remembers. A
// replicated stream is another one only when it is found so several times on end: what
// one look has found may be the word of a leader that was replaced.
func (r *Reader) checked(ctx context.Context, at position.Position, older Ladder) (*jetstream.StreamInfo, error) {
	for look := 1; ; look++ {
		info, err := r.infoFor(ctx, at)
		if err == nil {
			err = r.check(ctx, info, at, older)
		}
		if _, parted := errors.AsType[*Parting](err); !parted || info == nil || !replicated(info) || look == looks {
			return info, err
		}
		select {
		case <-ctx.Done():
			return info, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// ancestor finds the highest rung whose message the stream holds, by halves: the
// messages above a parting differ or are gone, and those below agree.
func (r *Reader) ancestor(
	ctx context.Context, info *jetstream.StreamInfo, at position.Position, floor uint64, older Ladder,
) (found position.Position, ok bool, err error) {
	low, high := max(floor, info.State.FirstSeq, 1), min(at.Seq, info.State.LastSeq)
	for low <= high {
		middle := low + (high-low)/2
		rung, m, err := r.heldBelow(ctx, low, middle, older)
		switch {
		case err != nil:
			return found, false, err
		case m == nil:
			low = middle + 1 // nothing there can be compared
		case m.is(rung):
			found = position.Position{Seq: rung.Seq, Nano: m.Time.UnixNano(), Peak: rung.Peak, Fingerprint: rung.Fingerprint}
			ok, low = true, middle+1
		default:
			high = rung.Seq - 1
		}
	}
	if ok {
		// The halves are right only if what is below agrees, too.
		rung, m, err := r.heldBelow(ctx, max(floor, info.State.FirstSeq, 1), found.Seq-1, older)
		if err != nil || (m != nil && !m.is(rung)) {
			return found, false, err
		}
		return found, true, nil
	}
	same := info.Created.Equal(at.Stream.Created) && info.State.Msgs > 0
	return position.Position{}, floor == 0 && info.State.FirstSeq <= 1 && (at.Seq == 0 || same), nil
}

// heldBelow gives the highest rung from low to high whose message the stream holds,
// with that message, nil when there is none.
func (r *Reader) heldBelow(ctx context.Context, low, high uint64, older Ladder) (Rung, *Message, error) {
	for rung, ok, err := older.below(high + 1); ; rung, ok, err = older.below(rung.Seq) {
		if err != nil || !ok || rung.Seq < low {
			return Rung{}, nil, err
		}
		if len(rung.Fingerprint) == 0 {
			continue
		}
		m, err := r.message(ctx, rung.Seq)
		if err == nil {
			return rung, m, nil
		}
		if !errors.Is(err, errNoMessage) {
			return Rung{}, nil, err
		}
	}
}

// setParted notes whether the stream is one that cannot be read on.
func (r *Reader) setParted(p *Parting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p != nil {
		r.created = time.Time{} // nobody is told of the end of another stream
		if before := r.head.Parted; before != nil {
			p.Since = before.Since
		}
	}
	r.head.Parted = p
}

// beginAgain forgets what was known of the end of the stream before the index went
// back to a sequence.
func (r *Reader) beginAgain(info *jetstream.StreamInfo, seq uint64) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.created = time.Time{}
	r.head = Head{Seq: info.State.LastSeq, Seen: now, Moved: now, Prev: seq}
}
