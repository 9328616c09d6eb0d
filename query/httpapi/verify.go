package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Verifier checks the whole index. It may be used from any goroutine.
type Verifier interface {
	// Verify verifies the index at a sequence, nil for the last applied one, and
	// compares it with one built afresh when rebuild says so. Differences are in the
	// report. It tells its progress in the calling goroutine. Its error wraps
	// audit.ErrRunning, audit.ErrCannotRebuild, listing.ErrPruned or the context's.
	Verify(ctx context.Context, at *uint64, rebuild bool, progress func(audit.Progress)) (*audit.Report, error)
}

// The codes of verifications.
const (
	VerificationRunning query.Code = "verification_running"
	CannotRebuild       query.Code = "cannot_rebuild"
)

const (
	verifyPath = "/api/verify"
	// verifyTells is how often the progress is told.
	verifyTells = time.Second
)

// addVerify adds the route of verifications. It takes no place among the reads: it
// lasts for minutes, and there is one at a time.
func (s *Server) addVerify() {
	s.routes[verifyPath] = &route{
		name: "verify", methods: []string{http.MethodPost}, role: apikey.Admin, all: true, sort: following, endless: true,
		serve: func(x *exchange) {
			if err := s.verify(x); err != nil {
				s.refuse(x, err)
			}
		},
	}
}

// verifyRequest is the body of a request.
type verifyRequest struct {
	At      *uint64 `json:"at"`
	Rebuild bool    `json:"rebuild"`
}

// verify answers POST /api/verify. Its error is that of a request of which nothing
// was answered yet.
func (s *Server) verify(x *exchange) error {
	place := s.lister.Place()
	x.place(place.Seq, place.Stream)
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return err
	}
	if err := x.readJSON(); err != nil {
		return err
	}
	var req verifyRequest
	if len(x.in) > 0 {
		if err := readMembers(x.in, &req, "nothing, or an object with at and rebuild"); err != nil {
			return err
		}
	}
	when := query.When{Stream: stream}
	if req.At != nil {
		when.AtLeast = *req.At
	}
	if place, err = s.snapshotInPlace(x.r.Context(), when); err != nil {
		x.place(place.Seq, place.Stream)
		return err
	}
	x.place(cmp.Or(when.AtLeast, place.Seq), place.Stream) // the report names what is verified, which may be later by then

	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	stop := context.AfterFunc(s.watches.stop, cancel)
	defer stop()
	w := &verifyWriter{x: x, http: http.NewResponseController(x.w), timeout: s.streamWait, cancel: cancel}
	report, err := s.opts.Verifier.Verify(ctx, req.At, req.Rebuild, w.progress)
	if w.failed != nil {
		s.log.Debug().Err(w.failed).Str("caller", x.caller.Name).Msg("a verification was cut off")
		panic(http.ErrAbortHandler) // nobody reads
	}
	if err == nil {
		w.line(verifyLine{Report: report})
		return nil
	}
	if ctx.Err() != nil && x.r.Context().Err() == nil {
		err = &query.Error{Code: query.NotReady, Detail: "the server stops; ask again"}
	}
	err = verifyError(err)
	if !w.begun {
		return err
	}
	problem, ok := errors.AsType[*query.Error](err)
	if !ok {
		if x.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		s.log.Error().Err(err).Msg("a verification failed")
		problem = internal()
	}
	w.problem(problem)
	return nil
}

// snapshotInPlace chooses a sequence in a place among the reads, which waiting for one
// gives back for a while.
func (s *Server) snapshotInPlace(ctx context.Context, when query.When) (query.Page, error) {
	if err := s.limits.reads.EnterAnyway(ctx); err != nil {
		return s.lister.Place(), err
	}
	defer s.limits.reads.Leave()
	return s.lister.Snapshot(ctx, when)
}

// verifyError turns an error of a verification into the answer to it.
func verifyError(err error) error {
	switch {
	case errors.Is(err, audit.ErrRunning):
		return &query.Error{Code: VerificationRunning, Detail: "one verification runs at a time; ask again when it has ended"}
	case errors.Is(err, audit.ErrCannotRebuild):
		return &query.Error{Code: CannotRebuild, Detail: err.Error()}
	case errors.Is(err, listing.ErrPruned):
		return &query.Error{
			Code: query.HistoryPruned, Field: "at",
			Detail: "the history window has passed this sequence, before or meanwhile: ask for a later one, or give the server a longer --history",
		}
	}
	return err
}

// verifyLine is one line of an answer: progress, or as the last one a report or a
// problem.
type verifyLine struct {
	Progress *audit.Progress `json:"progress,omitzero"`
	Report   *audit.Report   `json:"report,omitzero"`
}

// verifyWriter writes the lines of an answer. It belongs to the goroutine that serves
// the request.
type verifyWriter struct {
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
func (w *verifyWriter) progress(p audit.Progress) {
	if w.failed != nil || (p.Check == w.check && time.Since(w.told) < verifyTells) {
		return
	}
	w.check = p.Check
	w.line(verifyLine{Progress: &p})
}

func (w *verifyWriter) line(l verifyLine) {
	text, err := json.Marshal(l)
	if err != nil {
		w.fail(err)
		return
	}
	w.write(text)
}

// problem writes the last line of an answer that failed.
func (w *verifyWriter) problem(p *query.Error) {
	line := appendProblem([]byte(`{"error":`), kinds[p.Code], p)
	w.write(slices.Concat(line, []byte("}}")))
}

func (w *verifyWriter) write(line []byte) {
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

// fail ends the verification: nobody would read what it finds.
func (w *verifyWriter) fail(err error) {
	w.failed = err
	w.cancel()
}
