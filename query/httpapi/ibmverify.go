package httpapi

import (
	"net/http"

	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
	"github.com/assigndex/assigndex/query/ibmverify"
)

const (
	verifySearchPath = "/v1.0/entitlements/assignments/search"
	verifyRightsPath = "/v1.0/assignments/{code}/rights"
)

// addIBMVerify adds the routes of IBM Verify. Each of the four roles that may call
// them there is a reader here.
func (s *Server) addIBMVerify() {
	s.routes[verifySearchPath] = &route{
		name: "ibm_verify_search", methods: []string{http.MethodPost}, role: apikey.Reader, problem: ibmverify.AppendProblem,
		serve: func(x *exchange) { s.answerVerify(x, s.verifySearch) },
	}
	s.templates = append(s.templates, newTemplate(verifyRightsPath, &route{
		name: "ibm_verify_rights", methods: []string{http.MethodGet}, role: apikey.Reader, problem: ibmverify.AppendProblem,
		serve: func(x *exchange) { s.answerVerify(x, s.verifyRights) },
	}))
}

// answerVerify answers with what read leaves in x.out. The place in the page is set
// as far as it is known, with an error as well.
func (s *Server) answerVerify(x *exchange, read func(x *exchange) (query.Page, error)) {
	page, err := s.lister.Place(), error(notCaughtUp())
	if s.ready.caughtUp() {
		page, err = read(x)
	}
	if err == nil {
		page, err = s.lister.Still(page)
	}
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	x.send(http.StatusOK, typeJSON, x.out)
}

// verifySearch serves POST /v1.0/entitlements/assignments/search.
func (s *Server) verifySearch(x *exchange) (query.Page, error) {
	search, err := s.verifySearchRequest(x)
	if err != nil {
		return s.lister.Place(), err
	}
	page, err := s.lister.Snapshot(x.r.Context(), search.When)
	if err != nil {
		return page, err
	}
	x.out, err = search.Read(x.r.Context(), s.lister, x.tenant, page.Seq, x.out[:0])
	if err != nil {
		page = s.lister.Place()
	}
	return page, err
}

func (s *Server) verifySearchRequest(x *exchange) (*ibmverify.Search, error) {
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return nil, err
	}
	search, err := ibmverify.ParseSearch(x.r.URL.RawQuery, s.maxPageSize)
	if err != nil {
		return nil, err
	}
	search.When.Stream, search.Budget = stream, s.opts.SearchBudget
	if err := x.readJSON(); err != nil {
		return nil, err
	}
	search.Filter, err = ibmverify.ParseFilter(x.in)
	return search, err
}

// verifyRights serves GET /v1.0/assignments/{code}/rights. A code that is damaged,
// or another tenant's, gets the answer of one that there is no assignment of.
func (s *Server) verifyRights(x *exchange) (query.Page, error) {
	var when query.When
	var err error
	if when.Stream, _, err = single(x.r.Header, headerStream); err != nil {
		return s.lister.Place(), err
	}
	if err := query.ParseParameters(x.r.URL.RawQuery, nil, &when); err != nil {
		return s.lister.Place(), err
	}
	page, err := s.lister.Snapshot(x.r.Context(), when)
	if err != nil {
		return page, err
	}
	at, found := ibmverify.ParseCode(x.tenant, x.segment)
	if found {
		found, err = s.lister.Lookup(page.Seq, x.tenant, at, func(a *listing.Assignment) error {
			var err error
			x.out, err = ibmverify.Rights(x.out[:0], x.tenant, a)
			return err
		})
	}
	if err == nil && !found {
		err = &query.Error{Code: NotFound, Detail: "there is no assignment with this code; search for it again"}
	}
	if err != nil {
		page = s.lister.Place()
	}
	return page, err
}
