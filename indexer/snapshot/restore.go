package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

// RestoreOptions of a restore.
type RestoreOptions struct {
	// Begin is told the header before anything is written; its error ends the restore.
	// nil: nobody is told.
	Begin func(Header) error
	// Bind is called when the snapshot was read to its end and found whole, with its API
	// keys, and gives the position of the new index in its stream. Its sequence must be
	// the header's. nil: the position is the header's. An error ends the restore.
	Bind func(ctx context.Context, h Header, keys []Key) (position.Position, error)
	// Progress is told, now and then, how many entries and bytes were read.
	Progress func(entries uint64, bytes int64)
	Logger   zerolog.Logger
	// Fault makes steps fail in tests; nil in production.
	Fault fault.Hook
}

// Restore makes an index of a snapshot, in a directory that is absent or empty, or that
// an earlier restore which was cut short has left; what is there then is removed first.
// When it returns without an error the index is durable, and store.Open opens it. After
// an error, and wherever it is killed, the directory is no index: it is empty after an
// error, and after a kill store.Open returns store.ErrUnfinished.
//
// It returns ErrDamaged and ErrVersion, and the errors of the reader, the callbacks and
// the context.
func Restore(ctx context.Context, r io.Reader, dir string, o RestoreOptions) (_ Header, err error) {
	// The header first: what cannot be restored touches nothing.
	run := restoring{ctx: ctx, dir: dir, opts: o}
	defer func() {
		if err != nil && run.into != nil {
			err = errors.Join(err, run.into.Abort())
		}
	}()
	summary, keys, err := read(ctx, r, run.begin, run.entry)
	if err != nil {
		return Header{}, fmt.Errorf("restore: %w", err)
	}
	if err := run.finish(summary, keys); err != nil {
		return Header{}, fmt.Errorf("restore: %w", err)
	}
	return summary.Header, nil
}

// restoring is one call of Restore.
type restoring struct {
	ctx     context.Context //nolint:containedctx // of one call
	dir     string
	opts    RestoreOptions
	into    *store.Import // nil: not yet
	entries uint64
	bytes   int64 // of keys and values
}

func (r *restoring) begin(h Header) error {
	if r.opts.Begin != nil {
		if err := r.opts.Begin(h); err != nil {
			return err
		}
	}
	into, err := store.NewImport(store.Options{Dir: r.dir, Logger: r.opts.Logger, Fault: r.opts.Fault})
	r.into = into
	return err
}

// toldEvery is how many entries are read between two looks at the context.
const toldEvery = 4096

func (r *restoring) entry(v *store.Version) error {
	r.entries++
	r.bytes += int64(len(v.Key) + len(v.Value))
	if r.entries%toldEvery == 0 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.opts.Progress != nil {
			r.opts.Progress(r.entries, r.bytes)
		}
	}
	err := r.into.Add(v)
	if errors.Is(err, store.ErrNotExported) {
		return fmt.Errorf("%w: entry %d: %w", ErrDamaged, r.entries, err)
	}
	return err
}

func (r *restoring) finish(s Summary, keys []Key) error {
	if err := r.into.Tables(); err != nil {
		return err
	}
	at := s.At
	if r.opts.Bind != nil {
		err := r.opts.Fault.Step(fault.RestoreBind, func() (err error) {
			at, err = r.opts.Bind(r.ctx, s.Header, keys)
			return err
		})
		if err != nil {
			return err
		}
	}
	if at.Seq != s.At.Seq {
		return fmt.Errorf("the new position is at sequence %d, the snapshot at %d", at.Seq, s.At.Seq)
	}
	return r.into.Finish(at, s.Floor)
}
