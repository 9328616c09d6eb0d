package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/apikey"
)

// feedRoutes adds the routes that tell what changed.
func (s *Server) feedRoutes() {
	for path, r := range map[string]*route{
		"/api/changes":             {name: "changes", methods: []string{http.MethodGet}, serve: s.changes},
		"/api/watch":               {name: "watch", methods: []string{http.MethodGet}, serve: s.watch, endless: true, sort: following},
		"/api/assignments/diff":    {name: "diff", methods: []string{http.MethodPost}, serve: s.diff},
		"/api/assignments/history": {name: "history", methods: []string{http.MethodPost}, serve: s.history},
	} {
		r.role = apikey.Reader
		s.routes[path] = r
	}
}

// changes answers GET /api/changes.
func (s *Server) changes(x *exchange) {
	page, err := s.changesPage(x)
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	x.out = append(x.out, `],"next":"`...)
	x.out = append(x.out, page.Next.String()...)
	x.out = append(x.out, `"}`...)
	x.send(http.StatusOK, typeJSON, x.out)
}

// changesPage leaves the answer in x.out up to the end of the last change.
func (s *Server) changesPage(x *exchange) (query.ChangePage, error) {
	place := query.ChangePage{Page: s.lister.Place()}
	if !s.ready.caughtUp() {
		return place, notCaughtUp()
	}
	stream, _, err := single(x.r.Header, headerStream)
	if err != nil {
		return place, err
	}
	req, err := query.ParseChanges(x.r.URL.RawQuery, s.maxPageSize)
	if err != nil {
		return place, err
	}
	req.Filter.Stream = stream
	x.out = append(x.out[:0], `{"changes":[`...)
	some := false
	return s.lister.Changes(x.r.Context(), x.tenant, &req, func(c *query.Change) {
		if some {
			x.out = append(x.out, ',')
		}
		some = true
		x.out = append(appendChange(x.out, c), '}')
	})
}

// appendChange prints a change, without the brace at its end.
func appendChange(b []byte, c *query.Change) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, c.Seq, 10)
	if c.After == nil {
		b = append(b, `,"op":"revoked","assignment":`...)
		return append(b, c.Before.JSON()...)
	}
	b = append(b, `,"op":"upserted","assignment":`...)
	return append(b, c.After.JSON()...)
}

// diff answers POST /api/assignments/diff.
func (s *Server) diff(x *exchange) {
	page, err := s.diffPage(x)
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	head := appendCursor(nil, page.Cursor)
	head = append(head, `,"from":`...)
	head = strconv.AppendUint(head, page.From, 10)
	head = append(head, `,"to":`...)
	head = strconv.AppendUint(head, page.Seq, 10)
	x.send(http.StatusOK, typeJSON, x.envelope(append(head, `,"changes":[`...)))
}

func (s *Server) diffPage(x *exchange) (query.DiffPage, error) {
	place := query.DiffPage{Page: s.lister.Place()}
	stream, err := s.startQuery(x)
	if err != nil {
		return place, err
	}
	req, err := query.ParseDiff(x.in, s.maxPageSize)
	if err != nil {
		return place, err
	}
	req.Filter.Stream = stream
	return s.lister.Diff(x.r.Context(), x.tenant, &req, x.difference)
}

// difference adds a difference to the answer.
func (x *exchange) difference(c *query.Change) {
	op := "changed"
	switch {
	case c.Before == nil:
		op = "added"
	case c.After == nil:
		op = "removed"
	}
	x.out = append(x.out, `,{"op":"`...)
	x.out = append(x.out, op...)
	x.out = append(x.out, `","seq":`...)
	x.out = strconv.AppendUint(x.out, c.Seq, 10)
	x.out = append(x.out, `,"before":`...)
	x.out = appendRow(x.out, c.Before)
	x.out = append(x.out, `,"after":`...)
	x.out = appendRow(x.out, c.After)
	x.out = append(x.out, '}')
}

// history answers POST /api/assignments/history.
func (s *Server) history(x *exchange) {
	page, err := s.historyPage(x)
	x.place(page.Seq, page.Stream)
	if err != nil {
		s.refuse(x, err)
		return
	}
	x.send(http.StatusOK, typeJSON, x.envelope(append(appendCursor(nil, page.Cursor), `,"versions":[`...)))
}

func (s *Server) historyPage(x *exchange) (query.Page, error) {
	place := s.lister.Place()
	stream, err := s.startQuery(x)
	if err != nil {
		return place, err
	}
	req, err := query.ParseHistory(x.in, s.maxPageSize)
	if err != nil {
		return place, err
	}
	req.Stream = stream
	return s.lister.History(x.r.Context(), x.tenant, &req, x.version)
}

// version adds a version of an assignment to the answer.
func (x *exchange) version(v *query.Version) {
	x.out = append(x.out, `,{"seq":`...)
	x.out = strconv.AppendUint(x.out, v.Seq, 10)
	x.out = append(x.out, `,"time":"`...)
	x.out = v.Time.AppendFormat(x.out, time.RFC3339Nano)
	if v.Row == nil {
		x.out = append(x.out, `","op":"revoked","assignment":`...)
	} else {
		x.out = append(x.out, `","op":"upserted","assignment":`...)
	}
	x.out = append(appendRow(x.out, v.Row), '}')
}

// startQuery makes the checks that a query in a body begins with, reads the body
// into x.in, and makes head room in x.out. It gives the incarnation that the
// request names.
func (s *Server) startQuery(x *exchange) (stream string, err error) {
	if !s.ready.caughtUp() {
		return "", notCaughtUp()
	}
	stream, _, err = single(x.r.Header, headerStream)
	if err != nil {
		return "", err
	}
	if x.r.URL.RawQuery != "" {
		return "", noParameters()
	}
	x.out = slices.Grow(x.out[:0], headRoom)[:headRoom]
	return stream, x.readJSON()
}

func appendRow(b []byte, f rows.Face) []byte {
	if f == nil {
		return append(b, "null"...)
	}
	return append(b, f.JSON()...)
}

// appendCursor begins an answer that has a cursor, which is of a text that JSON does
// not escape.
func appendCursor(b []byte, cursor string) []byte {
	b = append(b, answerCursor...)
	if cursor == "" {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = append(b, cursor...)
	return append(b, '"')
}

// envelope puts a head before the objects in x.out, each of which begins with a
// comma, and gives the whole. The head has room before them.
func (x *exchange) envelope(head []byte) []byte {
	rest := x.out[headRoom:]
	if len(rest) > 0 {
		rest = rest[1:]
	}
	at := len(x.out) - len(rest) - len(head)
	copy(x.out[at:], head)
	x.out = append(x.out, answerEnd...)
	return x.out[at:]
}
