package httpapi

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/query"
)

// readiness knows whether the index has first caught up: whether it has applied
// all that was in the stream when its end was first seen. From then on it is
// caught up for good; how far behind it is at any moment is the lag.
type readiness struct {
	lag      func(now time.Time) query.Lag
	maxLag   time.Duration   // 0: any
	troubles func() []string // nil: none

	done   atomic.Bool // caught up
	mu     sync.Mutex  // guards what follows
	seen   bool        // target is set
	target uint64      // the stream's end when it was first seen
}

func (r *readiness) caughtUp() bool {
	if r.done.Load() {
		return true
	}
	r.observe(r.lag(time.Now()))
	return r.done.Load()
}

func (r *readiness) observe(l query.Lag) {
	if r.done.Load() || !l.Known {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.seen {
		r.seen, r.target = true, l.Head
	}
	if l.Applied >= r.target {
		r.done.Store(true)
	}
}

// report is what /readyz says of the index, in both of its forms.
type report struct {
	Applied      uint64   `json:"applied"`
	Head         *uint64  `json:"head"` // null: not seen yet
	LagSequences *uint64  `json:"lag_sequences"`
	LagSeconds   float64  `json:"lag_seconds"`
	Troubles     []string `json:"troubles"`
}

func (r *readiness) report(l query.Lag) report {
	rep := report{Applied: l.Applied, LagSeconds: l.Age.Seconds(), Troubles: []string{}}
	if l.Known {
		rep.Head, rep.LagSequences = &l.Head, &l.Sequences
	}
	if r.troubles != nil {
		rep.Troubles = append(rep.Troubles, r.troubles()...)
	}
	return rep
}

// readyz answers probes. Not ready is a problem with the report's members
// beside its own.
func (s *Server) readyz(x *exchange) {
	l := s.ready.lag(time.Now())
	s.ready.observe(l)
	rep, err := json.Marshal(s.ready.report(l))
	if err != nil {
		s.refuse(x, err)
		return
	}
	var problem *query.Error
	switch {
	case !s.ready.done.Load():
		problem = &query.Error{Code: query.NotReady, Detail: "the index has not caught up with its stream yet"}
	case s.ready.maxLag > 0 && l.Age > s.ready.maxLag:
		problem = &query.Error{Code: Lagging, Detail: "the index is further behind its stream than allowed"}
	}
	if problem != nil {
		s.refuseWith(x, problem, rep)
		return
	}
	x.out = append(append(append(x.out[:0], `{"status":"ready",`...), rep[1:]...), '\n')
	x.send(http.StatusOK, typeJSON, x.out)
}

// livez answers that the process serves.
func (s *Server) livez(x *exchange) {
	x.send(http.StatusOK, typeText, append(x.out[:0], "ok\n"...))
}
