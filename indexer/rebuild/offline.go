package rebuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

// Offline rebuilds the index of a data directory that no server has open. An index that
// cannot be opened, being damaged or of another version, is not compared, which the
// report says; a data directory that has none gets one. progress and errors are as of
// Rebuilder.Rebuild.
func Offline(ctx context.Context, o Options, req Request, progress func(audit.Progress)) (*Report, error) {
	j := newJob(ctx, o.filled(), req, progress)
	if err := refuseFrozen(j.DataDir); err != nil {
		return nil, err
	}
	if err := j.clear(); err != nil {
		return nil, err
	}
	dir, err := generation.Current(j.DataDir)
	if err != nil {
		return nil, err
	}
	old, err := j.openOld(dir)
	if err != nil {
		return nil, err
	}
	err = j.offline(old)
	if old != nil {
		err = errors.Join(err, old.Close())
	}
	if err == nil || !j.report.Swapped { // after a swap that may not be durable the one before stays, too
		err = errors.Join(err, j.clear()) // the fresh one, or the one before
	}
	if err != nil && !j.report.Swapped {
		return nil, err
	}
	return j.report, err
}

// refuseFrozen refuses an index that is to stay as it was: made again to the stream's
// end, it would be served as if it were of then.
func refuseFrozen(data string) error {
	frozen, err := generation.ReadFrozen(data)
	if err != nil || frozen == nil {
		return err
	}
	return fmt.Errorf("%w: %s holds it as it was at sequence %d, and is to stay so; remove the directory and build it again with --until %d",
		ErrCannotBuild, data, frozen.Seq, frozen.Seq)
}

// openOld opens the index that is there; nil: there is none that can be read.
func (j *job) openOld(dir string) (*store.Store, error) {
	st, err := store.Open(store.Options{Dir: dir, StoredThresholds: true, Logger: zerolog.Nop()})
	switch {
	case err == nil:
		return st, nil
	case errors.Is(err, store.ErrDamaged), errors.Is(err, store.ErrFormat):
		j.skip(err.Error())
		return nil, nil //nolint:nilnil // there is none, and the report says why
	}
	return nil, err
}

func (j *job) offline(old *store.Store) error {
	if err := j.build(old); err != nil {
		return err
	}
	fresh, err := j.Store(j.dir)
	if err != nil {
		return err
	}
	var was, is position.Position
	if is = fresh.Applied(); old != nil {
		was = old.Applied()
	}
	switch {
	case was.Stream.Name != "" && !was.Stream.Created.Equal(is.Stream.Created):
		j.skip("the index is of another stream: " + otherStream(old, fresh))
		err = j.judge(nil, fresh)
	case was.Seq > is.Seq:
		err = fmt.Errorf("%w: the stream ends at sequence %d, and the index has applied %d", ErrCannotBuild, is.Seq, was.Seq)
	default:
		err = j.judge(old, fresh)
	}
	if err := errors.Join(err, fresh.Close()); err != nil {
		return err
	}
	if j.req.RequireEqual && j.report.Differs() {
		return nil
	}
	j.tell(audit.Progress{Check: StepSwap})
	j.report.Swapped, err = j.swap()
	return err
}

// otherStream tells two streams apart.
func otherStream(old, fresh *store.Store) string {
	was, is := old.Applied().Stream, fresh.Applied().Stream
	return fmt.Sprintf("%s, created %s; this one is %s, created %s",
		was.Name, was.Created.Format(time.RFC3339Nano), is.Name, is.Created.Format(time.RFC3339Nano))
}

// empty makes sure that a directory is absent or empty.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%w: %s; remove it, or move it away", ErrExists, dir)
	}
	return err
}
