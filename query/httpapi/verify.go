package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"

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

const verifyPath = "/api/verify"

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

	return s.long(x, "a verification", func(ctx context.Context, tell func(audit.Progress)) (any, error) {
		return s.opts.Verifier.Verify(ctx, req.At, req.Rebuild, tell)
	}, verifyError)
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
