package verify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
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
	// Extent asks for the first and the last sequence of the stream.
	Extent(ctx context.Context) (first, last uint64, err error)
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
	dir, err := os.MkdirTemp(r.opts.WorkDir, freshPrefix)
	if err != nil {
		return fmt.Errorf("make a directory for an index to compare with: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := store.Open(store.Options{Dir: filepath.Join(dir, "index"), Logger: zerolog.Nop(), Temporary: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if r.report.Erased, err = r.build(st); err != nil {
		return fmt.Errorf("build an index afresh up to sequence %d: %w", r.report.Seq, err)
	}
	view, err := st.View(r.report.Seq)
	if err != nil {
		return err
	}
	defer view.Close()
	fresh := NewSource(r.ctx, view, src.about, nil)
	return r.check(src, audit.CheckRebuild, func() (audit.Check, error) { return audit.Compare(src, fresh, r.opts.Limit) })
}

// build applies the stream from its beginning to the sequence of the report.
func (r *run) build(st *store.Store) (erased uint64, err error) {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	source, err := r.opts.Stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	upTo := &upTo{Stream: source, last: r.report.Seq, stream: r.store.Applied().Stream}
	x := indexer.New(st, upTo, indexer.Options{History: time.Minute, Logger: r.opts.Logger.Level(zerolog.ErrorLevel)})
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- x.Run(ctx)
	}()
	err = r.follow(ctx, st, upTo, ended)
	cancel()
	for more := range ended { // nothing is closed under it
		err = errors.Join(err, more)
	}
	return upTo.erasedSoFar(), err
}

// followEvery is how often an index that is built is looked at.
const followEvery = 200 * time.Millisecond

// follow waits until the index has been built, or its run has ended before that.
func (r *run) follow(ctx context.Context, st *store.Store, s *upTo, ended <-chan error) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	built := make(chan error, 1)
	go func() { built <- st.Wait(ctx, s.last) }()
	for {
		select {
		case err := <-built:
			return err
		case err := <-ended:
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, stream.ErrTrimmed), errors.Is(err, stream.ErrMismatch):
				return fmt.Errorf("%w: %w", audit.ErrCannotRebuild, err)
			case err == nil:
				return errors.New("it ended too early")
			}
			return err
		case <-tick.C:
			r.tell(audit.Progress{Check: audit.CheckBuild, Done: int64(st.Applied().Seq), Of: int64(s.last)}) //nolint:gosec // sequences
			if head := s.Stream.Head(); !head.Asked.IsZero() && head.Seq < s.last {
				return fmt.Errorf("%w: the stream ends at sequence %d", audit.ErrCannotRebuild, head.Seq)
			}
		}
	}
}

// upTo is a stream that ends at a sequence.
type upTo struct {
	Stream
	last   uint64
	stream position.Identity // that it must be

	mu     sync.Mutex // guards erased
	erased uint64     // messages up to last that are not in the stream
}

// Begin is part of indexer.Stream.
func (s *upTo) Begin(ctx context.Context, trimmed bool) (position.Position, error) {
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

// Read is part of indexer.Stream. Behind the last sequence it delivers nothing more
// until the context ends. A stream that parts meanwhile ends the build: what was
// built so far is of no use.
func (s *upTo) Read(ctx context.Context, at position.Position, older stream.Ladder, deliver func(*stream.Message) error) error {
	err := s.Stream.Read(ctx, at, older, func(m *stream.Message) error {
		if first := m.Seq + 1 - uint64(max(m.Erased, 1)); first > s.last { //nolint:gosec // not negative
			<-ctx.Done()
			return ctx.Err()
		}
		if m.Erased > 0 {
			part := *m
			if m.Seq > s.last { // a run of erased messages that goes on behind it
				part.Seq, part.Erased = s.last, m.Erased-int(m.Seq-s.last) //nolint:gosec // less than Erased
			}
			s.mu.Lock()
			s.erased += uint64(part.Erased) //nolint:gosec // not negative
			s.mu.Unlock()
			m = &part
		}
		return deliver(m)
	})
	if parting, parted := errors.AsType[*stream.Parting](err); parted {
		return fmt.Errorf("%w: %s", stream.ErrMismatch, parting.What())
	}
	return err
}

// Head is part of indexer.Stream.
func (s *upTo) Head() stream.Head {
	head := s.Stream.Head()
	head.Seq = min(head.Seq, s.last)
	return head
}

func (s *upTo) erasedSoFar() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.erased
}
