package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/assigndex/assigndex/query"
)

// WatchOptions bound what watches cost. A zero field is its default.
type WatchOptions struct {
	Max          int           // watches at a time; 0: 1,000
	WriteTimeout time.Duration // how long a client may take to read a page; 0: 10 s
	Silence      time.Duration // after which a heartbeat is sent; 0: 15 s
	Progress     time.Duration // at least between heartbeats that tell of sequences passed over; 0: 1 s
}

func (o WatchOptions) withDefaults() WatchOptions {
	return WatchOptions{
		Max: cmp.Or(o.Max, 1_000), WriteTimeout: cmp.Or(o.WriteTimeout, 10*time.Second),
		Silence: cmp.Or(o.Silence, 15*time.Second), Progress: cmp.Or(o.Progress, time.Second),
	}
}

const (
	// A page of a watch is all that is held for a client that reads slowly.
	watchPageChanges = 500
	watchPageBytes   = 256 << 10 // of rows, or a single larger one
	// watchFarewell is how long a write under way may take when the server stops.
	watchFarewell = time.Second
	// watchAdmitEvery is how often credentials are looked at again.
	watchAdmitEvery = time.Second
)

// watches are those of a server.
type watches struct {
	opts   WatchOptions
	active atomic.Int64
	stop   context.Context //nolint:containedctx // ends when the server stops
	end    context.CancelFunc
}

func newWatches(o WatchOptions) *watches {
	stop, end := context.WithCancel(context.Background())
	return &watches{opts: o.withDefaults(), stop: stop, end: end}
}

// watch answers GET /api/watch. It lasts until the client leaves, the server stops
// or the watch fails.
func (s *Server) watch(x *exchange) {
	w := &watch{server: s, x: x, http: http.NewResponseController(x.w), opts: s.watches.opts}
	defer s.watches.active.Add(-1)
	page := query.ChangePage{Page: s.lister.Place()}
	var err error
	if s.watches.active.Add(1) > int64(s.watches.opts.Max) {
		err = &query.Error{Code: TooManyWatches, Detail: "the server has as many watches as it takes; try again later, or ask for pages of changes"}
	} else {
		page, err = w.reading(x.r.Context(), w.first)
	}
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	s.metrics.inFlight.Dec() // it is counted by itself
	defer s.metrics.inFlight.Inc()
	s.metrics.watches.Inc()
	defer s.metrics.watches.Dec()
	if err := w.follow(page); err != nil {
		s.log.Debug().Err(err).Str("caller", x.caller.Name).Msg("a watch was cut off")
		panic(http.ErrAbortHandler) // nobody reads, or not fast enough
	}
}

// watch is one client that follows changes. It belongs to the goroutine that serves
// the request.
type watch struct {
	server *Server
	x      *exchange
	http   *http.ResponseController
	opts   WatchOptions

	req      query.ChangesRequest
	told     uint64    // the last sequence that the client was given as an id
	unknown  bool      // it was given none yet
	wrote    time.Time // when anything was last sent
	progress time.Time // when the last heartbeat was
	admitted time.Time // when the credentials were last looked at
}

// first reads the first page into x.out, so that what is wrong with the request is an
// ordinary answer.
func (w *watch) first() (query.ChangePage, error) {
	s, x := w.server, w.x
	page := query.ChangePage{Page: s.lister.Place()}
	if !s.ready.caughtUp() {
		return page, notCaughtUp()
	}
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return page, err
	}
	last, resumed, err := single(x.r.Header, headerLastEvent)
	if err != nil {
		return page, err
	}
	req, given, err := query.ParseWatch(x.r.URL.RawQuery)
	if err != nil {
		return page, err
	}
	if resumed {
		req.Earliest = false
		if req.Since, given = query.ParsePosition(last); !given {
			return page, invalidHeader(headerLastEvent, "must be the id of an event, or a position as an event has it in next")
		}
	}
	req.Filter.Stream = stream
	req.Filter.PageSize, req.MaxBytes = min(watchPageChanges, s.maxPageSize), watchPageBytes
	if !given {
		now, err := s.lister.Snapshot(x.r.Context(), query.When{AtLeast: req.Filter.AtLeast, Stream: stream})
		if err != nil {
			return query.ChangePage{Page: now}, err
		}
		req.Since = query.Position{Seq: now.Seq}
	}
	w.req, w.unknown = req, true
	return w.read(x.r.Context())
}

// read reads a page of events into x.out and moves on behind it.
func (w *watch) read(ctx context.Context) (query.ChangePage, error) {
	x := w.x
	x.out = x.out[:0]
	page, err := w.server.lister.Changes(ctx, x.tenant, &w.req, func(c *query.Change) {
		x.out = appendEvent(x.out, c)
		if c.Next.N == 0 {
			w.told, w.unknown = c.Next.Seq, false
		}
	})
	if err == nil {
		// A stream that is replaced must not be taken for this one.
		w.req.Since, w.req.Earliest, w.req.Filter.Stream, w.req.Filter.AtLeast = page.Next, false, page.Stream, 0
	}
	return page, err
}

// follow sends the page that was read, and those that follow. Its error is that of
// writing: everything else is told to the client.
func (w *watch) follow(page query.ChangePage) error {
	ctx, cancel := context.WithCancel(w.x.r.Context())
	defer cancel()
	stop := context.AfterFunc(w.server.watches.stop, cancel)
	defer stop()
	if err := w.open(); err != nil {
		return err
	}
	end := w.interruptible(ctx)
	defer end()
	for {
		err := w.send(ctx, page.More)
		if err != nil {
			if ctx.Err() != nil && w.x.r.Context().Err() == nil {
				return nil // the server stops
			}
			return err
		}
		if !page.More {
			err = w.wait(ctx, page.Seq)
		}
		if err == nil && ctx.Err() == nil {
			page, err = w.next(ctx)
		}
		if ctx.Err() != nil {
			return nil // the client has gone, or the server stops
		}
		if err != nil {
			return w.fail(ctx, err)
		}
	}
}

// next reads the next page, for a caller who may still read it.
func (w *watch) next(ctx context.Context) (page query.ChangePage, err error) {
	if now := time.Now(); now.Sub(w.admitted) >= watchAdmitEvery {
		w.admitted = now
		if err := w.server.admit(w.x); err != nil {
			return page, err
		}
	}
	return w.reading(ctx, func() (query.ChangePage, error) { return w.read(ctx) })
}

// reading reads in a place among the reads, which a watch waits for like any of them,
// but is not turned away.
func (w *watch) reading(ctx context.Context, read func() (query.ChangePage, error)) (query.ChangePage, error) {
	reads := w.server.limits.reads
	if err := reads.EnterAnyway(ctx); err != nil {
		return query.ChangePage{Page: w.server.lister.Place()}, err
	}
	defer reads.Leave()
	return read()
}

// open begins the answer. Its parts have time limits of their own.
func (w *watch) open() error {
	x := w.x
	h := x.w.Header()
	h["Content-Type"] = typeEvents
	h["Cache-Control"] = noStore
	x.status = http.StatusOK
	w.wrote, w.admitted = time.Now(), time.Now()
	return w.http.SetReadDeadline(time.Time{})
}

// interruptible lets a write that blocks end soon after ctx has ended. The function
// that it gives must be called before the answer ends.
func (w *watch) interruptible(ctx context.Context) (end func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = w.http.SetWriteDeadline(time.Now().Add(watchFarewell)) // otherwise the write has its own
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// send sends the events in x.out, and a heartbeat when it is time for one.
func (w *watch) send(ctx context.Context, more bool) error {
	x, now := w.x, time.Now()
	passed := w.unknown || w.req.Since.Seq > w.told
	switch {
	case w.req.Since.N == 0 && passed && (w.unknown && !more || now.Sub(w.progress) >= w.opts.Progress),
		w.req.Since.N == 0 && len(x.out) == 0 && now.Sub(w.wrote) >= w.opts.Silence:
		x.out = appendHeartbeat(x.out, w.req.Since.Seq)
		w.told, w.unknown, w.progress = w.req.Since.Seq, false, now
	case len(x.out) == 0 && now.Sub(w.wrote) >= w.opts.Silence:
		x.out = append(x.out, ":\n\n"...) // a comment: there is no sequence to name inside of one
	}
	if len(x.out) == 0 {
		return nil
	}
	return w.write(ctx)
}

// write sends what is in x.out, and keeps no large buffer.
func (w *watch) write(ctx context.Context) error {
	if err := w.http.SetWriteDeadline(time.Now().Add(w.opts.WriteTimeout)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // interruptible has come before
	}
	_, err := w.x.w.Write(w.x.out)
	if err == nil {
		err = w.http.Flush()
	}
	w.wrote = time.Now()
	if cap(w.x.out) > maxIdle {
		w.x.out = nil
	}
	return err
}

// maxIdle bounds the buffer that a watch keeps while it waits.
const maxIdle = 16 << 10

// wait waits for a sequence after seq, or until the next heartbeat is due.
func (w *watch) wait(ctx context.Context, seq uint64) error {
	due := w.wrote.Add(w.opts.Silence)
	if w.req.Since.Seq > w.told {
		if soon := w.progress.Add(w.opts.Progress); soon.Before(due) {
			due = soon
		}
	}
	waiting, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	err := w.server.opts.Index.Wait(waiting, seq+1)
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return nil
	}
	return err
}

// fail tells the client why the watch ends.
func (w *watch) fail(ctx context.Context, err error) error {
	problem, ok := errors.AsType[*query.Error](err)
	if !ok {
		w.server.log.Error().Err(err).Str("route", w.x.route.name).Msg("a watch failed")
		problem = internal()
	}
	k := kinds[problem.Code]
	w.x.out = append(w.x.out[:0], "event: error\ndata: "...)
	w.x.out = append(appendProblem(w.x.out, k, problem), "}\n\n"...)
	return w.write(ctx)
}
