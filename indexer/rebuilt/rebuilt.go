// Package rebuilt holds what is asked of a rebuild and what is said of one, for those
// who know neither the store nor the stream. Package rebuild does what is asked.
//
// It owns names and no behaviour but that of naming, and refuses to know how an index
// is built. Values are the caller's.
package rebuilt

import (
	"errors"
	"fmt"
	"time"

	"github.com/assigndex/assigndex/indexer/audit"
)

// Errors of a rebuild, all of which leave the index as it was.
var (
	// ErrRunning is returned while another rebuild is under way.
	ErrRunning = errors.New("a rebuild is under way")
	// ErrCannotBuild is returned when no index can be built: the stream lost its first
	// messages, is not the one of the index, or does not reach the sequence.
	ErrCannotBuild = errors.New("the index cannot be built from the stream")
	// ErrNoRoom is returned when the disk has no room for a second index.
	ErrNoRoom = errors.New("the disk has too little room for a second index")
	// ErrExists is returned for a directory that is to be made and holds something.
	ErrExists = errors.New("the directory is not empty")
)

// Request says what to do.
type Request struct {
	// RequireEqual keeps the index when the fresh one differs, or when they cannot be
	// compared.
	RequireEqual bool
	// Whole refuses to build of a stream that lost its first messages, whatever is accepted
	// otherwise, unless a snapshot makes up for them: for who rebuilds without being asked.
	Whole bool
}

// Report tells what was built, compared and swapped.
type Report struct {
	Seq         uint64 `json:"seq"`         // at which the two were compared
	Stream      string `json:"stream"`      // its incarnation
	Assignments int    `json:"assignments"` // of the fresh index at Seq
	Digest      string `json:"digest"`      // of the fresh index at Seq
	// Checks are of the index before: whether its files are sound, and what differs from
	// the fresh one.
	Checks  []audit.Check `json:"checks"`
	Swapped bool          `json:"swapped"`
	// From is the sequence of the snapshot that was begun with; 0: the stream's beginning.
	From    uint64  `json:"from"`
	Built   uint64  `json:"built"`   // the sequence that the build reached, before it followed
	Seconds float64 `json:"seconds"` // that the build took
}

// Differs reports whether the two indexes were found to differ, or could not be
// compared.
func (r *Report) Differs() bool {
	for _, c := range r.Checks {
		if c.Differences > 0 || c.Skipped != "" {
			return true
		}
	}
	return false
}

// Until says where a build ends.
type Until struct {
	Seq  uint64    // the last sequence that is applied
	Time time.Time // or, when it is not zero: the last sequence before any message with a later time
}

// Name is the name of the data directory that a server makes for it.
func (u Until) Name() string {
	if !u.Time.IsZero() {
		return "until-" + u.Time.UTC().Format("20060102T150405.999999999Z")
	}
	return fmt.Sprintf("until-%d", u.Seq)
}

// UntilReport tells what was built.
type UntilReport struct {
	Seq         uint64  `json:"seq"`
	Stream      string  `json:"stream"` // its incarnation
	Assignments int     `json:"assignments"`
	Digest      string  `json:"digest"`
	Dir         string  `json:"dir"` // the data directory that holds it
	Seconds     float64 `json:"seconds"`
}
