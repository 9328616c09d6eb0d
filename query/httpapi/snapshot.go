package httpapi

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Snapshotter writes snapshots of the whole index and of the hashed API keys. It may be
// used from any goroutine.
type Snapshotter interface {
	// Snapshot writes one at the last applied sequence. begin is called once, before the
	// first byte, with that sequence and its incarnation, and gives where to write. Its
	// error is a *query.Error for what passes, or wraps listing.ErrReplaced or the
	// context's.
	Snapshot(ctx context.Context, begin func(seq uint64, stream string) io.Writer) error
}

// SnapshotRunning is the code of a request while another one is served.
const SnapshotRunning query.Code = "snapshot_running"

const snapshotPath = "/api/snapshot"

// addSnapshot adds the route of snapshots. It takes no place among the reads: it lasts
// for minutes, and there is one at a time.
func (s *Server) addSnapshot() {
	s.routes[snapshotPath] = &route{
		name: "snapshot", methods: []string{http.MethodGet}, role: apikey.Admin, all: true, sort: following, endless: true,
		serve: func(x *exchange) {
			if err := s.snapshot(x); err != nil {
				s.refuse(x, err)
			}
		},
	}
}

// snapshot answers GET /api/snapshot. Its error is that of a request of which nothing
// was answered yet.
func (s *Server) snapshot(x *exchange) error {
	place := s.lister.Place()
	x.place(place.Seq, place.Stream)
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return err
	}
	if err := refuseParameters(x.r.URL.RawQuery); err != nil {
		return err
	}
	if place, err = s.snapshotInPlace(x.r.Context(), query.When{Stream: stream}); err != nil {
		x.place(place.Seq, place.Stream)
		return err
	}
	if !s.snapshots.TryLock() {
		return &query.Error{Code: SnapshotRunning, Detail: "one snapshot is written at a time; ask again when it has ended"}
	}
	defer s.snapshots.Unlock()

	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	stop := context.AfterFunc(s.watches.stop, cancel)
	defer stop()
	w := &snapshotWriter{x: x, http: http.NewResponseController(x.w), timeout: s.streamWait}
	err = s.opts.Snapshotter.Snapshot(ctx, w.begin)
	switch {
	case err == nil:
		return nil
	case !w.begun && ctx.Err() != nil && x.r.Context().Err() == nil:
		return &query.Error{Code: query.NotReady, Detail: "the server stops; ask again"}
	case !w.begun:
		return err
	case ctx.Err() == nil && !w.failed:
		s.log.Error().Err(err).Str("caller", x.caller.Name).Msg("a snapshot failed")
	default:
		s.log.Debug().Err(err).Str("caller", x.caller.Name).Msg("a snapshot was cut off")
	}
	panic(http.ErrAbortHandler) // half a snapshot must not look whole
}

// refuseParameters refuses what stands behind the question mark.
func refuseParameters(raw string) error {
	params, err := url.ParseQuery(raw)
	if err != nil {
		return &query.Error{Code: query.InvalidField, Detail: "the part behind the question mark is not percent-encoded"}
	}
	if names := slices.Sorted(maps.Keys(params)); len(names) > 0 {
		return &query.Error{Code: query.UnknownField, Field: query.ClipName(names[0]), Detail: "there are no parameters here"}
	}
	return nil
}

// snapshotWriter sends a snapshot. It belongs to the goroutine that serves the request.
type snapshotWriter struct {
	x       *exchange
	http    *http.ResponseController
	timeout time.Duration // for a client to take a piece
	begun   bool
	failed  bool // to send
}

func (w *snapshotWriter) begin(seq uint64, stream string) io.Writer {
	w.begun = true
	w.x.place(seq, stream)
	h := w.x.w.Header()
	h["Content-Type"], h["Cache-Control"] = typeBytes, noStore
	w.x.status = http.StatusOK
	return w
}

// Write is part of io.Writer.
func (w *snapshotWriter) Write(piece []byte) (n int, err error) {
	// The request was read, and its answer takes longer than requests may.
	err = errors.Join(w.http.SetReadDeadline(time.Time{}), w.http.SetWriteDeadline(time.Now().Add(w.timeout)))
	if err == nil {
		n, err = w.x.w.Write(piece)
	}
	if err == nil {
		err = w.http.Flush()
	}
	w.failed = err != nil
	return n, err
}
