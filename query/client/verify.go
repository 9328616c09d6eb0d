package client

import (
	"context"

	"github.com/go-json-experiment/json"
)

// VerifyRequest says what to verify. It needs a key of an admin for all tenants.
type VerifyRequest struct {
	At      *uint64 `json:"at,omitzero"`      // the sequence; nil: the last applied one
	Rebuild bool    `json:"rebuild,omitzero"` // also compare with an index built afresh from the stream

	// Progress is told how far the server is; nil: nobody is.
	Progress func(check string, done, of int64) `json:"-"`
}

// Verification is what a verification found.
type Verification struct {
	Seq         uint64  `json:"seq"`
	Stream      string  `json:"stream"` // its incarnation
	Assignments int     `json:"assignments"`
	Digest      string  `json:"digest"` // empty: the index could not be read
	Checks      []Check `json:"checks"`
	Erased      uint64  `json:"erased,omitzero"` // messages that the stream no longer holds
}

// Check is one check of a verification.
type Check struct {
	Name        string    `json:"name"`
	Skipped     string    `json:"skipped,omitzero"` // why it was not made; empty: it was
	Checked     int64     `json:"checked"`
	Differences int       `json:"differences"`
	Found       []Finding `json:"found"` // the first of the differences
}

// Finding is a difference in words.
type Finding struct {
	Subject string `json:"subject"`
	Problem string `json:"problem"`
}

// Verify asks the server to verify its index and waits for the result, however long
// that takes. Differences are in the result. It is asked once: it costs too much to
// be tried again by itself.
func (c *Client) Verify(ctx context.Context, r VerifyRequest) (*Verification, error) {
	body, err := json.Marshal(&r)
	if err != nil {
		return nil, err
	}
	result := new(Verification)
	return result, c.long(ctx, c.verify, body, r.Progress, result)
}
