// Package store keeps the index in Badger, in managed mode: the commit timestamp
// of what an event wrote is the event's stream sequence, so a read at a sequence
// sees the index exactly as it was when that event had been applied.
//
// It owns the directory (one process at a time), the format marker, the
// watermark, the floor, the timeline, the counters, and the undoing at open of what a crash left
// above the watermark. Nothing else imports Badger.
//
// It refuses a directory of another format or another fold (ErrFormat), one with a
// damaged file (ErrDamaged), one that an import did not finish (ErrUnfinished), reads
// above the watermark (ErrAhead) and reads below the floor (ErrPruned), which
// Badger would answer with missing rows and no error.
//
// When the stream turns out to have lost what was applied, UndoTo makes the index
// what it was at an earlier sequence. Its beginning is marked durably, so that Open
// completes what a crash cut short, and from it on views of before fail their Check.
//
// Pin keeps the floor from passing a sequence. Export visits all versions that a reader
// can see from the floor to the watermark, under such a pin, and Import makes an index
// of them in another directory. Until that is durable the directory holds a file
// RESTORING and no marker, and Open refuses it (ErrUnfinished).
//
// What the store writes for itself lies at one constant timestamp, where a
// rewrite replaces: such rows have no snapshots and are read together with the
// watermark only. Under the tag 'm' these are "watermark", "floor", "counting"
// (how the counters came about), "undoing" (where an undo that has begun leads to),
// "timeline/" with the last sequence of a batch,
// eight bytes, big endian: a rung (see Rung), which tells the times of the batch's
// messages and the fingerprint of its last one, and "filler", which Reclaim writes
// and deletes. The timeline maps an instant to a sequence exactly (SequenceAt) from
// the floor on. The marks of Reclaim, tombstones in every family, lie at that
// timestamp too.
//
// A batch can read back what it wrote, except the family by application and
// entitlement, which no rule of the fold reads.
//
// A Builder makes a new index all at once and faster, from the same fold, with the
// format that Open expects: package spill collects and sorts, and what is left goes into
// tables of Badger's last level. Nobody else writes a directory without Badger.
//
// A commit or an undo that fails leaves the store readable at the watermark that it
// tells, but for the counters, which are refused from then on. It must be closed; the
// next Open finds what was done.
//
// Concurrency: one goroutine fills batches, and one commits them and advances the
// floor; they may be two. Reclaim runs beside them. Everything else may be called from any goroutine. The store starts no goroutine of its own;
// Badger's end with Close.
package store
