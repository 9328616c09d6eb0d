package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/verify"
)

// fresh builds an index in a directory, which is absent, up to a sequence, 0: the end
// of the stream, and gives the sequence that it reached. like is of the index that it is
// to stand in for.
//
// A stream that lost its first messages is built on from the newest snapshot that it
// reaches, when there is one.
func (j *job) fresh(dir string, like *position.Identity, floor, upTo uint64) (uint64, error) {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	source, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	if like != nil {
		created, _, _, err := source.Bounds(ctx)
		if err != nil {
			return 0, err
		}
		if !created.Equal(like.Created) { // its sequences are of another stream
			like, floor = nil, 0
		}
	}
	var told time.Time
	at, err := indexer.Build(ctx, source, indexer.BuildOptions{
		Dir: dir, UpTo: upTo, Floor: floor, AcceptTrimmed: j.AcceptTrimmed, Identity: like,
		Thresholds: j.Thresholds, Memory: j.Memory, Disk: j.Disk, Logger: j.Logger, Fault: j.Fault,
		Progress: func(p indexer.BuildProgress) {
			switch {
			case p.ToMake > 0:
				j.tell(audit.Progress{Check: StepWrite, Done: p.Written, Of: p.ToMake})
			case time.Since(told) > buildTells:
				told = time.Now()
				j.tell(audit.Progress{Check: StepBuild, Done: int64(p.Applied), Of: int64(p.Of)}) //nolint:gosec // sequences
			}
		},
	})
	if errors.Is(err, stream.ErrTrimmed) && j.Restore != nil {
		return j.restored(ctx, source, dir, floor, upTo)
	}
	if err != nil {
		return 0, buildError(err)
	}
	return at.Seq, nil
}

// restored is fresh for a stream that lost its first messages: the newest snapshot that
// the stream reaches, and what has come since.
func (j *job) restored(ctx context.Context, source verify.Stream, dir string, floor, upTo uint64) (reached uint64, err error) {
	if err := os.RemoveAll(dir); err != nil { // what the build has made
		return 0, err
	}
	j.tell(audit.Progress{Check: StepRestore})
	j.report.From, err = j.Restore(ctx, dir, cmp.Or(upTo, math.MaxUint64))
	if err != nil {
		return 0, fmt.Errorf("%w: it lost its first messages, and: %w", ErrCannotBuild, err)
	}
	last := upTo
	if last == 0 {
		if _, _, last, err = source.Bounds(ctx); err != nil {
			return 0, err
		}
	}
	st, err := j.Store(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := j.catchUp(ctx, st, &ending{Stream: source, last: last}); err != nil {
		return 0, buildError(err)
	}
	if floor > st.Floor() {
		err = st.AdvanceFloor(min(floor, last))
	}
	return st.Applied().Seq, err
}

// forever is a history window that nothing leaves.
const forever = 100 * 365 * 24 * time.Hour

// catchUp applies a stream to its end.
func (j *job) catchUp(ctx context.Context, st *store.Store, s *ending) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := indexer.New(st, s, indexer.Options{History: forever, Disk: j.Disk, Logger: j.Logger.Level(zerolog.WarnLevel)})
	ended, applied := make(chan error, 1), make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	go func() {
		defer close(applied)
		applied <- st.Wait(ctx, s.last)
	}()
	tick := time.NewTicker(buildTells)
	defer tick.Stop()
	for {
		select {
		case err := <-applied:
			cancel()
			return errors.Join(err, <-ended)
		case err := <-ended:
			cancel()
			for range applied { // it ends with the context
			}
			return cmp.Or(err, context.Cause(ctx))
		case <-tick.C:
			j.tell(audit.Progress{Check: StepBuild, Done: int64(st.Applied().Seq), Of: int64(s.last)}) //nolint:gosec // sequences
		}
	}
}

// ending is a stream that ends at a sequence.
type ending struct {
	verify.Stream
	last uint64
}

// Read is part of indexer.Stream. Behind the last sequence it delivers nothing more
// until the context ends. A stream that parts meanwhile ends the build.
func (s *ending) Read(ctx context.Context, at position.Position, older stream.Ladder, deliver func(*stream.Message) error) error {
	err := s.Stream.Read(ctx, at, older, func(m *stream.Message) error {
		if first := m.Seq + 1 - uint64(max(m.Erased, 1)); first > s.last { //nolint:gosec // not negative
			<-ctx.Done()
			return ctx.Err()
		}
		if m.Seq > s.last { // a run of erased messages that goes on behind it
			part := *m
			part.Seq, part.Erased = s.last, m.Erased-int(m.Seq-s.last) //nolint:gosec // less than Erased
			m = &part
		}
		return deliver(m)
	})
	if parting, parted := errors.AsType[*stream.Parting](err); parted {
		return fmt.Errorf("%w: %s", stream.ErrMismatch, parting.What())
	}
	return err
}

// buildTells is how often the progress of a build is told.
const buildTells = 100 * time.Millisecond

// buildError tells what no repetition will mend.
func buildError(err error) error {
	for _, final := range []error{stream.ErrTrimmed, stream.ErrMismatch, indexer.ErrStreamEnds} {
		if errors.Is(err, final) {
			return fmt.Errorf("%w: %w", ErrCannotBuild, err)
		}
	}
	return err
}
