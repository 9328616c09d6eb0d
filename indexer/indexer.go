package indexer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Stream is where the messages come from.
type Stream interface {
	// Begin gives the position before the first message that a new index reads.
	Begin(ctx context.Context, trimmed bool) (position.Position, error)
	// Read delivers every message after a position, in order, until the context
	// ends, deliver fails, or the stream turns out not to be the index's, which is a
	// *stream.Parting.
	Read(ctx context.Context, at position.Position, older stream.Ladder, deliver func(*stream.Message) error) error
	// Rejoin gives the position at which an index can go on after that: its own, or
	// one at the floor or above it with another incarnation, that it must be undone to
	// before. It fails with a *stream.Parting while there is none.
	Rejoin(ctx context.Context, at position.Position, floor uint64, older stream.Ladder) (position.Position, error)
	// Head gives what is known of the stream's end.
	Head() stream.Head
	// Ask gives what is known of it at since or later, and asks the server if need be.
	Ask(ctx context.Context, since time.Time) (stream.Head, error)
}

// Options of an Indexer.
type Options struct {
	History       time.Duration // how far back reads may go; at least a minute for cursors
	HistoryBytes  int64         // room that history may take before the window is made shorter, down to a minute; 0: any
	AcceptTrimmed bool          // build a new index of a stream that lost its first messages
	BatchEvents   int           // the most events made durable together; 0: 1000
	Logger        zerolog.Logger
	Metrics       *Metrics // nil: none
	// RejoinEvery is how often a stream that cannot be read on is looked at again; 0: 3 s.
	RejoinEvery time.Duration
	Disk        Disk // nil: nothing is known of the disk
	// Fault makes steps fail in tests; nil in production. The store and the reader have
	// their own.
	Fault fault.Hook
}

const (
	defaultBatchEvents = 1000
	// queue is how many decoded messages may wait for the folding goroutine. At the
	// size limit of an event they take 128 MiB; messages over it, which go to the
	// quarantine, take up to the server's own limit each.
	queue = 512
	// floorEvery is how often the history window is looked at.
	floorEvery = 5 * time.Second

	defaultRejoinEvery = 3 * time.Second
)

// Indexer applies a stream to a store.
type Indexer struct {
	store      *store.Store
	stream     Stream
	opts       Options
	log        zerolog.Logger
	applier    applier      // owned by the goroutine that folds
	given      []given      // what readers were given lately; owned by the goroutine that commits
	window     atomic.Int64 // how far back reads may go now, a time.Duration
	floorMoved chan struct{}
	floorEvery time.Duration
}

// New makes an indexer. Nothing runs before Run.
func New(st *store.Store, s Stream, o Options) *Indexer {
	if o.BatchEvents <= 0 {
		o.BatchEvents = defaultBatchEvents
	}
	if o.RejoinEvery <= 0 {
		o.RejoinEvery = defaultRejoinEvery
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Disk == nil {
		o.Disk = anyDisk{}
	}
	x := &Indexer{
		store: st, stream: s, opts: o, log: o.Logger,
		floorMoved: make(chan struct{}, 1),
		floorEvery: floorEvery,
	}
	x.applier = newApplier(o.Metrics, o.Logger, o.Fault, x.waitForRoom)
	x.window.Store(int64(o.History))
	return x
}

// Run applies events until the context ends, which is not an error, or until the
// store fails, or until a new index finds a stream that it cannot begin with. What is
// in flight when it ends is applied again by the next Run.
//
// When the stream parts from what was read, the index is undone to what both have in
// common and goes on. Where there is nothing, Run reads no further until the stream is
// the right one again.
func (x *Indexer) Run(ctx context.Context) error {
	err := x.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (x *Indexer) run(ctx context.Context) error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	for {
		err := x.follow(ctx)
		parting, parted := errors.AsType[*stream.Parting](err)
		if !parted {
			return err
		}
		if err := x.rejoin(ctx, parting); err != nil {
			return err
		}
	}
}

// follow reads and applies from the watermark on. It fails with a *stream.Parting
// when all that was read before is applied.
func (x *Indexer) follow(ctx context.Context) error {
	at := x.store.Applied()
	g, ctx := errgroup.WithContext(ctx)
	decoded := make(chan item, queue)
	g.Go(func() error {
		read := at.Seq
		err := x.stream.Read(ctx, at, x.rung, func(m *stream.Message) error {
			return x.opts.Fault.Step(fault.Decode, func() error {
				select {
				case decoded <- decode(m):
					read = m.Seq
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		if _, parted := errors.AsType[*stream.Parting](err); parted {
			// The stream may not hold any longer what was read and is not applied yet.
			if err := x.store.Wait(ctx, read); err != nil {
				return err
			}
		}
		return fmt.Errorf("read the stream: %w", err)
	})
	commits := make(chan sealed) // unbuffered: at most one batch is ahead of the durable ones
	g.Go(func() error { return x.apply(ctx, decoded, commits) })
	g.Go(func() error { return x.commit(ctx, commits) })
	g.Go(func() error { return x.tidy(ctx) })
	g.Go(func() error { return x.reclaim(ctx) })
	return g.Wait()
}

// begin ties a new index to its stream.
func (x *Indexer) begin(ctx context.Context) error {
	if x.store.Applied().Stream.Name != "" {
		return nil
	}
	at, err := x.stream.Begin(ctx, x.opts.AcceptTrimmed)
	if err != nil {
		return fmt.Errorf("begin a new index: %w", err)
	}
	if err := x.store.Bind(at); err != nil {
		return fmt.Errorf("begin a new index: %w", err)
	}
	x.log.Info().Str("stream", at.Stream.Name).Uint64("from", at.Seq+1).Msg("a new index")
	return nil
}

// item is a message and what it was decoded to.
type item struct {
	msg   *stream.Message
	event events.Event
	err   *events.Rejection // nil: event is one
}

func decode(m *stream.Message) item {
	it := item{msg: m}
	if m.Erased > 0 {
		return it
	}
	ev, err := events.Decode(m.Message)
	it.event = ev
	if err != nil && !errors.As(err, &it.err) {
		// Decode gives no other errors. Were there one, its text might hold a secret.
		it.err = &events.Rejection{Code: events.BadJSON, Problem: "not an event", Remedy: "send one JSON object in valid UTF-8"}
	}
	return it
}
