package audit

import "errors"

// ErrRunning is returned for a verification while another one is under way.
var ErrRunning = errors.New("a verification is under way")

// ErrCannotRebuild is returned when no index can be built afresh to compare with: the
// stream lost its first messages, is another one, or does not reach the sequence.
var ErrCannotRebuild = errors.New("an index to compare with cannot be built from the stream")

// The names of checks, in the order in which they are made.
const (
	CheckFiles    = "files"    // every table file has the checksums that it was written with
	CheckFamilies = "families" // every family of rows says the same, and attributes say what entitlements are
	CheckRecords  = "records"  // entities, guards and what is quarantined can be read
	CheckChanges  = "changes"  // every logged change within the history window is one
	CheckCounters = "counters" // counters are what a count of the rows gives
	CheckDigest   = "digest"   // no check, but a step that takes its time
	CheckBuild    = "build"    // no check, but a step: an index is built afresh
	CheckRebuild  = "rebuild"  // an index built afresh from the stream says the same
)

// Report is what a verification found.
type Report struct {
	Seq         uint64  `json:"seq"`         // that was verified
	Stream      string  `json:"stream"`      // its incarnation
	Assignments int     `json:"assignments"` // of all tenants
	Digest      string  `json:"digest"`      // empty: the index could not be read
	Checks      []Check `json:"checks"`
	// Erased is how many messages up to Seq the stream no longer holds, which an index
	// built afresh cannot know. Only with a rebuild.
	Erased uint64 `json:"erased,omitzero"`
}

// Differs reports whether any check found a difference.
func (r *Report) Differs() bool {
	for _, c := range r.Checks {
		if c.Differences > 0 {
			return true
		}
	}
	return false
}

// Check is one check of a verification.
type Check struct {
	Name        string    `json:"name"`
	Skipped     string    `json:"skipped,omitzero"` // why it was not made; empty: it was
	Checked     int64     `json:"checked"`          // files, keys, changes or counters
	Differences int       `json:"differences"`
	Found       []Finding `json:"found"` // the first of the differences
}

// NewCheck makes a check that found nothing yet.
func NewCheck(name string) Check { return Check{Name: name, Found: []Finding{}} }

// Finding is a difference in words. It holds ids, and never what is said of them:
// that may be secret.
type Finding struct {
	Subject string `json:"subject"` // a file, or a key as Describe tells it
	Problem string `json:"problem"`
}

// Find counts a difference, and keeps it while there are fewer than limit.
func (c *Check) Find(limit int, subject, problem string) {
	c.Differences++
	if len(c.Found) < limit {
		c.Found = append(c.Found, Finding{subject, problem})
	}
}

// Progress is how far a verification is. What is done is not more than Of, which is
// an estimate where keys are counted.
type Progress struct {
	Check string `json:"check"`
	Done  int64  `json:"done"` // bytes of files, keys, or sequences of a rebuild
	Of    int64  `json:"of"`
}
