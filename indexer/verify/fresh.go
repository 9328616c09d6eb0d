package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Stream is where an index is built from.
type Stream interface {
	indexer.Stream
	// Bounds asks for the stream's first and last sequence and for when it was created.
	Bounds(ctx context.Context) (created time.Time, first, last uint64, err error)
	Close()
}

// freshPrefix begins the names of the directories that are made in Options.WorkDir.
const freshPrefix = "verify-"

// Sweep removes what verifications that were killed have left in a directory, which
// must be of nobody else.
func Sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, freshPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range left {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// rebuild builds an index afresh up to the sequence, and compares.
func (r *run) rebuild(src *Source) (err error) {
	work, err := os.MkdirTemp(r.opts.WorkDir, freshPrefix)
	if err != nil {
		return fmt.Errorf("make a directory for an index to compare with: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	dir := filepath.Join(work, "index")
	if r.report.Erased, err = r.build(dir); err != nil {
		return fmt.Errorf("build an index afresh up to sequence %d: %w", r.report.Seq, err)
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Temporary: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	view, err := st.View(r.report.Seq)
	if err != nil {
		return err
	}
	defer view.Close()
	fresh := NewSource(r.ctx, view, src.about, nil)
	return r.check(src, audit.CheckRebuild, func() (audit.Check, error) { return audit.Compare(src, fresh, r.opts.Limit) })
}

// build applies the stream from its beginning to the sequence of the report, without
// history: what is compared is the state there.
func (r *run) build(dir string) (erased uint64, err error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	source, err := r.opts.Stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	counted := &counting{Stream: source, last: r.report.Seq, stream: r.store.Applied().Stream}
	_, err = indexer.Build(ctx, counted, indexer.BuildOptions{
		Dir: dir, UpTo: r.report.Seq, Floor: r.report.Seq, Logger: r.opts.Logger.Level(zerolog.ErrorLevel),
		Progress: func(p indexer.BuildProgress) {
			r.tell(audit.Progress{Check: audit.CheckBuild, Done: int64(p.Applied), Of: int64(r.report.Seq)}) //nolint:gosec // sequences
		},
	})
	if errors.Is(err, stream.ErrTrimmed) {
		return 0, fmt.Errorf("%w: it lost its first messages, and what they said is not known; without --rebuild the index is compared with itself",
			audit.ErrCannotRebuild)
	}
	for _, final := range []error{stream.ErrMismatch, indexer.ErrStreamEnds} {
		if errors.Is(err, final) {
			return 0, fmt.Errorf("%w: %w", audit.ErrCannotRebuild, err)
		}
	}
	return counted.erased, err
}

// counting is a stream of which is counted what it no longer holds.
type counting struct {
	Stream
	last   uint64            // up to here
	stream position.Identity // that it must be
	erased uint64            // owned by the goroutine that reads, until it has ended
}

// Begin is part of indexer.Stream.
func (s *counting) Begin(ctx context.Context, trimmed bool) (position.Position, error) {
	at, err := s.Stream.Begin(ctx, trimmed)
	if err != nil {
		return at, err
	}
	if at.Stream.Name != s.stream.Name || !at.Stream.Created.Equal(s.stream.Created) {
		return at, fmt.Errorf("%w: it is %s, created %s; the index was built from %s, created %s", stream.ErrMismatch,
			at.Stream.Name, at.Stream.Created.Format(time.RFC3339Nano), s.stream.Name, s.stream.Created.Format(time.RFC3339Nano))
	}
	return at, nil
}

// Read is part of indexer.Stream.
func (s *counting) Read(ctx context.Context, at position.Position, older stream.Ladder, deliver func(*stream.Message) error) error {
	return s.Stream.Read(ctx, at, older, func(m *stream.Message) error {
		if m.Erased > 0 {
			if first := m.Seq + 1 - uint64(m.Erased); first <= s.last { //nolint:gosec // not negative
				s.erased += min(m.Seq, s.last) + 1 - first
			}
		}
		return deliver(m)
	})
}
