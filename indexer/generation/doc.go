// Package generation owns which directory of a data directory holds the index: its
// generations lie side by side, and a pointer file names the one that is current.
//
//	index      the first generation, current while there is no pointer
//	index-2    a later one
//	CURRENT    the pointer: the name of the current generation and a newline
//	FROZEN     the index was built up to a sequence and stays there: it is served, and
//	           reads no stream
//
// The pointer is replaced by a rename that is durable before Swap returns, so a crash
// leaves the one or the other. It refuses to name what is not there, and to follow a
// pointer to anything but a generation of its own directory.
//
// It knows nothing of what a generation holds. What is not current is nobody's: left by
// a build or a removal that was cut short, it goes with Sweep.
//
// Concurrency: one process owns a data directory, for which it takes Lock, and one goroutine at a time calls
// Fresh, Swap and Sweep. Current only reads.
package generation
