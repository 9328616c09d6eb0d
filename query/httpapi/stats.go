package httpapi

import (
	"net/http"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
)

// statsAnswer counts assignments by the level of their score.
type statsAnswer struct {
	Total    int64 `json:"total"`
	High     int64 `json:"high"`
	Medium   int64 `json:"medium"`
	Low      int64 `json:"low"`
	Unscored int64 `json:"unscored"`
}

// assignmentStats answers GET /api/companyview/assignmentStats.
func (s *Server) assignmentStats(x *exchange) {
	counts, page, err := s.countAssignments(x)
	x.place(page.Seq, page.Stream)
	if err == nil {
		err = x.sendObject(http.StatusOK, statsAnswer{
			Total: counts.Total(), High: counts[rows.High], Medium: counts[rows.Medium], Low: counts[rows.Low], Unscored: counts[rows.Unscored],
		})
	}
	if err != nil {
		s.refuse(x, err)
	}
}

func (s *Server) countAssignments(x *exchange) (rows.Counts, query.Page, error) {
	if !s.ready.caughtUp() {
		return rows.Counts{}, s.lister.Place(), notCaughtUp()
	}
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return rows.Counts{}, s.lister.Place(), err
	}
	req, err := query.ParseCount(x.r.URL.RawQuery)
	if err != nil {
		return rows.Counts{}, s.lister.Place(), err
	}
	req.Stream = stream
	return s.lister.Count(x.r.Context(), x.tenant, &req)
}

func notCaughtUp() *query.Error {
	return &query.Error{Code: query.NotReady, Detail: "the index has not caught up with its stream yet; try again"}
}
