package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
)

// The codes of this package, beside those of package query.
const (
	Unauthenticated  query.Code = "unauthenticated"
	TenantRequired   query.Code = "tenant_required"
	TenantForbidden  query.Code = "tenant_forbidden"
	RoleForbidden    query.Code = "role_forbidden"
	InvalidHeader    query.Code = "invalid_header"
	NotFound         query.Code = "not_found"
	MethodNotAllowed query.Code = "method_not_allowed"
	RequestTimeout   query.Code = "request_timeout"
	BodyTooLarge     query.Code = "body_too_large"
	UnsupportedMedia query.Code = "unsupported_media_type"
	TooManyWatches   query.Code = "too_many_watches"
	Lagging          query.Code = "lagging"
	Internal         query.Code = "internal"
)

// kind is what all problems of a code have in common.
type kind struct {
	status int
	title  string
}

// kinds is the one place that maps a reason to a status.
var kinds = map[query.Code]kind{
	query.InvalidJSON:       {http.StatusBadRequest, "The body is not a JSON object"},
	query.UnknownField:      {http.StatusBadRequest, "Unknown field"},
	query.InvalidField:      {http.StatusBadRequest, "Invalid value of a field"},
	query.ConflictingFields: {http.StatusBadRequest, "Fields contradict each other"},
	query.InvalidCursor:     {http.StatusBadRequest, "Invalid cursor"},
	query.CursorMismatch:    {http.StatusBadRequest, "The cursor is of another query"},
	query.StreamChanged:     {http.StatusGone, "The stream was replaced"},
	query.HistoryPruned:     {http.StatusGone, "Below the history window"},
	query.BeyondEnd:         {http.StatusGone, "Beyond the end of the stream"},
	query.NotReady:          {http.StatusServiceUnavailable, "Not ready"},
	query.NotReached:        {http.StatusServiceUnavailable, "The sequence was not reached in time"},

	query.TooManyRows: {http.StatusUnprocessableEntity, "Too many rows to count"},
	InvalidItems:      {http.StatusUnprocessableEntity, "No item of the batch is valid"},
	NotAnEvent:        {http.StatusUnprocessableEntity, "Not an event"},
	MessageGone:       {http.StatusGone, "The message is gone"},
	DiskFull:          {http.StatusServiceUnavailable, "The disk is almost full"},
	StreamUnavailable: {http.StatusServiceUnavailable, "The stream does not take events"},

	Unauthenticated:     {http.StatusUnauthorized, "Valid credentials are needed"},
	TenantRequired:      {http.StatusBadRequest, "A tenant must be named"},
	TenantForbidden:     {http.StatusForbidden, "Not for this tenant"},
	RoleForbidden:       {http.StatusForbidden, "Not for this role"},
	InvalidHeader:       {http.StatusBadRequest, "Invalid header"},
	NotFound:            {http.StatusNotFound, "Not found"},
	MethodNotAllowed:    {http.StatusMethodNotAllowed, "Method not allowed"},
	RequestTimeout:      {http.StatusRequestTimeout, "The request took too long to arrive"},
	BodyTooLarge:        {http.StatusRequestEntityTooLarge, "The body is too large"},
	UnsupportedMedia:    {http.StatusUnsupportedMediaType, "The body must be JSON"},
	VerificationRunning: {http.StatusConflict, "A verification is under way"},
	CannotRebuild:       {http.StatusConflict, "No index can be built"},
	RebuildRunning:      {http.StatusConflict, "A rebuild is under way"},
	SnapshotRunning:     {http.StatusConflict, "A snapshot is being written"},
	NothingApplied:      {http.StatusConflict, "There is nothing to take a snapshot of"},

	ObjectStoreUnavailable: {http.StatusServiceUnavailable, "The object store does not answer"},

	RateLimited:    {http.StatusTooManyRequests, "Too many requests of one caller"},
	Overloaded:     {http.StatusServiceUnavailable, "Too many requests at once"},
	TooManyWatches: {http.StatusServiceUnavailable, "Too many watches"},
	Lagging:        {http.StatusServiceUnavailable, "Too far behind the stream"},
	Internal:       {http.StatusInternalServerError, "Internal error"},
}

// problemForm prints a problem as another system does, as JSON, and gives the
// extended buffer.
type problemForm func(b []byte, title string, p *query.Error) []byte

// typePrefix and a code make the URI of a problem's type.
const typePrefix = "https://github.com/assigndex/assigndex/blob/main/query/API.md#"

// retryAfter is what a client should wait after a 503, in seconds.
const retryAfter = "1"

// retryAfterDisk is the same while there is no room: somebody has to make some.
const retryAfterDisk = "30"

// refuse answers a request that failed.
func (s *Server) refuse(x *exchange, err error) {
	if limit, ok := errors.AsType[*limitError](err); ok {
		x.w.Header()["Retry-After"] = []string{strconv.Itoa(limit.seconds())}
		err = limit.problem()
	}
	if problem, ok := errors.AsType[*query.Error](err); ok {
		s.refuseWith(x, problem, nil)
		return
	}
	if errors.Is(err, listing.ErrReplaced) {
		s.refuseWith(x, &query.Error{Code: query.StreamChanged, Detail: "the stream was replaced while the request was answered"}, nil)
		return
	}
	if x.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		x.status = statusClientGone
		panic(http.ErrAbortHandler) // nobody is there to read an answer
	}
	s.log.Error().Err(err).Str("route", x.route.name).Msg("a request failed")
	s.refuseWith(x, internal(), nil)
}

func internal() *query.Error {
	return &query.Error{Code: Internal, Detail: "the server failed and has logged why"}
}

// refuseWith answers with a problem, and with the members of a JSON object
// beside its own when there is one.
func (s *Server) refuseWith(x *exchange, problem *query.Error, object []byte) {
	k, known := kinds[problem.Code]
	if !known {
		s.log.Error().Str("code", string(problem.Code)).Msg("a code has no status")
		k = kinds[Internal]
	}
	h := x.w.Header()
	switch k.status {
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = s.challenges
	case http.StatusMethodNotAllowed:
		h["Allow"] = []string{strings.Join(x.route.methods, ", ")}
	case http.StatusServiceUnavailable:
		if h["Retry-After"] == nil {
			h["Retry-After"] = []string{retryAfter}
			if problem.Code == DiskFull {
				h["Retry-After"] = []string{retryAfterDisk}
			}
		}
	}
	if form := x.route.problem; form != nil {
		x.send(k.status, typeJSON, form(x.out[:0], k.title, problem))
		return
	}
	x.out = appendProblem(x.out[:0], k, problem)
	if object == nil {
		x.out = append(x.out, '}')
	} else {
		x.out = append(x.out, ',')
		x.out = append(x.out, object[1:]...)
	}
	x.send(k.status, typeProblem, x.out)
}

// statusClientGone is what metrics and the log say when the client left first.
const statusClientGone = 499

// appendProblem prints a problem, without the brace at its end.
func appendProblem(b []byte, k kind, p *query.Error) []byte {
	b = append(b, `{"type":"`+typePrefix...)
	b = append(b, p.Code...)
	b = append(b, `","title":`...)
	b = appendQuote(b, k.title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(k.status), 10)
	b = append(b, `,"detail":`...)
	b = appendQuote(b, p.Detail)
	b = append(b, `,"code":"`...)
	b = append(b, p.Code...)
	b = append(b, '"')
	if p.Field != "" {
		b = append(b, `,"field":`...)
		b = appendQuote(b, p.Field)
	}
	return b
}

func appendQuote(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return append(b, `""`...)
	}
	return out
}
