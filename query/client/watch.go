package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
)

// WatchRequest picks which changes to follow.
type WatchRequest struct {
	ChangesRequest
	// Retry is told why a connection ended and how long the watch waits before it
	// connects again; nil: nobody is.
	Retry func(err error, wait time.Duration)
}

// Watch follows changes. It may be used by one goroutine, but for Position, which any
// may call.
type Watch struct {
	client *Client
	req    WatchRequest
	begun  bool // a server has answered: the position is one that was told

	mu       sync.Mutex // guards what follows
	position string
	stream   string
}

// watchSilence is how long a connection without a sign of life is believed in. The
// server sends one every 15 seconds.
const watchSilence = 45 * time.Second

// Watch makes a watch. Nothing is asked before All.
func (c *Client) Watch(r WatchRequest) *Watch {
	return &Watch{client: c, req: r, position: r.Since, stream: r.Stream}
}

// Position gives where to go on, and the incarnation of the stream that it is of:
// behind every change that All's caller has taken. Both are as the request has them
// until the server has answered.
func (w *Watch) Position() (position, stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.position, w.stream
}

func (w *Watch) moveTo(position, stream string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.position, w.stream = position, stream
}

// All gives every change as it is applied, each once and in order. It connects again
// and goes on where it was when the connection or the server is lost, for as long as
// it takes, unless Options.Retries is negative. It ends with an error when the context
// ends or trying again is of no use, such as an *Error with status 410 when the
// position is not in the server's history any more.
func (w *Watch) All(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for attempt := 0; ; attempt++ {
			end := w.connect(ctx, yield)
			if end.stopped {
				return
			}
			if ctx.Err() != nil {
				end.err, end.again = ctx.Err(), false
			}
			if !end.again || w.client.opts.Retries < 0 {
				yield(Change{}, end.err)
				return
			}
			if end.moved {
				attempt = 0
			}
			wait := end.wait
			if wait <= 0 {
				wait = firstWait << min(attempt, maxDoublings)
			}
			wait = min(wait, w.client.opts.MaxWait)
			if w.req.Retry != nil {
				w.req.Retry(end.err, wait)
			}
			if err := w.client.wait(ctx, wait); err != nil {
				yield(Change{}, err)
				return
			}
		}
	}
}

// ending is how a connection ended.
type ending struct {
	err     error
	again   bool          // connecting again may help
	wait    time.Duration // how long the server asks to be left alone; 0: it does not say
	moved   bool          // events came
	stopped bool          // the caller has enough
}

// connect follows one connection.
func (w *Watch) connect(ctx context.Context, yield func(Change, error) bool) ending {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(w.client.silence, func() { cancel(errSilent) })
	defer silence.Stop()

	res, end := w.open(ctx)
	if res == nil {
		return w.because(ctx, end)
	}
	defer func() { _ = res.Body.Close() }() // given up
	events := eventReader{bufio.NewReader(res.Body)}
	for moved := false; ; moved = true {
		e, err := events.next(func() { silence.Reset(w.client.silence) })
		if err != nil {
			end := ending{err: fmt.Errorf("read the next change: %w", err), again: !errors.Is(err, ErrMalformed), moved: moved}
			return w.because(ctx, end)
		}
		silence.Stop() // the caller may take its time
		if end := w.take(e, yield); end != nil {
			end.moved = moved
			return *end
		}
		silence.Reset(w.client.silence)
	}
}

var errSilent = errors.New("the server gave no sign of life")

// because names the silence as the cause of an ending that it caused.
func (w *Watch) because(ctx context.Context, end ending) ending {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		end.err, end.again = cause, true
	}
	return end
}

// take takes an event. It gives how the connection ends when it does.
func (w *Watch) take(e event, yield func(Change, error) bool) *ending {
	_, stream := w.Position()
	switch e.name {
	case "change":
		change, err := parseChange(e.data)
		if err == nil {
			_, err = parsePosition(change.Next)
		}
		if err != nil {
			return &ending{err: err}
		}
		if !yield(change, nil) {
			w.moveTo(change.Next, stream)
			return &ending{stopped: true}
		}
		w.moveTo(change.Next, stream)
	case "heartbeat":
		var beat struct {
			Seq *uint64 `json:"seq"`
		}
		if err := json.Unmarshal(e.data, &beat); err != nil || beat.Seq == nil {
			return &ending{err: malformed("a heartbeat names no sequence", err)}
		}
		w.moveTo(strconv.FormatUint(*beat.Seq, 10), stream)
	case "error":
		problem := &Error{}
		if err := json.Unmarshal(e.data, problem); err != nil || problem.Status == 0 {
			return &ending{err: malformed("an error is no problem", err)}
		}
		return &ending{err: problem, again: passing(problem.Status)}
	}
	return nil // and what a later server may send beside these
}

// passing reports whether a status may be another one soon.
func passing(status int) bool {
	return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// open connects where the watch is. Without an answer it gives why.
func (w *Watch) open(ctx context.Context) (*http.Response, ending) {
	position, stream := w.Position()
	params := w.req.ChangesRequest
	params.Since = position
	if seq, err := parsePosition(position); err == nil && w.begun {
		params.AtLeast = max(params.AtLeast, seq) // a replica may be behind the one before
	}
	req, err := w.client.request(ctx, http.MethodGet, w.client.watch+"?"+params.parameters().Encode(), stream, nil)
	if err != nil {
		return nil, ending{err: err}
	}
	endless := *w.client.opts.HTTP
	endless.Timeout = 0 // silence has its own
	res, err := endless.Do(req)
	if err != nil {
		return nil, ending{err: err, again: true}
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }() // read to its end, or given up
		content, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, ending{err: fmt.Errorf("read the answer: %w", err), again: true}
		}
		return nil, ending{err: problem(res, content), again: passing(res.StatusCode), wait: w.client.retryAfter(res.Header)}
	}
	seq, stream, err := answer{header: res.Header}.place()
	if err != nil {
		_ = res.Body.Close() // it is another service's
		return nil, ending{err: err}
	}
	if position == "" {
		position = strconv.FormatUint(seq, 10)
	}
	w.begun = true
	w.moveTo(position, stream)
	return res, ending{}
}
