package spill

import "math/bits"

// filter tells of a hash that it was never added, or that it may have been. All bits
// of a hash lie in one line of 64 bytes.
type filter struct {
	words []uint64
	mask  uint32 // number of lines - 1
}

const (
	lineWords  = 8
	filterBits = 6 // bits set for each hash
	// bitsPerKey gives about one wrong answer in a hundred.
	bitsPerKey = 12
)

// newFilter makes a filter of at least so many lines.
func newFilter(lines int) *filter {
	n := 1 << bits.Len(uint(max(lines, 1)-1))
	return &filter{words: make([]uint64, n*lineWords), mask: uint32(n - 1)} //nolint:gosec // memory bounds it
}

// filterFor makes a filter for so many keys.
func filterFor(keys int) *filter { return newFilter(keys * bitsPerKey / (64 * lineWords)) }

func (f *filter) line(h uint64) []uint64 {
	at := (uint32(h>>32) & f.mask) * lineWords
	return f.words[at : at+lineWords : at+lineWords]
}

func (f *filter) add(h uint64) {
	line := f.line(h)
	bit, step := uint32(h), uint32(h>>16)|1 //nolint:gosec // parts of it
	for range filterBits {
		line[bit>>6&(lineWords-1)] |= 1 << (bit & 63)
		bit += step
	}
}

func (f *filter) has(h uint64) bool {
	line := f.line(h)
	bit, step := uint32(h), uint32(h>>16)|1 //nolint:gosec // parts of it
	for range filterBits {
		if line[bit>>6&(lineWords-1)]&(1<<(bit&63)) == 0 {
			return false
		}
		bit += step
	}
	return true
}

// halve makes the filter half as large, and wrong more often.
func (f *filter) halve() {
	if f.mask == 0 {
		return
	}
	half := len(f.words) / 2
	small := make([]uint64, half)
	for i := range small {
		small[i] = f.words[i] | f.words[i+half]
	}
	f.words, f.mask = small, f.mask>>1
}

func (f *filter) bytes() int { return len(f.words) * 8 }
