package openapi

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// contents gives what a browser gets, by path.
func contents(t *testing.T) map[string]string {
	t.Helper()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range files {
		body := f.Body
		if f.Gzip {
			r, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatalf("%s: %v", f.Path, err)
			}
			if body, err = io.ReadAll(r); err != nil {
				t.Fatalf("%s: %v", f.Path, err)
			}
		}
		if len(body) == 0 || f.ContentType == "" || got[f.Path] != "" {
			t.Fatalf("%s: %d bytes of %q, perhaps twice", f.Path, len(body), f.ContentType)
		}
		got[f.Path] = string(body)
	}
	return got
}

var (
	loaded    = regexp.MustCompile(`\b(?:src|href|action|data|srcset)\s*=\s*["']?([^"'\s>]+)`)
	styleURL  = regexp.MustCompile(`url\(\s*["']?([^"')]{0,40})`)
	elsewhere = regexp.MustCompile(`(?i)(?:https?:)?//`)
)

// The page names its own files and the document, and nothing of another server.
func TestPageLoadsItsOwnFilesOnly(t *testing.T) {
	files := contents(t)
	var named []string
	for _, m := range loaded.FindAllStringSubmatch(files[PagePath], -1) {
		named = append(named, "/"+m[1]) // as seen from PagePath
	}
	slices.Sort(named)
	want := []string{"/openapi.json"}
	for path := range files {
		if path != PagePath {
			want = append(want, path)
		}
	}
	slices.Sort(want)
	if !slices.Equal(named, want) {
		t.Errorf("the page names %q, it has %q", named, want)
	}
	for _, path := range []string{PagePath, PagePath + "/setup.js"} {
		if at := elsewhere.FindString(files[path]); at != "" {
			t.Errorf("%s names another place: %q", path, at)
		}
		if strings.Contains(files[path], "<script>") || strings.Contains(files[path], "style=") || strings.Contains(files[path], "onload") {
			t.Errorf("%s has what the policy forbids", path)
		}
	}
	if !strings.Contains(files[PagePath+"/setup.js"], `url: "openapi.json"`) || !strings.Contains(files[PagePath+"/setup.js"], "validatorUrl: null") {
		t.Errorf("setup.js shows another document, or sends it to a validator: %s", files[PagePath+"/setup.js"])
	}
	style := files[PagePath+"/swagger-ui.css"]
	if strings.Contains(style, "@import") {
		t.Error("the style sheet imports another")
	}
	urls := styleURL.FindAllStringSubmatch(style, -1)
	if len(urls) == 0 {
		t.Error("no url() was found in the style sheet: look for them in another way")
	}
	for _, m := range urls {
		if !strings.HasPrefix(m[1], "data:") {
			t.Errorf("the style sheet loads %q", m[1])
		}
	}
}

// Whatever a script tries, the policy lets it reach this server alone.
func TestPolicy(t *testing.T) {
	directives := map[string]string{}
	for d := range strings.SplitSeq(Policy, ";") {
		name, sources, _ := strings.Cut(strings.TrimSpace(d), " ")
		directives[name] = sources
		for source := range strings.FieldsSeq(sources) {
			if source != "'self'" && source != "'none'" && (source != "data:" || name != "img-src") {
				t.Errorf("%s lets in %s", name, source)
			}
		}
	}
	for _, needed := range []string{"default-src", "base-uri", "form-action", "frame-ancestors"} {
		if directives[needed] != "'none'" { // the last three do not fall back to default-src
			t.Errorf("%s %q", needed, directives[needed])
		}
	}
}
