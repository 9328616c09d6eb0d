package httpapi

import (
	"net/url"
	"testing"
)

func TestTemplate(t *testing.T) {
	want := &route{}
	s := &Server{routes: map[string]*route{}, templates: []template{newTemplate("/a/{code}/rights", want)}, other: &route{}}
	for path, segment := range map[string]string{
		"/a/x/rights": "x", "/a/x%2Fy/rights": "x/y", "/a/%2e%2e/rights": "..", "/a/%00/rights": "\x00", "/a/é/rights": "é",
	} {
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		if r, got := s.routeOf(u); r != want || got != segment {
			t.Errorf("%s: %q", path, got)
		}
	}
	for _, path := range []string{"/a//rights", "/a/x/y/rights", "/a/x/rights/", "/a/x", "/a/rights", "/b/x/rights", "//a/x/rights"} {
		u := &url.URL{Path: path}
		if r, _ := s.routeOf(u); r != s.other {
			t.Errorf("%s is taken", path)
		}
	}
}
