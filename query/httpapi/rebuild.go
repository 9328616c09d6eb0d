package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/rebuilt"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Rebuilder makes the index again from its stream. It may be used from any goroutine.
type Rebuilder interface {
	// Rebuild builds a fresh index, compares the two and swaps them. It tells its progress
	// in the calling goroutine. Its error wraps one of package rebuilt's or the context's;
	// with a report beside it the swap was done.
	Rebuild(ctx context.Context, req rebuilt.Request, progress func(audit.Progress)) (*rebuilt.Report, error)
	// BuildUntil builds an index as it was, in a data directory of its own, and leaves the
	// one that is served alone.
	BuildUntil(ctx context.Context, u rebuilt.Until, progress func(audit.Progress)) (*rebuilt.UntilReport, error)
}

// RebuildRunning is the code of a rebuild that is refused for another one.
const RebuildRunning query.Code = "rebuild_running"

const rebuildPath = "/api/rebuild"

// addRebuild adds the route of rebuilds. Like a verification it takes no place among
// the reads.
func (s *Server) addRebuild() {
	s.routes[rebuildPath] = &route{
		name: "rebuild", methods: []string{http.MethodPost}, role: apikey.Admin, all: true, sort: following, endless: true,
		serve: func(x *exchange) {
			if err := s.rebuild(x); err != nil {
				s.refuse(x, err)
			}
		},
	}
}

// rebuildRequest is the body of a request.
type rebuildRequest struct {
	RequireEqual bool    `json:"require_equal"`
	Until        *string `json:"until"`
}

// rebuild answers POST /api/rebuild. An index that never had a stream can be rebuilt as
// well as any other.
func (s *Server) rebuild(x *exchange) error {
	place := s.lister.Place()
	x.place(place.Seq, place.Stream)
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return err
	}
	if stream != "" && stream != place.Stream {
		return &query.Error{Code: query.StreamChanged, Detail: "the request is for another incarnation of the stream"}
	}
	if err := x.readJSON(); err != nil {
		return err
	}
	var req rebuildRequest
	if len(x.in) > 0 {
		if err := readMembers(x.in, &req, "nothing, or an object with require_equal and until"); err != nil {
			return err
		}
	}
	if req.Until == nil {
		return s.long(x, "a rebuild", func(ctx context.Context, tell func(audit.Progress)) (any, error) {
			report, err := s.opts.Rebuilder.Rebuild(ctx, rebuilt.Request{RequireEqual: req.RequireEqual}, tell)
			if report == nil {
				return nil, err
			}
			if err != nil {
				s.log.Error().Err(err).Msg("the index was rebuilt and swapped, and something failed after that")
			}
			return report, nil
		}, rebuildError)
	}
	until, err := parseUntil(*req.Until)
	if err != nil {
		return err
	}
	if req.RequireEqual {
		return &query.Error{
			Code: query.ConflictingFields, Field: "require_equal", Detail: "with until nothing is compared and nothing is swapped; leave one out",
		}
	}
	return s.long(x, "a build", func(ctx context.Context, tell func(audit.Progress)) (any, error) {
		return s.opts.Rebuilder.BuildUntil(ctx, until, tell)
	}, rebuildError)
}

func parseUntil(text string) (rebuilt.Until, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil && seq > 0 {
		return rebuilt.Until{Seq: seq}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && !at.IsZero() {
		return rebuilt.Until{Time: at}, nil
	}
	return rebuilt.Until{}, &query.Error{
		Code: query.InvalidField, Field: "until", Detail: "until must be a sequence of at least 1, or an instant such as 2026-01-31T12:00:00Z (RFC 3339)",
	}
}

// rebuildError turns an error of a rebuild into the answer to it.
func rebuildError(err error) error {
	switch {
	case errors.Is(err, rebuilt.ErrRunning):
		return &query.Error{Code: RebuildRunning, Detail: "one rebuild runs at a time; ask again when it has ended"}
	case errors.Is(err, rebuilt.ErrCannotBuild), errors.Is(err, rebuilt.ErrNoRoom), errors.Is(err, rebuilt.ErrExists):
		return &query.Error{Code: CannotRebuild, Detail: err.Error()}
	}
	return err
}
