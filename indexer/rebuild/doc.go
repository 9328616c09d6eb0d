// Package rebuild makes an index again from its stream, beside the one that is served,
// compares the two at one sequence, and swaps them.
//
// It owns the order of the steps, and that each of them can be the last one:
//
//	build     a fresh index, up to the stream's end, in a generation of its own
//	follow    it is kept up with the stream beside the one that is served, or of a
//	          stopped server that step is left out
//	compare   both are read at one sequence that both hold; what differs is reported
//	swap      the pointer names the new one; from then on it is the index
//	remove    readers have moved over, and the one before goes
//
// Whatever ends a rebuild before the swap leaves the index as it was; what was built
// goes when the next one begins, or at the next start. A rebuild that is repeated
// starts over.
//
// It refuses to swap an index in that is behind what readers were given, or of another
// incarnation of the stream. A difference is reported and no reason to refuse, unless
// that is asked for: the fresh index is what the stream says.
//
// Concurrency: a Rebuilder runs one rebuild at a time, ErrRunning otherwise. Memory is
// that of a build and of a second store, whatever the length of the stream.
package rebuild
