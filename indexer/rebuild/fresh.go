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
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/verify"
)

// fresh builds an index in a directory, which is absent, up to a sequence, 0: the end
// of the stream, and gives the sequence that it reached. old is the index that it is to
// stand in for, whose floor it has then; nil: there is none.
//
// A stream that lost its first messages is built on from the newest snapshot that it
// reaches, when there is one: that lacks nothing. Otherwise what the rest says is built,
// where that is accepted.
func (j *job) fresh(dir string, old *store.Store, upTo, floor uint64) (uint64, error) {
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	source, err := j.stream(ctx)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	var like *position.Identity
	if old != nil {
		if like, err = likeness(ctx, source, old); err != nil {
			return 0, err
		}
		if like != nil {
			floor = old.Floor()
		}
	}
	o := indexer.BuildOptions{Dir: dir, UpTo: upTo, Floor: floor, Identity: like, AcceptTrimmed: j.AcceptTrimmed && j.Restore == nil}
	reached, err := j.fromStream(ctx, source, o)
	if !errors.Is(err, stream.ErrTrimmed) || j.Restore == nil {
		return reached, err
	}
	reached, failed := j.restored(ctx, source, dir, floor, upTo)
	if !errors.Is(failed, snapshotbucket.ErrNone) || !j.AcceptTrimmed {
		return reached, failed
	}
	if err := os.RemoveAll(dir); err != nil {
		return 0, err
	}
	o.AcceptTrimmed = true
	return j.fromStream(ctx, source, o)
}

// likeness gives the identity of an index that is to stand in for another one; nil: its
// sequences are of another stream. It is the other one's only if the stream still holds
// what that has read: where a sequence holds another message now, nobody may take the
// one for the other.
func likeness(ctx context.Context, source verify.Stream, old *store.Store) (*position.Identity, error) {
	at := old.Applied()
	if at.Stream.Name == "" {
		return nil, nil //nolint:nilnil // it was never tied to one
	}
	ladder := func(seq uint64) (stream.Rung, bool, error) {
		r, ok, err := old.RungAt(seq)
		return stream.Rung{Seq: r.Seq, Peak: r.Peak, Fingerprint: r.Fingerprint}, ok, err
	}
	to, err := source.Rejoin(ctx, at, old.Floor(), ladder)
	parting, parted := errors.AsType[*stream.Parting](err)
	switch {
	case !parted && err != nil:
		return nil, err
	case !parted:
		return &to.Stream, nil
	case parting.Kind == stream.Trimmed:
		return &at.Stream, nil
	case parting.Kind == stream.RolledBack, parting.Kind == stream.Reused:
		after := stream.After(at.Stream)
		return &after, nil
	default:
		return nil, nil //nolint:nilnil // as said above
	}
}

// fromStream builds an index of the messages of the stream.
func (j *job) fromStream(ctx context.Context, source verify.Stream, o indexer.BuildOptions) (uint64, error) {
	var told time.Time
	o.Thresholds, o.Memory, o.Logger, o.Fault = j.Thresholds, j.Memory, j.Logger, j.Fault
	if j.Disk != nil {
		o.Disk = noWait{j.Disk}
	}
	o.Progress = func(p indexer.BuildProgress) {
		switch {
		case p.ToMake > 0:
			j.tell(audit.Progress{Check: StepWrite, Done: p.Written, Of: p.ToMake})
		case time.Since(told) > buildTells:
			told = time.Now()
			j.tell(audit.Progress{Check: StepBuild, Done: int64(p.Applied), Of: int64(p.Of)}) //nolint:gosec // sequences
		}
	}
	at, err := indexer.Build(ctx, source, o)
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
		return 0, fmt.Errorf("%w: it lost its first messages, and no snapshot makes up for them: %w; snapshot --store takes one of the index that serves",
			ErrCannotBuild, err)
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

// noWait is a disk that is not waited for: what fills it may be the fresh index, for
// which the one that is served waits, too.
type noWait struct{ indexer.Disk }

// Wait is part of indexer.Disk.
func (d noWait) Wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !d.Room(0) { // it looks
		return fmt.Errorf("%w: it is almost full", ErrNoRoom)
	}
	return nil
}

// forever is a history window that nothing leaves.
const forever = 100 * 365 * 24 * time.Hour

// catchUp applies a stream to its end.
func (j *job) catchUp(ctx context.Context, st *store.Store, s *ending) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := indexer.Options{History: forever, Logger: j.Logger.Level(zerolog.WarnLevel)}
	if j.Disk != nil {
		o.Disk = noWait{j.Disk}
	}
	x := indexer.New(st, s, o)
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
