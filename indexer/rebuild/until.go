package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/stream"
)

// BuildUntil builds an index as it was at a sequence or an instant, in a data directory
// of its own, which must be absent or empty. It holds that state and no history before
// it, and is frozen: a server that is started on it serves it and reads no further.
//
// The error wraps ErrExists, ErrCannotBuild, the context's, or that of what failed. It
// leaves nothing behind that could be taken for an index.
func BuildUntil(ctx context.Context, o Options, u Until, dir string, progress func(audit.Progress)) (*UntilReport, error) {
	j := newJob(ctx, o.filled(), Request{}, progress)
	if err := empty(dir); err != nil {
		return nil, err
	}
	if !u.Time.IsZero() {
		seq, err := j.sequenceAt(u.Time)
		if err != nil {
			return nil, err
		}
		u.Seq = seq
	}
	if u.Seq == 0 { // a build would take it for the stream's end
		return nil, fmt.Errorf("%w: up to sequence 0 there is nothing to build", ErrCannotBuild)
	}
	// What a build that was killed has left there is nobody's.
	partial := filepath.Clean(dir) + partialSuffix
	if err := os.RemoveAll(partial); err != nil {
		return nil, err
	}
	report, err := j.until(u, partial)
	if err == nil {
		err = publish(partial, dir)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(partial))
	}
	report.Dir = dir
	return report, nil
}

func (j *job) until(u Until, data string) (*UntilReport, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	dir, err := generation.Current(data)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if _, err := j.fresh(dir, nil, u.Seq, u.Seq); err != nil {
		return nil, err
	}
	st, err := j.Store(dir)
	if err != nil {
		return nil, err
	}
	at := st.Applied()
	if err := errors.Join(j.digest(st, at.Seq), st.Close()); err != nil {
		return nil, err
	}
	if err := generation.Freeze(data, generation.Frozen{Seq: at.Seq, Stream: at.Stream.Incarnation}); err != nil {
		return nil, err
	}
	return &UntilReport{
		Seq: at.Seq, Stream: at.Stream.Incarnation, Assignments: j.report.Assignments, Digest: j.report.Digest,
		Seconds: time.Since(began).Seconds(),
	}, nil
}

// publish gives a directory that is whole its name.
func publish(partial, dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // it was found empty
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// errFound ends the reading of a stream at the message that was looked for.
var errFound = errors.New("found")

// sequenceAt gives the last sequence before any message with a later time, by reading
// the stream: its stamps may go backwards, so that nothing less tells.
func (j *job) sequenceAt(instant time.Time) (seq uint64, err error) {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	source, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	at, err := source.Begin(ctx, true)
	if err != nil {
		return 0, err
	}
	_, _, last, err := source.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	// Without a message of before, nothing tells what the index was then.
	known := false
	if seq = at.Seq; seq < last {
		err = source.Read(ctx, at, nil, func(m *stream.Message) error {
			if m.Erased == 0 && m.Time.After(instant) {
				return errFound
			}
			known = known || m.Erased == 0
			if seq = m.Seq; seq >= last {
				return errFound
			}
			j.tell(audit.Progress{Check: StepFind, Done: int64(m.Seq), Of: int64(last)}) //nolint:gosec // sequences
			return nil
		})
	}
	switch {
	case (err == nil || errors.Is(err, errFound)) && !known:
		return 0, fmt.Errorf("%w: it has no message from %s or before; name a later instant, or a sequence", ErrCannotBuild, instant.Format(time.RFC3339Nano))
	case errors.Is(err, errFound):
		return seq, nil
	}
	return 0, fmt.Errorf("find the sequence of %s: %w", instant.Format(time.RFC3339Nano), err)
}

// BuildUntil builds an index as it was, in the server's own data directory. See the
// function of that name; ErrRunning while a rebuild is under way.
func (r *Rebuilder) BuildUntil(ctx context.Context, u Until, progress func(audit.Progress)) (*UntilReport, error) {
	if !r.busy.TryLock() {
		return nil, ErrRunning
	}
	defer r.busy.Unlock()
	return BuildUntil(ctx, r.opts, u, filepath.Join(r.opts.DataDir, u.Name()), progress)
}

// partialSuffix ends the name of a data directory that is not whole.
const partialSuffix = ".partial"

// Sweep removes what rebuilds that were killed have left in a data directory: every
// generation of the index that is not current, and builds that did not end.
func Sweep(data string) error {
	left, err := filepath.Glob(filepath.Join(data, "until-*"+partialSuffix))
	if err != nil {
		return err
	}
	errs := []error{generation.Sweep(data, nil)}
	for _, path := range left {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
