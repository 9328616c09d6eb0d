// Package feed tells what changed: the net changes of assignments in the order of
// the stream, what differs between two sequences, and the history of one
// assignment.
//
// Everything comes from the change log, which names each assignment that an event
// changed, and from the rows before and after, which the index still holds inside
// the history window. A filter is asked about the row before and the row after: a
// row that leaves a filter is revoked there, one that enters it is upserted.
//
// It refuses to guess: a position below the floor is listing.ErrPruned, also when
// the floor passes it during the read. It keeps nothing between calls; a position
// is all there is to go on from, also in the middle of a cascade.
//
// Concurrency: functions hold no state.
package feed
