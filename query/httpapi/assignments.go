package httpapi

import (
	"net/http"
	"slices"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
)

const (
	answerCursor = `{"cursor":`
	answerRows   = `,"assignments":[`
	answerEnd    = `]}`
)

// headRoom is kept free before the rows: the cursor stands first in the answer
// but is known last.
const headRoom = len(answerCursor) + 2 + query.MaxCursorText + len(answerRows)

// assignments answers POST /api/assignments.
func (s *Server) assignments(x *exchange) {
	page, err := s.assignmentsPage(x)
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	x.send(http.StatusOK, typeJSON, x.answer(page.Cursor))
}

// assignmentsPage leaves the rows in x.out. The place in the page is set as far
// as it is known, with an error as well.
func (s *Server) assignmentsPage(x *exchange) (query.Page, error) {
	if !s.ready.caughtUp() {
		return s.lister.Place(), notCaughtUp()
	}
	req, err := s.assignmentsRequest(x)
	if err != nil {
		return s.lister.Place(), err
	}
	x.out = slices.Grow(x.out[:0], headRoom)[:headRoom]
	return s.lister.Page(x.r.Context(), x.tenant, &req, x.visit)
}

func (s *Server) assignmentsRequest(x *exchange) (req query.Request, err error) {
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return req, err
	}
	if x.r.URL.RawQuery != "" {
		return req, noParameters()
	}
	if err := x.readJSON(); err != nil {
		return req, err
	}
	req, err = query.ParseRequest(x.in, s.maxPageSize)
	req.Stream = stream
	return req, err
}

// noParameters refuses what stands behind a question mark: passed over, a filter
// there would list everything.
func noParameters() *query.Error {
	return &query.Error{Code: query.UnknownField, Detail: "there are no parameters behind a question mark here; send fields in the JSON body"}
}

// row adds a row to the answer. Each begins with a comma, which is taken from
// the first one at the end.
func (x *exchange) row(f rows.Face) {
	x.out = append(x.out, ',')
	x.out = append(x.out, f.JSON()...)
}

// answer puts the head before the rows in x.out and gives the whole.
func (x *exchange) answer(cursor string) []byte {
	rest := x.out[headRoom:]
	if len(rest) > 0 {
		rest = rest[1:]
	}
	at := len(x.out) - len(rest)
	x.out = append(x.out, answerEnd...)
	at -= copy(x.out[at-len(answerRows):], answerRows)
	if cursor == "" {
		at -= copy(x.out[at-len("null"):], "null")
	} else {
		at--
		x.out[at] = '"'
		at -= copy(x.out[at-len(cursor):], cursor)
		at--
		x.out[at] = '"'
	}
	at -= copy(x.out[at-len(answerCursor):], answerCursor)
	return x.out[at:]
}
