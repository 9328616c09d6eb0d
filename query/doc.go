// Package query answers requests for pages of assignments: it checks what is
// asked, chooses the snapshot to read at, reads the page, and makes the cursor
// of the next one.
//
// A listing is one snapshot. Its first page reads at the last applied sequence
// (or at as_of, whose instant is mapped to a sequence once), its cursor remembers
// that sequence, and every further page reads there, so rows that come and go
// meanwhile are neither skipped nor repeated. Nothing is kept between pages: a cursor holds all there is to know,
// and any replica of the index can take it.
//
// What changed is asked for by position: Changes reads on from one, in the order of
// the stream, and its page says where to go on. Diff and History read backwards from
// a sequence, as far as the history window reaches, and have cursors as listings do.
//
// It refuses what could list more than was meant (an unknown, repeated, empty
// or contradicting field), a cursor that is damaged, of another query or of
// another tenant, and a sequence that cannot be read. Every refusal is an *Error
// whose Code is stable. How requests travel and who may send them is the business
// of package httpapi; where rows are kept is behind Index.
//
// Concurrency: a Lister may be used from any goroutine and starts none.
// Everything else is a function of its arguments.
package query
