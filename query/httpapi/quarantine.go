package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/quarantine"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// Quarantine is why messages could not be applied. It may be used from any
// goroutine.
type Quarantine interface {
	// Quarantine visits at most limit messages at a sequence of the index, after one
	// of them, and looks at no more than budget of any tenant.
	Quarantine(ctx context.Context, at uint64, sel quarantine.Selector, after uint64, limit, budget int,
		visit func(seq uint64, q *rows.Quarantined) error) (quarantine.Page, error)
	// Quarantined gives one message, or nil when there is none.
	Quarantined(at uint64, sel quarantine.Selector, seq uint64) (*rows.Quarantined, error)
}

// Settler reads and settles messages in the stream. It may be used from any
// goroutine.
type Settler interface {
	// Stored gives the message at a sequence and the time that the stream stamped it
	// with, or ErrGone.
	Stored(ctx context.Context, seq uint64) (events.Message, time.Time, error)
	// Settle publishes events of a tenant, in order, and returns when the stream has
	// acknowledged them, with the last sequence. Where the stream can, it stores all or
	// none. One whose id was published lately is not stored again; repeated says that
	// this was so with every one.
	Settle(ctx context.Context, tenant string, all []Settlement) (last uint64, repeated bool, err error)
}

// ErrGone is returned by Settler.Stored for a sequence that the stream does not
// hold, or not any more.
var ErrGone = errors.New("the message is not in the stream")

// Settlement is an event that settles a message in the quarantine.
type Settlement struct {
	Type events.Type // of a bare record; empty: Data is a whole CloudEvents event
	Data []byte
	ID   string // by which a repetition is known
}

// The codes of the quarantine.
const (
	NotAnEvent  query.Code = "not_an_event"
	MessageGone query.Code = "message_gone"
)

const (
	quarantinePath = "/api/quarantine"
	// quarantineBudget is how many messages of any tenant one page looks at.
	quarantineBudget = 20_000
	// maxQuarantinePage and defaultQuarantinePage are numbers of messages.
	maxQuarantinePage     = 1000
	defaultQuarantinePage = 100
)

// addQuarantine adds the routes of the quarantine. Without a stream there are only
// those that read the index.
func (s *Server) addQuarantine() {
	get, post := []string{http.MethodGet}, []string{http.MethodPost}
	s.routes[quarantinePath] = s.quarantineRoute("quarantine", get, s.listQuarantine)
	one := func(suffix, name string, methods []string, serve func(x *exchange) error) *route {
		r := s.quarantineRoute(name, methods, serve)
		s.templates = append(s.templates, newTemplate(quarantinePath+"/{seq}"+suffix, r))
		return r
	}
	one("", "quarantine_record", get, s.showQuarantined)
	if s.opts.Settler != nil {
		one("/message", "quarantine_message", get, s.showMessage).sort = settling
		one("/redrive", "quarantine_redrive", post, s.redrive).sort = settling
		one("/drop", "quarantine_drop", post, s.drop).sort = settling
	}
}

func (s *Server) quarantineRoute(name string, methods []string, serve func(x *exchange) error) *route {
	return &route{name: name, methods: methods, role: apikey.Admin, maxBody: maxIngestBody, serve: func(x *exchange) {
		if err := serve(x); err != nil {
			s.refuse(x, err)
		}
	}}
}

// quarantined is a message in the quarantine as answers tell it.
type quarantined struct {
	Seq uint64 `json:"seq"`
	rows.Quarantined
}

// quarantineAnswer is a page of the quarantine.
type quarantineAnswer struct {
	Next        *uint64       `json:"next"` // the parameter after of the next page; null: this was the last
	Quarantined []quarantined `json:"quarantined"`
}

// listQuarantine answers GET /api/quarantine.
func (s *Server) listQuarantine(x *exchange) error {
	req, at, err := s.openQuarantine(x, "limit", "after", "code")
	if err != nil {
		return err
	}
	answer := quarantineAnswer{Quarantined: []quarantined{}}
	page, err := s.opts.Quarantine.Quarantine(x.r.Context(), at, req.sel, req.after, req.limit, quarantineBudget,
		func(seq uint64, q *rows.Quarantined) error {
			answer.Quarantined = append(answer.Quarantined, quarantined{seq, *q})
			return nil
		})
	if err != nil {
		return quarantineError(err)
	}
	if page.More {
		answer.Next = &page.Last
	}
	return x.sendObject(http.StatusOK, answer)
}

// showQuarantined answers GET /api/quarantine/{seq}.
func (s *Server) showQuarantined(x *exchange) error {
	q, _, err := s.quarantinedAt(x)
	if err != nil {
		return err
	}
	return x.sendObject(http.StatusOK, q)
}

// quarantinedAt gives the message that the path of a request names.
func (s *Server) quarantinedAt(x *exchange) (quarantined, quarantineRequest, error) {
	req, at, err := s.openQuarantine(x)
	if err != nil {
		return quarantined{}, req, err
	}
	seq, known := sequenceInPath(x.segment)
	var q *rows.Quarantined
	if known {
		if q, err = s.opts.Quarantine.Quarantined(at, req.sel, seq); err != nil {
			return quarantined{}, req, quarantineError(err)
		}
	}
	if q == nil { // a stranger's is not told from none
		return quarantined{}, req, &query.Error{
			Code: NotFound, Detail: "the quarantine of this tenant has no message with this sequence, or not any more",
		}
	}
	return quarantined{seq, *q}, req, nil
}

// openQuarantine reads what stands behind the question mark and chooses the
// sequence of the index to read at.
func (s *Server) openQuarantine(x *exchange, filters ...string) (req quarantineRequest, at uint64, err error) {
	place := s.lister.Place()
	x.place(place.Seq, place.Stream)
	if !s.ready.caughtUp() {
		return req, 0, notCaughtUp()
	}
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return req, 0, err
	}
	if req, err = parseQuarantine(x.r.URL.RawQuery, x.tenant, filters); err != nil {
		return req, 0, err
	}
	if req.sel.Tenant == "" && x.caller.Tenant != apikey.AllTenants {
		return req, 0, &query.Error{
			Code: TenantForbidden, Field: "unattributed", Detail: "messages of no tenant are for credentials of all tenants",
		}
	}
	place, err = s.lister.Snapshot(x.r.Context(), query.When{AtLeast: req.atLeast, Stream: stream})
	x.place(place.Seq, place.Stream)
	return req, place.Seq, err
}

// quarantineError turns an error of the index into the answer to it.
func quarantineError(err error) error {
	if errors.Is(err, listing.ErrPruned) {
		return &query.Error{Code: query.NotReached, Detail: "the index moved on while it was read; try again"}
	}
	return err
}
