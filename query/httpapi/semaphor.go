package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/semaphor"
)

const semaphorPath = "/api/management/v1/projects/{projectId}/unified-security/assignments"

func semaphorProblem(b []byte, _ string, p *query.Error) []byte { return semaphor.AppendError(b, p) }

// semaphorAssignments answers GET on semaphorPath with all assignments of a
// project, which may be any number.
func (s *Server) semaphorAssignments(x *exchange) {
	page, err := s.semaphorSnapshot(x)
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	a := semaphorAnswer{lister: s.lister, x: x, at: page, sel: listing.Selector{Tenant: x.tenant, Kinds: events.Kinds}}
	x.out = append(x.out[:0], semaphor.Begin...)
	if err := a.read(x.r.Context()); err != nil {
		place := s.lister.Place()
		x.place(place.Seq, place.Stream)
		s.refuse(x, err)
		return
	}
	if !a.more {
		x.send(http.StatusOK, typeJSON, append(x.out, semaphor.End...))
		return
	}
	s.stream(x, func() (more bool, err error) {
		x.out = x.out[:0]
		if err := a.read(x.r.Context()); err != nil {
			return false, err
		}
		if !a.more {
			x.out = append(x.out, semaphor.End...)
		}
		return a.more, nil
	})
}

func (s *Server) semaphorSnapshot(x *exchange) (query.Page, error) {
	if !s.ready.caughtUp() {
		return s.lister.Place(), notCaughtUp()
	}
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return s.lister.Place(), err
	}
	when := query.When{Stream: stream}
	if err := query.ParseParameters(x.r.URL.RawQuery, nil, &when); err != nil {
		return s.lister.Place(), err
	}
	return s.lister.Snapshot(x.r.Context(), when)
}

// A piece of the answer ends after the row with which it reaches one of these.
// Together with the largest row they bound the memory of an answer, however many
// rows it has: a view of the index is open for the time of a piece only.
const (
	pieceRows     = 512
	pieceBytes    = 256 << 10 // of JSON
	pieceResolved = 4 << 20   // bytes of the records of entities that the rows bring along
)

// errPieceFull ends the reading of a piece before pieceRows.
var errPieceFull = errors.New("the piece is full")

// semaphorAnswer adds items to x.out, piece by piece.
type semaphorAnswer struct {
	lister *query.Lister
	x      *exchange
	at     query.Page // the snapshot
	sel    listing.Selector
	begun  bool             // an item was added
	last   listing.Position // of the last one
	more   bool             // there are, or may be, items behind it
}

// read adds one piece. What it added before an error must not be sent.
func (a *semaphorAnswer) read(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var after *listing.Position
	if a.begun {
		from := a.last
		after = &from
	}
	page, err := a.lister.Assignments(ctx, a.at.Seq, a.sel, after, pieceRows, a.add)
	a.more = page.More
	if errors.Is(err, errPieceFull) {
		a.more, err = true, nil // the piece behind it finds out, and whether the floor has passed this one
	}
	if err == nil && a.lister.Place().Stream != a.at.Stream {
		return &query.Error{Code: query.StreamChanged, Detail: "the stream was replaced while the answer was sent"}
	}
	return err
}

func (a *semaphorAnswer) add(row *listing.Assignment) error {
	item, err := semaphor.ItemOf(a.sel.Tenant, row)
	if err != nil {
		return err
	}
	if a.begun {
		a.x.out = append(a.x.out, ',')
	}
	if a.x.out, err = item.Append(a.x.out); err != nil {
		return err
	}
	a.begun, a.last = true, listing.Position{Assignee: row.Assignee, EntID: row.EntID}
	if len(a.x.out) >= pieceBytes || row.Resolved() >= pieceResolved {
		return errPieceFull
	}
	return nil
}

// stream sends an answer of any length: what is in x.out, and then what each call
// of next leaves there. It does not return when the answer cannot be sent whole:
// the connection ends, so that half an answer never looks whole.
func (s *Server) stream(x *exchange, next func() (more bool, err error)) {
	h := x.w.Header()
	h["Content-Type"], h["Cache-Control"] = typeJSON, noStore
	x.status = http.StatusOK
	control := http.NewResponseController(x.w)
	for more := true; ; {
		// The server's limits are for whole requests, this one may take hours. A client
		// that takes its pieces in time may have more; the limit on reading is moved
		// since net/http gives up a request when that is over.
		until := time.Now().Add(s.streamWait)
		err := errors.Join(control.SetWriteDeadline(until), control.SetReadDeadline(until))
		if err == nil {
			err = s.limits.reads.Pause(func() error {
				_, err := x.w.Write(x.out)
				return err
			})
		}
		if err != nil {
			x.status = statusClientGone
			panic(http.ErrAbortHandler)
		}
		if !more {
			return
		}
		if more, err = next(); err != nil {
			s.abort(x, err)
		}
	}
}

// abort ends the connection of an answer that has begun. Metrics and the log tell
// the status that it would have had.
func (s *Server) abort(x *exchange, err error) {
	problem, refused := errors.AsType[*query.Error](err)
	switch {
	case refused:
		x.status = kinds[problem.Code].status
	case x.r.Context().Err() != nil && errors.Is(err, context.Canceled):
		x.status = statusClientGone
	default:
		s.log.Error().Err(err).Str("route", x.route.name).Msg("a request failed")
		x.status = http.StatusInternalServerError
	}
	panic(http.ErrAbortHandler)
}
