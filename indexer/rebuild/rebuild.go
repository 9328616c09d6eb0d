package rebuild

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/rebuilt"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/verify"
)

// Request says what to do.
type Request = rebuilt.Request

// Report tells what was built, compared and swapped.
type Report = rebuilt.Report

// Until says where a build ends.
type Until = rebuilt.Until

// UntilReport tells what was built up to there.
type UntilReport = rebuilt.UntilReport

// Errors, all of which leave the index as it was.
var (
	ErrRunning     = rebuilt.ErrRunning
	ErrCannotBuild = rebuilt.ErrCannotBuild
	ErrNoRoom      = rebuilt.ErrNoRoom
	ErrExists      = rebuilt.ErrExists
)

// Options of a Rebuilder.
type Options struct {
	// DataDir holds the generations of the index.
	DataDir string
	// Stream opens the index's stream over a connection of its own. name is what the
	// index was built from, empty when that is not known.
	Stream func(ctx context.Context, name string) (verify.Stream, error)
	// Store opens an index in a directory, as the server's settings want it.
	Store func(dir string) (*store.Store, error)
	// Restore makes an index in a directory, which is absent, of the newest snapshot that
	// the stream reaches and that is of no later sequence, for a stream that lost its first
	// messages; nil: there are none.
	Restore func(ctx context.Context, dir string, atMost uint64) (seq uint64, err error)
	// AcceptTrimmed builds of a stream that lost its first messages what the rest says.
	AcceptTrimmed bool
	Thresholds    *rows.Thresholds // of the counters; nil: the default
	Memory        int64            // bytes that a build collects in; 0: store.DefaultBuildMemory
	Disk          indexer.Disk     // nil: nothing is known of the disk
	Limit         int              // of the differences that are named; 0: verify.DefaultLimit
	Logger        zerolog.Logger
	Fault         fault.Hook // nil in production
}

// The steps of a rebuild, as progress names them. The others are package audit's.
const (
	StepFind    = "find" // the sequence of an instant
	StepBuild   = audit.CheckBuild
	StepRestore = "restore" // the snapshot that is begun with
	StepWrite   = "write"   // its tables
	StepFollow  = "follow"
	StepSwap    = "swap"
	StepRemove  = "remove"
)

// Rebuilder rebuilds the index that a host serves.
type Rebuilder struct {
	host *indexer.Host
	opts Options
	busy sync.Mutex // held by Rebuild
}

// New makes a rebuilder.
func New(host *indexer.Host, o Options) *Rebuilder { return &Rebuilder{host: host, opts: o.filled()} }

func (o Options) filled() Options {
	if o.Limit <= 0 {
		o.Limit = verify.DefaultLimit
	}
	return o
}

// Rebuild builds a fresh index, compares it with the one that is served and swaps them.
// progress is called from one goroutine at a time, often.
//
// The error wraps one of this package's, the context's, or that of what failed. With a
// report beside an error the swap was done, and what failed is what came after it.
func (r *Rebuilder) Rebuild(ctx context.Context, req Request, progress func(audit.Progress)) (*Report, error) {
	if !r.busy.TryLock() {
		return nil, ErrRunning
	}
	defer r.busy.Unlock()
	j := newJob(ctx, r.opts, req, progress)
	// What is removed must not be open: who read in it may have outlasted a rebuild that
	// was cut off behind its swap.
	if err := j.during(StepRemove, nil, func() error { return r.host.Settle(ctx) }); err != nil {
		return nil, err
	}
	if err := j.clear(); err != nil {
		return nil, err
	}
	old, release := r.host.Index().Hold()
	defer release()
	if err := j.build(old); err != nil {
		return nil, errors.Join(err, j.clear())
	}
	if err := j.live(r.host, old, release); err != nil {
		if j.report.Swapped {
			return j.report, err
		}
		return nil, errors.Join(err, j.clear())
	}
	return j.report, j.clear()
}

// job is one rebuild.
type job struct {
	Options
	ctx      context.Context //nolint:containedctx // of one call
	req      Request
	progress func(audit.Progress)
	report   *Report
	dir      string // of the fresh index
	name     string // of the stream; empty: not known
	unpin    func() // of the sequence that the fresh index is compared from
}

func (j *job) stream(ctx context.Context) (verify.Stream, error) { return j.Stream(ctx, j.name) }

func newJob(ctx context.Context, o Options, req Request, progress func(audit.Progress)) *job {
	o.AcceptTrimmed = o.AcceptTrimmed && !req.Whole
	return &job{Options: o, ctx: ctx, req: req, progress: progress, report: &Report{Checks: []audit.Check{}}}
}

func (j *job) tell(p audit.Progress) {
	if j.progress != nil {
		p.Of = max(p.Of, p.Done)
		j.progress(p)
	}
}

// duringTells is how often it is told that something is waited for: who asked for a
// rebuild takes a server that says nothing for dead.
const duringTells = time.Second

// during tells progress while it waits for something. at tells how far that is; nil:
// nobody knows.
func (j *job) during(step string, at func() (done, of uint64), wait func() error) error {
	tick := time.NewTicker(duringTells)
	defer tick.Stop()
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
		p := audit.Progress{Check: step}
		if at != nil {
			done, of := at()
			p.Done, p.Of = int64(done), int64(of) //nolint:gosec // sequences
		}
		j.tell(p)
	}
}

// clear removes what others have left: every generation but the current one.
func (j *job) clear() error { return generation.Sweep(j.DataDir, j.Fault) }

// build builds the fresh index, to hold what readers of the old one may ask for. old
// is nil when there is none that can be read.
func (j *job) build(old *store.Store) (err error) {
	if j.dir, err = generation.Fresh(j.DataDir); err != nil {
		return err
	}
	if old != nil {
		if tables, _ := old.Sizes(); j.Disk != nil && !j.Disk.Room(2*tables) {
			return fmt.Errorf("%w: it may take twice as much as the one that is there, %d bytes, while it is made", ErrNoRoom, tables)
		}
		j.name = old.Applied().Stream.Name
	}
	began := time.Now()
	j.report.Built, err = j.fresh(j.dir, old, 0, 0)
	j.report.Seconds = time.Since(began).Seconds()
	return err
}

// live compares the fresh index with the one that a host serves, and swaps them.
// release gives the old one up.
func (j *job) live(host *indexer.Host, old *store.Store, release func()) error {
	next, fresh, err := j.follow(host, old)
	if err != nil {
		return err
	}
	err = j.judge(old, fresh)
	j.unpin()
	if err != nil {
		return errors.Join(err, next.Stop())
	}
	if j.req.RequireEqual && j.report.Differs() {
		return next.Stop()
	}
	j.tell(audit.Progress{Check: StepSwap})
	release() // or the take-over would wait for it
	err = j.during(StepSwap, nil, func() (err error) {
		j.report.Swapped, err = next.TakeOver(j.ctx, j.swap)
		return err
	})
	if errors.Is(err, indexer.ErrOtherStream) {
		err = fmt.Errorf("%w: %w", ErrCannotBuild, err)
	}
	if err != nil {
		return fmt.Errorf("swap the index: %w", err)
	}
	j.tell(audit.Progress{Check: StepRemove})
	return nil
}

// swap makes the fresh index the current one, and tells whether it is.
func (j *job) swap() (done bool, err error) {
	err = generation.Swap(j.DataDir, j.dir, j.Fault)
	if err == nil {
		return true, nil
	}
	now, failed := generation.Current(j.DataDir)
	return failed == nil && now == j.dir, errors.Join(err, failed)
}

// follow opens the fresh index, has the host keep it up with the stream, and returns
// when it has applied what the old one had.
func (j *job) follow(host *indexer.Host, old *store.Store) (*indexer.Successor, *store.Store, error) {
	j.tell(audit.Progress{Check: StepFollow})
	fresh, err := j.Store(j.dir)
	if err != nil {
		return nil, nil, err
	}
	source, err := j.stream(j.ctx)
	if err != nil {
		return nil, nil, errors.Join(err, fresh.Close())
	}
	closeBoth := func() error {
		err := fresh.Close()
		source.Close()
		return err
	}
	at := old.Applied()
	// What the two are compared at may be older than the history window, which the fresh
	// index keeps from now on.
	if j.unpin, err = fresh.Pin(max(fresh.Floor(), min(at.Seq, fresh.Applied().Seq))); err != nil {
		return nil, nil, errors.Join(err, closeBoth())
	}
	next, err := host.Follow(j.ctx, &indexer.Generation{Store: fresh, Stream: source, Close: closeBoth})
	if err != nil {
		return nil, nil, err
	}
	// One of another incarnation may never apply what the other has, and is not swapped in.
	if fresh.Applied().Stream.Incarnation == at.Stream.Incarnation {
		err = j.during(StepFollow, func() (done, of uint64) { return fresh.Applied().Seq, old.Applied().Seq },
			func() error { return next.Wait(j.ctx, at.Seq) })
	}
	if err != nil {
		return nil, nil, errors.Join(err, next.Stop())
	}
	return next, fresh, nil
}

// judge compares the fresh index with the old one, if there is one that was ever tied
// to a stream.
func (j *job) judge(old, fresh *store.Store) error {
	if old == nil || old.Applied().Stream.Name == "" {
		at := fresh.Applied()
		j.report.Seq, j.report.Stream = at.Seq, at.Stream.Incarnation
		return j.digest(fresh, at.Seq)
	}
	if was, is := old.Applied().Stream.Incarnation, fresh.Applied().Stream.Incarnation; was != is {
		j.skip(fmt.Sprintf("the stream does not hold the messages any more that the index has applied: it is of incarnation %s, this one is %s", was, is))
		return j.judge(nil, fresh)
	}
	return j.compare(old, fresh)
}

// compare tells what differs between the index and the fresh one, at the highest
// sequence that both have applied. Only the end of the context is an error: what
// cannot be compared is reported.
func (j *job) compare(old, fresh *store.Store) error {
	sound, err := j.files(old)
	if err != nil {
		return err
	}
	// Not before: reading the files lasts, and the index's floor moves.
	seq := min(old.Applied().Seq, fresh.Applied().Seq)
	j.report.Seq, j.report.Stream = seq, fresh.Applied().Stream.Incarnation
	if begins := fresh.Floor(); seq < begins {
		j.skip(fmt.Sprintf("the fresh index knows nothing before sequence %d, and the index has applied %d", begins, seq))
		j.report.Seq = fresh.Applied().Seq
		return j.digest(fresh, j.report.Seq)
	}
	if !sound {
		j.skip("a file of the index is damaged")
	} else if err := j.rows(old, fresh, seq); err != nil {
		if j.ctx.Err() != nil {
			return j.ctx.Err()
		}
		j.skip(err.Error())
	}
	return j.digest(fresh, seq)
}

func (j *job) skip(why string) {
	check := audit.NewCheck(audit.CheckRebuild)
	check.Skipped = why
	j.report.Checks = append(j.report.Checks, check)
}

// files checks the files of the index, and reports whether all are sound.
func (j *job) files(old *store.Store) (sound bool, err error) {
	check := audit.NewCheck(audit.CheckFiles)
	j.tell(audit.Progress{Check: audit.CheckFiles})
	files, damaged, err := old.CheckFiles(j.ctx, func(done, of int64) {
		j.tell(audit.Progress{Check: audit.CheckFiles, Done: done, Of: of})
	})
	if err != nil {
		return false, fmt.Errorf("check the files of the index: %w", err)
	}
	check.Checked = int64(files)
	for _, d := range damaged {
		check.Find(j.Limit, d.File, d.Problem)
	}
	j.report.Checks = append(j.report.Checks, check)
	return len(damaged) == 0, nil
}

// rows compares what the two say at a sequence, while both go on.
func (j *job) rows(old, fresh *store.Store, seq uint64) error {
	before, closeBefore, err := j.source(old, seq, j.tell)
	if err != nil {
		return err
	}
	defer closeBefore()
	after, closeAfter, err := j.source(fresh, seq, nil)
	if err != nil {
		return err
	}
	defer closeAfter()
	before.Begin(audit.CheckRebuild)
	check, err := audit.Compare(before, after, j.Limit)
	if err = errors.Join(err, before.Check(), after.Check()); err != nil {
		return fmt.Errorf("compare at sequence %d: %w", seq, err)
	}
	j.report.Checks = append(j.report.Checks, check)
	return nil
}

// source reads a store at a sequence, which its floor does not pass meanwhile.
func (j *job) source(st *store.Store, seq uint64, tell func(audit.Progress)) (src *verify.Source, closeAll func(), err error) {
	unpin, err := st.Pin(seq)
	if err != nil {
		return nil, nil, err
	}
	view, err := st.View(seq)
	if err != nil {
		unpin()
		return nil, nil, err
	}
	return verify.NewSource(j.ctx, view, st.Keys(), tell), func() {
		view.Close()
		unpin()
	}, nil
}

func (j *job) digest(fresh *store.Store, seq uint64) error {
	src, closeAll, err := j.source(fresh, seq, j.tell)
	if err != nil {
		return err
	}
	defer closeAll()
	src.Begin(audit.CheckDigest)
	j.report.Digest, j.report.Assignments, err = audit.Digest(src)
	return errors.Join(err, src.Check())
}
