package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/query"
)

// longTells is how often the progress of what lasts long is told.
const longTells = time.Second

// long answers a request with lines: progress while it works, and a report or a
// problem as the last one. The work ends with the request, or when the server stops.
// problemOf turns its error into the answer to it. The error is that of work of which
// nothing was answered yet.
func (s *Server) long(
	x *exchange, what string, work func(ctx context.Context, tell func(audit.Progress)) (report any, err error), problemOf func(error) error,
) error {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	stop := context.AfterFunc(s.watches.stop, cancel)
	defer stop()
	w := &longWriter{x: x, http: http.NewResponseController(x.w), timeout: s.streamWait, cancel: cancel}
	report, err := work(ctx, w.progress)
	if w.failed != nil {
		s.log.Debug().Err(w.failed).Str("caller", x.caller.Name).Msg(what + " was cut off")
		panic(http.ErrAbortHandler) // nobody reads
	}
	if err == nil {
		w.line(longLine{Report: report})
		return nil
	}
	if ctx.Err() != nil && x.r.Context().Err() == nil {
		err = &query.Error{Code: query.NotReady, Detail: "the server stops; ask again"}
	}
	err = problemOf(err)
	if !w.begun {
		return err
	}
	problem, ok := errors.AsType[*query.Error](err)
	if !ok {
		if x.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		s.log.Error().Err(err).Msg(what + " failed")
		problem = internal()
	}
	w.problem(problem)
	return nil
}

// longLine is one line of an answer: progress, or as the last one a report or a
// problem.
type longLine struct {
	Progress *audit.Progress `json:"progress,omitzero"`
	Report   any             `json:"report,omitzero"`
}

// longWriter writes the lines of an answer. It belongs to the goroutine that serves
// the request.
type longWriter struct {
	x       *exchange
	http    *http.ResponseController
	timeout time.Duration // for a client to take a line
	cancel  context.CancelFunc

	begun  bool
	told   time.Time // when the last line was written
	check  string    // that it was about
	failed error     // of writing
}

// progress tells how far the verification is, now and then and at every new check.
func (w *longWriter) progress(p audit.Progress) {
	if w.failed != nil || (p.Check == w.check && time.Since(w.told) < longTells) {
		return
	}
	w.check = p.Check
	w.line(longLine{Progress: &p})
}

func (w *longWriter) line(l longLine) {
	text, err := json.Marshal(l)
	if err != nil {
		w.fail(err)
		return
	}
	w.write(text)
}

// problem writes the last line of an answer that failed.
func (w *longWriter) problem(p *query.Error) {
	line := appendProblem([]byte(`{"error":`), kinds[p.Code], p)
	w.write(slices.Concat(line, []byte("}}")))
}

func (w *longWriter) write(line []byte) {
	if !w.begun {
		w.begun = true
		h := w.x.w.Header()
		h["Content-Type"], h["Cache-Control"] = typeLines, noStore
		w.x.status = http.StatusOK
		// The request was read, and its answer takes longer than requests may.
		if err := w.http.SetReadDeadline(time.Time{}); err != nil {
			w.fail(err)
			return
		}
	}
	if err := w.http.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		w.fail(err)
		return
	}
	_, err := w.x.w.Write(append(line, '\n'))
	if err == nil {
		err = w.http.Flush()
	}
	if err != nil {
		w.fail(err)
	}
	w.told = time.Now()
}

// fail ends the work: nobody would read what it gives.
func (w *longWriter) fail(err error) {
	w.failed = err
	w.cancel()
}
