package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// ErrStreamEnds is returned by Build for a stream that ends before the sequence that it
// is to be built up to.
var ErrStreamEnds = errors.New("the stream ends before that sequence")

// BuildOptions of Build.
type BuildOptions struct {
	Dir string // of the new index; it must not exist
	// UpTo is the sequence of the last message that is applied; 0: the end of the stream
	// as the server tells it when reading begins.
	UpTo uint64
	// Floor is the index's when it is done; one above the last sequence counts as that.
	// History below it is not kept.
	Floor         uint64
	AcceptTrimmed bool // as Options.AcceptTrimmed
	// Identity is of the index that the new one is to stand in for, whose cursors it then
	// takes: when the stream has that name and creation time the new index has its
	// incarnation. nil: the stream's first.
	Identity   *position.Identity
	Thresholds *rows.Thresholds // of the counters; nil: the default
	Memory     int64            // bytes that collecting takes; 0: store.DefaultBuildMemory
	Disk       Disk             // nil: nothing is known of the disk
	Logger     zerolog.Logger
	Metrics    *Metrics            // nil: none
	Progress   func(BuildProgress) // nil: nobody is told; called often, from one goroutine at a time
	Fault      fault.Hook          // makes steps fail in tests; see package fault
}

// BuildProgress tells how far a Build is: first messages are read and applied, then
// tables are written.
type BuildProgress struct {
	Applied, Of     uint64 // sequences; Of is 0 before the stream's end is known
	Written, ToMake int64  // versions of keys; ToMake is 0 before all messages are applied
}

// Build makes a new index of the messages of a stream, from its beginning on, and gives
// the position that it has reached. It is the same fold as an Indexer's, fed faster:
// the index answers as one that an Indexer built and whose floor was moved, but it
// can be opened, by store.Open, only when Build is over, and is durable then. Interrupted
// at any point it leaves a directory that store.Open refuses and the caller removes.
//
// s must be read by nobody else. The error wraps the *stream.Parting when the stream
// turns out to be another one meanwhile, stream.ErrTrimmed as Stream.Begin says,
// ErrStreamEnds, or the context's error. Memory is bounded, whatever the length of the
// stream; the disk needs about twice what the index takes.
func Build(ctx context.Context, s Stream, o BuildOptions) (position.Position, error) {
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Disk == nil {
		o.Disk = anyDisk{}
	}
	if o.Progress == nil {
		o.Progress = func(BuildProgress) {}
	}
	at, err := s.Begin(ctx, o.AcceptTrimmed)
	if err != nil {
		return at, fmt.Errorf("begin to build an index: %w", err)
	}
	if o.UpTo > 0 && o.UpTo < at.Seq {
		return at, fmt.Errorf("build an index up to sequence %d: %w: it begins at %d", o.UpTo, stream.ErrTrimmed, at.Seq+1)
	}
	if id := o.Identity; id != nil && id.Name == at.Stream.Name && id.Created.Equal(at.Stream.Created) {
		at.Stream = *id
	}
	b := &build{stream: s, opts: o, mark: at, last: o.UpTo, began: time.Now()}
	return b.run(ctx)
}

// build is one call of Build.
type build struct {
	stream  Stream
	opts    BuildOptions
	builder *store.Builder
	applier applier
	mark    position.Position // after the last message that was applied; without its fingerprint
	last    uint64            // the sequence to end at; 0: not known yet
	message *stream.Message   // the last one that was applied
	events  int               // since the last rung
	began   time.Time
}

func (b *build) run(ctx context.Context) (at position.Position, err error) {
	o := b.opts
	b.builder, err = store.NewBuilder(store.BuildOptions{
		// Of the sequences before the first one that is read nothing is known.
		Dir: o.Dir, Floor: max(o.Floor, b.mark.Seq), Memory: o.Memory, Thresholds: o.Thresholds, Fault: o.Fault,
		Room: func() error {
			if err := ctx.Err(); err != nil { // writing tables knows no other end
				return err
			}
			return o.Disk.Wait(ctx)
		},
	})
	if err != nil {
		return b.mark, err
	}
	defer func() { err = errors.Join(err, b.builder.Close()) }()
	b.applier = newApplier(o.Metrics, o.Logger, o.Fault, o.Disk.Wait)
	if err := b.read(ctx); err != nil {
		return b.mark, fmt.Errorf("build an index: %w", err)
	}
	applied := b.mark.Seq
	at, err = b.builder.Finish(b.mark, func(done, of int64) {
		o.Progress(BuildProgress{Applied: applied, Of: applied, Written: done, ToMake: of})
	})
	if err == nil {
		o.Logger.Info().Uint64("seq", at.Seq).Dur("took", time.Since(b.began)).Msg("an index was built")
	}
	return at, err
}

// read applies messages up to the last one.
func (b *build) read(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	decoded := make(chan item, queue)
	ended := make(chan error, 1)
	go func() {
		ended <- b.stream.Read(ctx, b.mark, nil, func(m *stream.Message) error {
			return b.opts.Fault.Step(fault.Decode, func() error {
				select {
				case decoded <- decode(m):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		close(ended)
	}()
	err := b.applyAll(ctx, decoded, ended)
	cancel()
	for range ended { // nobody reads the stream any longer when this is over
	}
	return err
}

// lookEvery is how often a build looks at the stream's end while no message comes, and
// whether it is far enough.
const lookEvery = 100 * time.Millisecond

func (b *build) applyAll(ctx context.Context, decoded <-chan item, ended <-chan error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if done, err := b.over(); done || err != nil {
			return err
		}
		select {
		case it := <-decoded:
			if err := b.applyOne(ctx, it); err != nil {
				return err
			}
		case err := <-ended:
			return b.rest(ctx, decoded, err)
		case <-tick.C:
			b.opts.Progress(BuildProgress{Applied: b.mark.Seq, Of: b.last})
		}
	}
}

// rest applies what had been read before the reading ended with an error, which may be
// all.
func (b *build) rest(ctx context.Context, decoded <-chan item, failed error) error {
	for {
		if done, err := b.over(); done || err != nil {
			return err
		}
		select {
		case it := <-decoded:
			if err := b.applyOne(ctx, it); err != nil {
				return err
			}
		default:
			return fmt.Errorf("read the stream: %w", failed)
		}
	}
}

// over reports whether the last message was applied, and ends the timeline then.
func (b *build) over() (bool, error) {
	if b.last == 0 || b.mark.Seq < b.last {
		head := b.stream.Head()
		if head.Asked.IsZero() {
			return false, nil
		}
		switch {
		case b.opts.UpTo == 0 && b.last == 0:
			b.last = max(head.Seq, b.mark.Seq)
		case head.Seq < b.last:
			return false, fmt.Errorf("%w: it ends at %d, and %d is asked for", ErrStreamEnds, head.Seq, b.last)
		}
		if b.mark.Seq < b.last {
			return false, nil
		}
	}
	if b.events == 0 {
		return true, nil // there was no message, or the last one has a rung
	}
	return true, b.rung()
}

func (b *build) applyOne(ctx context.Context, it item) error {
	first := it.msg.Seq + 1 - uint64(max(it.msg.Erased, 1)) //nolint:gosec // not negative
	if b.last > 0 && it.msg.Erased > 0 && it.msg.Seq > b.last && first <= b.last {
		part := *it.msg                                                  // a run of erased messages that goes on behind the last one
		part.Seq, part.Erased = b.last, part.Erased-int(part.Seq-b.last) //nolint:gosec // less than Erased
		it.msg = &part
	}
	if err := b.applier.one(ctx, b.builder, it); err != nil {
		return fmt.Errorf("apply sequence %d: %w", it.msg.Seq, err)
	}
	b.mark.Seq, b.message = it.msg.Seq, it.msg
	if it.msg.Erased == 0 {
		b.mark.Nano = it.msg.Time.UnixNano()
	}
	if b.events++; b.events < defaultBatchEvents {
		return nil
	}
	b.opts.Progress(BuildProgress{Applied: b.mark.Seq, Of: b.last})
	if b.mark.Seq == b.last {
		return nil // over ends the timeline
	}
	return b.rung()
}

// rung ends what would be a batch.
func (b *build) rung() error {
	b.events = 0
	b.mark.Fingerprint = nil
	if b.message.Erased == 0 {
		b.mark.Fingerprint = b.message.Fingerprint()
	}
	return b.builder.Mark(b.mark)
}
