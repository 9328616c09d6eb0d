// Package position holds the type that ties an index to its stream: how far it
// has read, and what it remembers to know the stream again. It has no behaviour.
package position

import "time"

// Position is the place of an index in its stream.
type Position struct {
	Seq         uint64 `json:"seq"`           // the last message read
	Nano        int64  `json:"nano"`          // time of the message at Seq, Unix nanoseconds
	Peak        int64  `json:"peak,omitzero"` // the highest time of any message up to Seq; 0: Nano
	Fingerprint []byte `json:"fingerprint"`   // of the message at Seq; empty at sequence 0 and for an erased message
	// Stream is empty until the index was first connected to one.
	Stream Identity `json:"stream"`
}

// Identity is a stream as an index remembers it.
type Identity struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Incarnation travels with every sequence that leaves the process: a
	// sequence means nothing without its stream.
	Incarnation string `json:"incarnation"`
	// Partings is how often the index was undone because the stream had lost what it
	// had read. Each gives the incarnation another value.
	Partings uint64 `json:"partings,omitzero"`
}
