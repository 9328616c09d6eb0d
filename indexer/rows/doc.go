// Package rows is the form in which the index keeps what its keys point at:
// assignments, their faces, entities and quarantined messages.
//
// An assignment is kept once whole, in the family by assignee (Row), and three
// times as its face: the JSON object that a listing prints, ready to be copied
// into an answer. A change that does not show in the face rewrites one key
// instead of four.
//
// The package refuses bytes that it did not write (ErrCorrupt), and does no
// I/O. Every function is pure and may be called from any goroutine. What a
// decoded value holds is shared with the bytes that it was decoded from.
package rows
