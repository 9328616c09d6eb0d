package stream

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/position"
)

// Kind says in what way a stream is not the one that an index was built from.
type Kind string

// The kinds of parting. They are labels of a metric, so they never change.
const (
	Missing    Kind = "missing"     // there is no stream of the name
	OtherName  Kind = "other_name"  // the index was built from a stream of another name
	Recreated  Kind = "recreated"   // it was created at another time
	RolledBack Kind = "rolled_back" // it ends before what was applied
	Reused     Kind = "reused"      // a sequence that was applied holds another message
	Trimmed    Kind = "trimmed"     // it begins after the next message
)

// Kinds are all of them.
var Kinds = []Kind{Missing, OtherName, Recreated, RolledBack, Reused, Trimmed}

// Parting is the error of a stream that is not, or no longer, the one that the index
// was built from. It is ErrTrimmed for that kind and ErrMismatch for the others.
type Parting struct {
	Kind    Kind
	Stream  string            // its name
	Index   position.Identity // the stream that the index was built from
	Applied uint64            // the sequence that the index has read up to
	Created time.Time         // of the stream that is there; zero when it is missing
	First   uint64            // its first sequence
	Last    uint64            // its last sequence
	Differs uint64            // the sequence that holds another message; 0 for other kinds than Reused
	Since   time.Time         // when it was noticed
}

func partingOf(kind Kind, info *jetstream.StreamInfo, at position.Position) *Parting {
	return &Parting{
		Kind: kind, Stream: info.Config.Name, Index: at.Stream, Applied: at.Seq, Created: info.Created.UTC(),
		First: info.State.FirstSeq, Last: info.State.LastSeq, Since: time.Now(),
	}
}

// Unwrap makes it ErrTrimmed or ErrMismatch.
func (p *Parting) Unwrap() error {
	if p.Kind == Trimmed {
		return ErrTrimmed
	}
	return ErrMismatch
}

// Error is part of error.
func (p *Parting) Error() string { return p.Unwrap().Error() + ": " + p.What() }

// What says what is wrong with the stream, in one line.
func (p *Parting) What() string {
	switch p.Kind {
	case Missing:
		return fmt.Sprintf("there is no stream %s; the index has applied sequence %d of %s", p.Stream, p.Applied, p.Index.Name)
	case OtherName:
		return fmt.Sprintf("the stream is %s; the index was built from %s", p.Stream, p.Index.Name)
	case Recreated:
		return fmt.Sprintf("stream %s was created %s; the index was built from one created %s",
			p.Stream, p.Created.Format(time.RFC3339Nano), p.Index.Created.Format(time.RFC3339Nano))
	case RolledBack:
		return fmt.Sprintf("stream %s ends at sequence %d, the index has applied %d; messages were lost after they were read", p.Stream, p.Last, p.Applied)
	case Reused:
		return fmt.Sprintf("sequence %d of stream %s holds another message than the index has applied; "+
			"messages were lost and their sequences given to new ones", p.Differs, p.Stream)
	default:
		return fmt.Sprintf("stream %s begins at sequence %d, the index has applied %d; what is between was purged before it was read",
			p.Stream, p.First, p.Applied)
	}
}

// Remedy says what an operator can do when the index cannot go on by itself.
func (p *Parting) Remedy() string {
	const rebuild = "stop the server and have the index built from the stream that is there, with rebuild --data-dir"
	switch p.Kind {
	case Missing:
		return "restore the stream, and reading goes on; or " + rebuild
	case OtherName:
		return "name the right stream, or " + rebuild
	case Trimmed:
		return "restore a stream or an index that has what is missing; or " + rebuild + ", which begins with the newest snapshot that suits; " +
			"or, if what is missing may be lost, the same with --accept-trimmed-stream"
	default:
		return "restore the stream, or point the server at the right one, and reading goes on; or " + rebuild
	}
}

// Rung is what an index has kept of a message that it applied.
type Rung struct {
	Seq         uint64
	Peak        int64  // the highest time of any message up to Seq, Unix nanoseconds
	Fingerprint []byte // empty for a message that was erased before it was read
}

// Ladder gives the highest rung at or below a sequence, and false when there is
// none. Its errors are faults of the index' own storage and end what asks. nil is a
// ladder without rungs.
type Ladder func(seq uint64) (Rung, bool, error)

// below gives the highest rung below a sequence.
func (l Ladder) below(seq uint64) (Rung, bool, error) {
	if l == nil || seq == 0 {
		return Rung{}, false, nil
	}
	r, ok, err := l(seq - 1)
	if err != nil {
		return r, false, fmt.Errorf("%w: %w", ErrLadder, err)
	}
	return r, ok, nil
}
