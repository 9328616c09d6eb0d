package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// DefaultLimit is how many differences of each check a report names.
const DefaultLimit = 10

// Options of a Verifier.
type Options struct {
	// Stream opens the index's stream for each index that is built afresh; nil: none can
	// be. What it gives is closed when the index has been built.
	Stream func(ctx context.Context) (Stream, error)
	// WorkDir is where the index to compare with is built, in a directory that is
	// removed again. It needs as much room as the live rows take.
	WorkDir string
	Limit   int            // of the differences of each check that are named; 0: DefaultLimit
	Logger  zerolog.Logger // of the index that is built
}

// Verifier verifies one index.
type Verifier struct {
	hold Hold
	opts Options
	busy sync.Mutex // held by Verify
}

// Hold gives the store to verify, which stays open until release is called.
type Hold func() (st *store.Store, release func())

// Only holds one store, which its owner keeps open.
func Only(st *store.Store) Hold { return func() (*store.Store, func()) { return st, func() {} } }

// New makes a verifier.
func New(hold Hold, o Options) *Verifier {
	if o.Limit <= 0 {
		o.Limit = DefaultLimit
	}
	return &Verifier{hold: hold, opts: o}
}

// Verify verifies the index at a sequence, nil for the last applied one, and tells
// what it found, which is not an error. progress is called from one goroutine at a
// time, often.
//
// The error wraps listing.ErrPruned when the history window has passed the sequence,
// before or meanwhile, listing.ErrAhead above what is applied, audit.ErrCannotRebuild
// when an index to compare with cannot be built, audit.ErrRunning, or the context's error.
func (v *Verifier) Verify(ctx context.Context, at *uint64, rebuild bool, progress func(audit.Progress)) (*audit.Report, error) {
	if !v.busy.TryLock() {
		return nil, audit.ErrRunning
	}
	defer v.busy.Unlock()
	if rebuild && v.opts.Stream == nil {
		return nil, fmt.Errorf("%w: there is no stream", audit.ErrCannotRebuild)
	}
	st, release := v.hold()
	defer release()
	if rebuild && st.Applied().Stream.Name == "" {
		return nil, fmt.Errorf("%w: the index never had a stream", audit.ErrCannotRebuild)
	}
	r := run{ctx: ctx, Verifier: v, store: st, progress: progress, report: &audit.Report{Checks: []audit.Check{}}}
	if err := r.verify(at, rebuild); err != nil {
		if errors.Is(err, listing.ErrPruned) {
			err = fmt.Errorf("the history window has passed what is verified: try again, at a later sequence or with a longer --history: %w", err)
		}
		return nil, err
	}
	return r.report, nil
}

// run is one call of Verify.
type run struct {
	*Verifier
	store    *store.Store
	ctx      context.Context //nolint:containedctx // of one call
	progress func(audit.Progress)
	report   *audit.Report
}

func (r *run) verify(at *uint64, rebuild bool) error {
	// Counters hold the present only, so they say which sequence that is.
	counted, err := r.store.Counted()
	if err != nil {
		return err
	}
	seq := counted.At.Seq
	if at != nil && *at != seq {
		seq, counted = *at, nil
	}
	r.report.Seq, r.report.Stream = seq, r.store.Applied().Stream.Incarnation
	view, err := r.store.View(seq)
	if err != nil {
		return err
	}
	defer view.Close()
	sound, err := r.files()
	if err != nil {
		return err
	}
	if !sound {
		r.skip("a file of the index is damaged", audit.CheckFamilies, audit.CheckRecords, audit.CheckChanges, audit.CheckCounters)
		if rebuild {
			r.skip("a file of the index is damaged", audit.CheckRebuild)
		}
		return nil
	}
	src := NewSource(r.ctx, view, r.store.Keys(), r.tell)
	for _, check := range []func(*Source) error{r.families, r.records, r.changes} {
		if err := check(src); err != nil {
			return err
		}
	}
	if counted == nil {
		r.skip("counters are of the last applied sequence", audit.CheckCounters)
	} else if err := r.counters(src, counted); err != nil {
		return err
	}
	if err := r.digest(src); err != nil {
		return err
	}
	if rebuild {
		return r.rebuild(src)
	}
	return nil
}

func (r *run) skip(why string, names ...string) {
	for _, name := range names {
		check := audit.NewCheck(name)
		check.Skipped = why
		r.report.Checks = append(r.report.Checks, check)
	}
}

// files checks the files, and reports whether all are sound. What is still in memory
// only has a log of its own.
func (r *run) files() (sound bool, err error) {
	check := audit.NewCheck(audit.CheckFiles)
	r.tell(audit.Progress{Check: audit.CheckFiles})
	files, damaged, err := r.store.CheckFiles(r.ctx, func(done, of int64) {
		r.tell(audit.Progress{Check: audit.CheckFiles, Done: done, Of: of})
	})
	if err != nil {
		return false, fmt.Errorf("check the files: %w", err)
	}
	check.Checked = int64(files)
	for _, d := range damaged {
		check.Find(r.opts.Limit, d.File, d.Problem)
	}
	r.report.Checks = append(r.report.Checks, check)
	return len(damaged) == 0, nil
}

func (r *run) families(src *Source) error {
	return r.check(src, audit.CheckFamilies, func() (audit.Check, error) { return audit.Families(src, r.opts.Limit) })
}

func (r *run) records(src *Source) error {
	return r.check(src, audit.CheckRecords, func() (audit.Check, error) { return audit.Records(src, r.opts.Limit) })
}

func (r *run) changes(src *Source) error {
	return r.check(src, audit.CheckChanges, func() (audit.Check, error) { return audit.Changes(src, r.opts.Limit) })
}

func (r *run) counters(src *Source, counted *store.Counted) error {
	return r.check(src, audit.CheckCounters, func() (audit.Check, error) {
		check := audit.NewCheck(audit.CheckCounters)
		check.Checked = int64(counted.Len())
		err := counted.Compare(src, func(key, stored []byte, rowsAre rows.Counts) {
			check.Find(r.opts.Limit, audit.Describe(key), fmt.Sprintf("is %s, the rows are %s", countsText(stored), levelsText(rowsAre)))
		})
		return check, err
	})
}

// countsText tells of a stored counter.
func countsText(stored []byte) string {
	if stored == nil {
		return "not there"
	}
	counts, err := rows.DecodeCounts(stored)
	if err != nil {
		return "not a counter"
	}
	return levelsText(counts)
}

func levelsText(c rows.Counts) string {
	return fmt.Sprintf("%d (high %d, medium %d, low %d, not scored %d)", c.Total(), c[rows.High], c[rows.Medium], c[rows.Low], c[rows.Unscored])
}

func (r *run) digest(src *Source) error {
	src.Begin(audit.CheckDigest)
	digest, assignments, err := audit.Digest(src)
	if err == nil {
		err = src.Check()
	}
	r.report.Digest, r.report.Assignments = digest, assignments
	return err
}

// check makes one check and makes sure that what it read was all there.
func (r *run) check(src *Source, name string, look func() (audit.Check, error)) error {
	src.Begin(name)
	check, err := look()
	if err == nil {
		err = src.Check()
	}
	if err != nil {
		return fmt.Errorf("check %s at sequence %d: %w", name, r.report.Seq, err)
	}
	r.report.Checks = append(r.report.Checks, check)
	return nil
}

func (r *run) tell(p audit.Progress) {
	if r.progress != nil {
		p.Of = max(p.Of, p.Done)
		r.progress(p)
	}
}
