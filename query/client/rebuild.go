package client

import (
	"context"

	"github.com/go-json-experiment/json"
)

// RebuildRequest says how to rebuild. It needs a key of an admin for all tenants.
type RebuildRequest struct {
	RequireEqual bool `json:"require_equal,omitzero"` // keep the index when the fresh one differs, or cannot be compared

	// Progress is told how far the server is; nil: nobody is.
	Progress func(step string, done, of int64) `json:"-"`
}

// Rebuilt is what a rebuild did.
type Rebuilt struct {
	Seq         uint64  `json:"seq"`    // at which the two indexes were compared
	Stream      string  `json:"stream"` // its incarnation
	Assignments int     `json:"assignments"`
	Digest      string  `json:"digest"`  // of the fresh index at Seq
	Checks      []Check `json:"checks"`  // of the index before
	Swapped     bool    `json:"swapped"` // the fresh index serves now
	From        uint64  `json:"from"`    // the sequence of the snapshot that was begun with; 0: none was
	Built       uint64  `json:"built"`   // the sequence that the build reached, before it followed
	Seconds     float64 `json:"seconds"` // that the build took
}

// Rebuild asks the server to make its index again from the stream, and waits for that,
// however long it takes. When the context ends before the swap, so does the rebuild.
func (c *Client) Rebuild(ctx context.Context, r RebuildRequest) (*Rebuilt, error) {
	body, err := json.Marshal(&r)
	if err != nil {
		return nil, err
	}
	result := new(Rebuilt)
	return result, c.long(ctx, c.rebuild, body, r.Progress, result)
}

// BuildUntilRequest says up to where an index is built.
type BuildUntilRequest struct {
	Until string `json:"until"` // a sequence, or an instant (RFC 3339)

	// Progress is told how far the server is; nil: nobody is.
	Progress func(step string, done, of int64) `json:"-"`
}

// BuiltUntil tells of an index as it was.
type BuiltUntil struct {
	Seq         uint64  `json:"seq"`
	Stream      string  `json:"stream"` // its incarnation
	Assignments int     `json:"assignments"`
	Digest      string  `json:"digest"`
	Dir         string  `json:"dir"` // the data directory that holds it, where the server runs
	Seconds     float64 `json:"seconds"`
}

// BuildUntil asks the server to build an index as it was, in a data directory of its
// own. The index that it serves stays.
func (c *Client) BuildUntil(ctx context.Context, r BuildUntilRequest) (*BuiltUntil, error) {
	body, err := json.Marshal(&r)
	if err != nil {
		return nil, err
	}
	result := new(BuiltUntil)
	return result, c.long(ctx, c.rebuild, body, r.Progress, result)
}
