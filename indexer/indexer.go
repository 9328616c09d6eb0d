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
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Stream is where the messages come from.
type Stream interface {
	// Begin gives the position before the first message that a new index reads.
	Begin(ctx context.Context, trimmed bool) (position.Position, error)
	// Read delivers every message after a position, in order, until the context
	// ends, deliver fails, or the stream turns out not to be the index's.
	Read(ctx context.Context, at position.Position, deliver func(*stream.Message) error) error
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
	Disk          Disk     // nil: nothing is known of the disk
}

const (
	defaultBatchEvents = 1000
	// queue is how many decoded messages may wait for the folding goroutine. At the
	// size limit of an event they take 128 MiB; messages over it, which go to the
	// quarantine, take up to the server's own limit each.
	queue = 512
	// floorEvery is how often the history window is looked at.
	floorEvery = 5 * time.Second
)

// Indexer applies a stream to a store.
type Indexer struct {
	store  *store.Store
	stream Stream
	opts   Options
	log    zerolog.Logger
	// quarantineLog drops lines past a hundred a second: a sender may be wrong in
	// every message. The quarantine and its counter drop nothing.
	quarantineLog zerolog.Logger
	given         []given      // what readers were given lately; owned by the goroutine that commits
	window        atomic.Int64 // how far back reads may go now, a time.Duration
	floorMoved    chan struct{}
}

// New makes an indexer. Nothing runs before Run.
func New(st *store.Store, s Stream, o Options) *Indexer {
	if o.BatchEvents <= 0 {
		o.BatchEvents = defaultBatchEvents
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	if o.Disk == nil {
		o.Disk = anyDisk{}
	}
	x := &Indexer{
		store: st, stream: s, opts: o, log: o.Logger,
		quarantineLog: o.Logger.Sample(&zerolog.BurstSampler{Burst: 100, Period: time.Second}),
		floorMoved:    make(chan struct{}, 1),
	}
	x.window.Store(int64(o.History))
	return x
}

// Run applies events until the context ends, which is not an error, or until
// the store fails or the stream is not the index's. What is in flight when it
// ends is applied again by the next Run.
func (x *Indexer) Run(ctx context.Context) error {
	err := x.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (x *Indexer) run(ctx context.Context) error {
	at, err := x.begin(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	decoded := make(chan item, queue)
	g.Go(func() error {
		err := x.stream.Read(ctx, at, func(m *stream.Message) error {
			select {
			case decoded <- decode(m):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return fmt.Errorf("read the stream: %w", err)
	})
	commits := make(chan sealed) // unbuffered: at most one batch is ahead of the durable ones
	g.Go(func() error { return x.apply(ctx, decoded, commits) })
	g.Go(func() error { return x.commit(ctx, commits) })
	g.Go(func() error { return x.tidy(ctx) })
	g.Go(func() error { return x.reclaim(ctx) })
	return g.Wait()
}

// begin gives the position to read from, and ties a new index to its stream.
func (x *Indexer) begin(ctx context.Context) (position.Position, error) {
	at := x.store.Applied()
	if at.Stream.Name != "" {
		return at, nil
	}
	at, err := x.stream.Begin(ctx, x.opts.AcceptTrimmed)
	if err != nil {
		return at, fmt.Errorf("begin a new index: %w", err)
	}
	if err := x.store.Bind(at); err != nil {
		return at, fmt.Errorf("begin a new index: %w", err)
	}
	x.log.Info().Str("stream", at.Stream.Name).Uint64("from", at.Seq+1).Msg("a new index")
	return at, nil
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
		it.err = &events.Rejection{Code: events.BadJSON, Problem: err.Error()}
	}
	return it
}
