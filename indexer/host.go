package indexer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

// Generation is an index that is open, and what keeps it up with its stream.
type Generation struct {
	Store *store.Store
	// Stream is what it is kept up with, over a connection that nobody else reads; nil:
	// it stays as it is.
	Stream Stream
	// End is the end of the stream of one that stays as it is; nil: it is never behind.
	End End
	// Close releases both. It is called once, when neither is used any more.
	Close func() error
}

// end is the end of the generation's stream, nil when none is known.
func (g *Generation) end() End {
	if g.Stream == nil {
		return g.End
	}
	return g.Stream
}

// Host keeps one generation of an index up with its stream, and lets another one take
// its place while readers read.
type Host struct {
	index *Index
	opts  Options
	log   zerolog.Logger

	handing sync.Mutex // held while one generation takes the place of another, not while readers leave

	base    context.Context //nolint:containedctx // of Run, which all that it starts ends with
	running chan struct{}   // closed when base is set

	mu      sync.Mutex // guards what follows
	current *run
	retired []retired // replaced, and not closed yet
}

// retired is a generation that was replaced, and who reads in it.
type retired struct {
	*Generation
	readers *served
}

// run is one run of a generation's indexer.
type run struct {
	*Generation
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid when it has ended
}

// NewHost makes a host of a generation, which it owns from then on. Options are those
// of every generation's indexer. Nothing runs before Run.
func NewHost(g *Generation, o Options) *Host {
	if o.Metrics == nil {
		o.Metrics = NewMetrics()
	}
	return &Host{
		index: NewIndex(g.Store, g.end()), opts: o, log: o.Logger,
		running: make(chan struct{}), current: &run{Generation: g},
	}
}

// Index is the read side of whichever generation is served.
func (h *Host) Index() *Index { return h.index }

// Run applies events to the generation that is served until the context ends, which is
// not an error, or until it fails. It may be called once.
func (h *Host) Run(ctx context.Context) error {
	h.base = ctx
	h.mu.Lock()
	h.current = h.start(h.current.Generation)
	h.mu.Unlock()
	close(h.running)
	for {
		r := h.served()
		<-r.ended
		// While another takes its place, its run ends without being over.
		h.handing.Lock()
		replaced := h.served() != r
		h.handing.Unlock()
		if !replaced {
			return r.err
		}
	}
}

func (h *Host) served() *run {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current
}

// start runs a generation's indexer until its cancel is called or the host's own
// context ends.
func (h *Host) start(g *Generation) *run {
	ctx, cancel := context.WithCancel(h.base)
	r := &run{Generation: g, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		if g.Stream == nil {
			<-ctx.Done()
			return
		}
		r.err = New(g.Store, g.Stream, h.opts).Run(ctx)
	}()
	return r
}

func (r *run) stop() error {
	r.cancel()
	<-r.ended
	return r.err
}

// Successor is a generation that is kept up with its stream beside the one that is
// served.
type Successor struct {
	host *Host
	run  *run
}

// Follow keeps a generation up with its stream beside the one that is served, until
// TakeOver or Stop, one of which must be called. The host owns it from then on. The
// context bounds the wait for the host to run.
func (h *Host) Follow(ctx context.Context, g *Generation) (*Successor, error) {
	select {
	case <-h.running:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), g.Close())
	}
	return &Successor{host: h, run: h.start(g)}, nil
}

// Wait returns when the generation has applied a sequence, or why it never will, or
// with the context's error.
func (s *Successor) Wait(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	applied := make(chan error, 1)
	go func() {
		defer close(applied)
		applied <- s.run.Store.Wait(ctx, seq)
	}()
	select {
	case err := <-applied:
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, errBehind) {
			return cause
		}
		return err
	case <-s.run.ended:
		cancel()
		for range applied { // it ends with the context
		}
		if s.run.err != nil {
			return fmt.Errorf("keep the new index up with its stream: %w", s.run.err)
		}
		return errors.New("the server stops")
	}
}

// Stop gives the generation up and closes it.
func (s *Successor) Stop() error { return errors.Join(s.run.stop(), s.run.Close()) }

// ErrOtherStream is returned when a generation cannot take the place of another: their
// sequences are of different streams, or of different incarnations of one.
var ErrOtherStream = errors.New("the two indexes are of different incarnations of the stream")

// TakeOver lets readers move to the generation, without one that fails, and gives up
// the one before. swap makes that durable: it is called when the new one has applied
// all that readers were given, and nothing is applied until it has returned. It reports
// whether it was done, which with an error may be either.
//
// With an error that was not done, the one before is served and kept up as ever, and
// the generation is stopped and closed. After a take-over that failed later, such as in
// closing the one before, err is not nil and taken is true; see Settle.
func (s *Successor) TakeOver(ctx context.Context, swap func() (done bool, err error)) (taken bool, err error) {
	taken, err = s.takeOver(ctx, swap)
	if !taken {
		return false, err
	}
	// Not with the lock: readers may take hours, and Run looks after the new one by then.
	return true, errors.Join(err, s.host.Settle(ctx))
}

// takeOver is TakeOver without the wait for readers.
func (s *Successor) takeOver(ctx context.Context, swap func() (done bool, err error)) (taken bool, err error) {
	h := s.host
	h.handing.Lock()
	defer h.handing.Unlock()
	before := h.served()
	if err := before.stop(); err != nil {
		return false, errors.Join(err, s.Stop()) // the server ends with it
	}
	done, err := s.handOver(ctx, before, swap)
	if !done {
		h.mu.Lock()
		h.current = h.start(before.Generation)
		h.mu.Unlock()
		return false, errors.Join(err, s.Stop())
	}
	readers := h.index.replace(s.run.Store, s.run.end())
	h.mu.Lock()
	h.current, h.retired = s.run, append(h.retired, retired{before.Generation, readers})
	h.mu.Unlock()
	return true, err
}

// handOverLimit is for how long nothing is applied to what is served.
const handOverLimit = time.Minute

var errBehind = errors.New("the new index does not apply what the one before has")

// handOver makes sure that the new generation can take the place of the one before,
// whose run has ended, and swaps.
func (s *Successor) handOver(ctx context.Context, before *run, swap func() (bool, error)) (done bool, err error) {
	at := before.Store.Applied()
	if at.Stream.Name == "" {
		return swap() // readers were given nothing
	}
	if err := s.goesOn(at); err != nil { // or it would be waited for without an end, maybe
		return false, err
	}
	if before.Stream != nil {
		ctx, cancel := context.WithTimeoutCause(ctx, handOverLimit, errBehind)
		defer cancel()
		if err := s.Wait(ctx, at.Seq); err != nil {
			return false, err
		}
	}
	if err := s.goesOn(at); err != nil { // it may have been undone meanwhile
		return false, err
	}
	if now := s.run.Store.Applied(); now.Seq < at.Seq {
		return false, fmt.Errorf("the new index has applied sequence %d only, readers were given %d", now.Seq, at.Seq)
	}
	return swap()
}

// goesOn makes sure that sequences of the new generation are of the incarnation of a
// position that readers were given.
func (s *Successor) goesOn(at position.Position) error {
	now := s.run.Store.Applied()
	if now.Stream.Incarnation != at.Stream.Incarnation {
		return fmt.Errorf("%w: %s and %s", ErrOtherStream, at.Stream.Incarnation, now.Stream.Incarnation)
	}
	return nil
}

// Settle returns when every generation that was replaced is closed, for which nobody
// may read in it any more, or with the context's error. Before that its directory must
// stay.
func (h *Host) Settle(ctx context.Context) error {
	for {
		h.mu.Lock()
		if len(h.retired) == 0 {
			h.mu.Unlock()
			return nil
		}
		first := h.retired[0]
		h.mu.Unlock()
		if err := first.readers.drain(ctx); err != nil {
			return fmt.Errorf("wait for who reads in the index before: %w", err)
		}
		h.mu.Lock()
		mine := len(h.retired) > 0 && h.retired[0] == first
		if mine {
			h.retired = h.retired[1:]
		}
		h.mu.Unlock()
		if mine {
			if err := first.Close(); err != nil {
				return fmt.Errorf("close the index before: %w", err)
			}
		}
	}
}

// Close closes every generation. Run must have ended, and no reader may be left.
func (h *Host) Close() error {
	h.mu.Lock()
	errs := []error{h.current.Close()}
	for _, r := range h.retired {
		errs = append(errs, r.Close())
	}
	h.retired = nil
	h.mu.Unlock()
	return errors.Join(errs...)
}
