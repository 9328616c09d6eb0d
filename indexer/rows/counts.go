package rows

import "encoding/binary"

// Level is how sure a score is, in the terms of the statistics.
type Level uint8

// The levels of scores.
const (
	Unscored Level = iota
	Low
	Medium
	High
	levels
)

// Thresholds are the lowest scores of the levels high and medium, 0 to 1. What
// is below both is low.
type Thresholds struct {
	High   float64 `json:"high"`
	Medium float64 `json:"medium"`
}

// DefaultThresholds are those of Autonomous Identity.
var DefaultThresholds = Thresholds{High: 0.75, Medium: 0.35}

// Of gives the level of a face's score.
func (t Thresholds) Of(f Face) Level {
	score, scored := f.Score()
	switch {
	case !scored:
		return Unscored
	case score >= t.High:
		return High
	case score >= t.Medium:
		return Medium
	default:
		return Low
	}
}

// Counts are numbers of assignments by level.
type Counts [levels]int64

// Total is the number of assignments of any level.
func (c Counts) Total() int64 { return c[Unscored] + c[Low] + c[Medium] + c[High] }

// Add adds another count, which may be negative.
func (c *Counts) Add(o Counts) {
	for i, n := range o {
		c[i] += n
	}
}

// Encode gives the stored form.
func (c Counts) Encode() []byte {
	b := make([]byte, 0, 8*levels)
	for _, n := range c {
		b = binary.AppendVarint(b, n)
	}
	return b
}

// DecodeCounts reads what Encode wrote.
func DecodeCounts(b []byte) (Counts, error) {
	var c Counts
	for i := range c {
		n, w := binary.Varint(b)
		if w <= 0 {
			return c, ErrCorrupt
		}
		c[i], b = n, b[w:]
	}
	if len(b) > 0 {
		return c, ErrCorrupt
	}
	return c, nil
}
