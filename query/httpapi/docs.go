package httpapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/httpapi/openapi"
	"github.com/assigndex/assigndex/query/ibmverify"
)

// addDocs adds the routes of the OpenAPI document and of the page that shows it.
// The document tells the routes that there are by then.
func (s *Server) addDocs() error {
	var doc []byte
	s.routes["/openapi.json"] = &route{name: "openapi", methods: probeMethods, serve: func(x *exchange) {
		x.send(http.StatusOK, typeJSON, doc)
	}}
	files, err := openapi.Files()
	if err != nil {
		return err
	}
	for _, f := range files {
		s.routes[f.Path] = &route{name: "docs", methods: probeMethods, serve: serveFile(f)}
	}
	doc, err = openapi.Document(openapi.Settings{
		DefaultPageSize: min(query.DefaultPageSize, s.maxPageSize), MaxPageSize: s.maxPageSize, MaxWait: s.maxWait,
		High: s.opts.Levels.High, Medium: s.opts.Levels.Medium,
		DefaultLimit: min(ibmverify.DefaultLimit, s.maxPageSize), SearchBudget: s.opts.SearchBudget,
	}, func(path string) bool { return s.routeAt(path) != nil })
	return err
}

// serveFile serves a file of the page.
func serveFile(f openapi.File) func(x *exchange) {
	contentType := []string{f.ContentType}
	return func(x *exchange) {
		h := x.w.Header()
		h["X-Content-Type-Options"] = []string{"nosniff"}
		if f.Path == openapi.PagePath {
			h["Content-Security-Policy"] = []string{openapi.Policy}
			h["Referrer-Policy"] = []string{"no-referrer"}
		}
		if !f.Gzip {
			x.send(http.StatusOK, contentType, f.Body)
			return
		}
		h["Content-Type"] = contentType
		h["Cache-Control"] = []string{"max-age=3600"} // large, and part of the program
		h["Vary"] = []string{"Accept-Encoding"}
		x.status = http.StatusOK
		if takesGzip(x.r.Header) {
			h["Content-Encoding"] = []string{"gzip"}
			h["Content-Length"] = []string{strconv.Itoa(len(f.Body))}
			_, _ = x.w.Write(f.Body)
			return
		}
		plain, err := gzip.NewReader(bytes.NewReader(f.Body))
		if err != nil {
			panic(err) // the program was built with a broken file
		}
		_, _ = io.Copy(x.w, plain)
	}
}

// takesGzip reports whether a client asks for compressed answers by name.
func takesGzip(h http.Header) bool {
	for _, value := range h["Accept-Encoding"] {
		for coding := range strings.SplitSeq(value, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, weighted := strings.CutPrefix(strings.TrimSpace(weight), "q=")
				return !weighted || strings.Trim(q, "0.") != ""
			}
		}
	}
	return false
}
