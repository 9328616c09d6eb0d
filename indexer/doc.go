// Package indexer keeps the index up with its stream: it reads, decodes, folds
// and writes events, moves the watermark, and lets readers in at it.
//
// It owns the order of things: an event is visible when its batch and then the
// watermark are durable, never before; a message that is not an event is
// quarantined and the sequence moves on; a fault of our own storage ends Run
// rather than skip an event. A stream that is not what was read is never skipped
// over: the index is undone to what both have in common, or serves its last state.
//
// It refuses to serve requests and to know their form: Index is the read side
// that the query packages are given.
//
// Build makes a fresh index of a stream by the same rules, faster, with nothing to read
// before it is over. A Host keeps one index, a generation, up with the stream and lets
// another one take its place while readers read: who has begun to read in the one
// before ends there, and it is not closed before that.
//
// Concurrency: Run has three goroutines in a row: one reads and decodes, one
// folds into batches, one makes batches durable and moves the watermark. The one
// before it is at most one batch ahead, above the watermark, where nobody reads.
// While the disk has no room (Disk) the second one waits, and readers keep what they have.
// Two more remove what the history window no longer needs, and give its room back.
// Index may be used from any goroutine, before Run as well. Build has three of its own: one
// reads and decodes, its caller's folds, and one sorts and writes what was folded.
package indexer
