package query

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/assigndex/assigndex/indexer/feed"
)

// Position is a place in the order of changes: behind all of a sequence, or inside
// it, behind its first N changes.
type Position struct {
	Seq uint64
	N   uint32 // 0: behind all of Seq
}

// String gives the text of a position: SEQ, or SEQ.N inside a sequence.
func (p Position) String() string {
	text := strconv.FormatUint(p.Seq, 10)
	if p.N > 0 {
		text += "." + strconv.FormatUint(uint64(p.N), 10)
	}
	return text
}

// ParsePosition reads what String gives. It reports false for anything else.
func ParsePosition(text string) (p Position, ok bool) {
	seq, inside, divided := strings.Cut(text, ".")
	var err error
	if p.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return Position{}, false
	}
	if divided {
		n, err := strconv.ParseUint(inside, 10, 32)
		if err != nil || n == 0 || p.Seq == 0 { // behind none of it is behind the sequence before
			return Position{}, false
		}
		p.N = uint32(n)
	}
	return p, true
}

// positionOf gives the position of a place in the log, which is above 0.
func positionOf(p feed.Place) Position {
	if p.N == 0 {
		return Position{Seq: p.Seq - 1}
	}
	return Position{p.Seq, p.N}
}

// place gives the place in the log of a position that is not above what is applied.
func (p Position) place() feed.Place {
	if p.N == 0 {
		return feed.After(p.Seq)
	}
	return feed.Place{Seq: p.Seq, N: p.N}
}

// read is the lowest sequence that reading on from the position needs.
func (p Position) read() uint64 {
	if p.N == 0 {
		return p.Seq
	}
	return p.Seq - 1
}

// readable checks that changes can be told from the position on.
func (p Position) readable(floor, applied uint64) error {
	if p.Seq > applied {
		return &Error{BeyondEnd, "", fmt.Sprintf(
			"the position is in or behind sequence %d, and the last one that is applied is %d; to wait for a position of another replica, "+
				"send its sequence as at_least", p.Seq, applied)}
	}
	if seq := p.read(); seq < floor {
		return pruned(seq, floor)
	}
	return nil
}
