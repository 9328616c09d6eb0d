package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// StoredSnapshot is a snapshot in the object store.
type StoredSnapshot struct {
	Name    string    `json:"name"`
	Seq     uint64    `json:"seq"`
	Floor   uint64    `json:"floor"` // the lowest sequence that can be read in it
	Stream  string    `json:"stream"`
	Created time.Time `json:"stream_created"`
	Format  int       `json:"format"`
	Fold    int       `json:"fold"`
	Taken   time.Time `json:"taken"`
	Bytes   int64     `json:"bytes"` // as stored
}

// SnapshotStore keeps snapshots. It may be used from any goroutine. Its errors are a
// *query.Error for what passes, or wrap listing.ErrReplaced or the context's.
type SnapshotStore interface {
	// Take takes a snapshot and stores it. It tells how many bytes were stored in the
	// calling goroutine.
	Take(ctx context.Context, progress func(bytes int64)) (StoredSnapshot, error)
	// List gives what is stored, the newest first.
	List(ctx context.Context) ([]StoredSnapshot, error)
}

// The codes of snapshots in the object store.
const (
	NothingApplied         query.Code = "nothing_applied"
	ObjectStoreUnavailable query.Code = "object_store_unavailable"
)

const snapshotsPath = "/api/snapshots"

// addSnapshots adds the routes of snapshots in the object store.
func (s *Server) addSnapshots() {
	s.routes[snapshotsPath] = &route{
		name: "snapshots", methods: []string{http.MethodGet, http.MethodPost}, role: apikey.Admin, all: true, sort: following, endless: true,
		serve: func(x *exchange) {
			serve := s.listSnapshots
			if x.r.Method == http.MethodPost {
				serve = s.takeSnapshot
			}
			if err := s.openSnapshots(x, serve); err != nil {
				s.refuse(x, err)
			}
		},
	}
}

// openSnapshots does what both have in common.
func (s *Server) openSnapshots(x *exchange, serve func(*exchange) error) error {
	place := s.lister.Place()
	x.place(place.Seq, place.Stream)
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return err
	}
	if err := refuseParameters(x.r.URL.RawQuery); err != nil {
		return err
	}
	if x.r.Method == http.MethodPost {
		if err := x.readNothing(); err != nil {
			return err
		}
	}
	place, err = s.snapshotInPlace(x.r.Context(), query.When{Stream: stream})
	x.place(place.Seq, place.Stream)
	if err != nil {
		return err
	}
	return serve(x)
}

// readNothing reads a body that has nothing to say.
func (x *exchange) readNothing() error {
	if err := x.readJSON(); err != nil {
		return err
	}
	if len(x.in) == 0 {
		return nil
	}
	return readMembers(x.in, &struct{}{}, "nothing, or an empty object")
}

// snapshotsAnswer is the answer of GET /api/snapshots.
type snapshotsAnswer struct {
	Snapshots []StoredSnapshot `json:"snapshots"`
}

// listSnapshots answers GET /api/snapshots.
func (s *Server) listSnapshots(x *exchange) error {
	list, err := s.opts.SnapshotStore.List(x.r.Context())
	if err != nil {
		return err
	}
	if list == nil {
		list = []StoredSnapshot{}
	}
	return x.sendObject(http.StatusOK, snapshotsAnswer{list})
}

// snapshotLine is one line of an answer: progress, or as the last one a snapshot.
type snapshotLine struct {
	Progress *snapshotProgress `json:"progress,omitzero"`
	Snapshot *StoredSnapshot   `json:"snapshot,omitzero"`
}

type snapshotProgress struct {
	Bytes int64 `json:"bytes"`
}

// takeSnapshot answers POST /api/snapshots. Its error is that of a request of which
// nothing was answered yet.
func (s *Server) takeSnapshot(x *exchange) error {
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	stop := context.AfterFunc(s.watches.stop, cancel)
	defer stop()
	w := &longWriter{x: x, http: http.NewResponseController(x.w), timeout: s.streamWait, cancel: cancel}
	line := func(l snapshotLine) {
		text, err := json.Marshal(l)
		if err != nil {
			w.fail(err)
			return
		}
		w.write(text)
	}
	stored, err := s.opts.SnapshotStore.Take(ctx, func(bytes int64) {
		if w.failed == nil && time.Since(w.told) >= longTells {
			line(snapshotLine{Progress: &snapshotProgress{bytes}})
		}
	})
	if w.failed != nil {
		s.log.Debug().Err(w.failed).Str("caller", x.caller.Name).Msg("a snapshot was cut off")
		panic(http.ErrAbortHandler) // nobody reads
	}
	if err == nil {
		line(snapshotLine{Snapshot: &stored})
		return nil
	}
	if ctx.Err() != nil && x.r.Context().Err() == nil {
		err = &query.Error{Code: query.NotReady, Detail: "the server stops; ask again"}
	}
	if !w.begun {
		return err
	}
	problem, ok := errors.AsType[*query.Error](err)
	if !ok {
		if x.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		s.log.Error().Err(err).Msg("a snapshot failed")
		problem = internal()
	}
	w.problem(problem)
	return nil
}
