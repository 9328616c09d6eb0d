package httpapi

import (
	"net/url"
	"strings"
)

// template is a path with one segment that varies, such as /assignments/{code}/rights.
type template struct {
	path           string // as the documentation names it
	prefix, suffix string // what stands before and after the segment
	route          *route
}

func newTemplate(path string, r *route) template {
	open, end := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
	return template{path: path, prefix: path[:open], suffix: path[end+1:], route: r}
}

// match gives what stands for the segment in a path as it was sent. It is decoded
// after the path was taken apart, so it may hold any character, a slash too.
func (t *template) match(escapedPath string) (segment string, ok bool) {
	segment, ok = strings.CutPrefix(escapedPath, t.prefix)
	if !ok {
		return "", false
	}
	if segment, ok = strings.CutSuffix(segment, t.suffix); !ok || segment == "" || strings.Contains(segment, "/") {
		return "", false
	}
	segment, err := url.PathUnescape(segment)
	return segment, err == nil
}

// routeOf gives the route of a request, and the varying segment of its path.
func (s *Server) routeOf(u *url.URL) (r *route, segment string) {
	if r = s.routes[u.Path]; r != nil {
		return r, ""
	}
	for i := range s.templates {
		if segment, ok := s.templates[i].match(u.EscapedPath()); ok {
			return s.templates[i].route, segment
		}
	}
	return s.other, ""
}

// routeAt gives the route of a path as the documentation names it, nil when there
// is none.
func (s *Server) routeAt(path string) *route {
	for i := range s.templates {
		if s.templates[i].path == path {
			return s.templates[i].route
		}
	}
	return s.routes[path]
}
