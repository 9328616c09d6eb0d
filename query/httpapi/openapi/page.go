package openapi

import (
	_ "embed"
	"fmt"

	"github.com/swaggest/swgui/v5/static"
)

// Policy is the content security policy that the page is served with: everything
// comes from its own server, but for the icons that the style sheet holds itself.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// PagePath is where the page must be served: it names the others of Files, and
// openapi.json, as seen from there.
const PagePath = "/docs"

// File is the page or something that it loads.
type File struct {
	Path        string // where it must be served
	ContentType string
	Body        []byte
	Gzip        bool // Body is compressed
}

//go:embed page/index.html
var index []byte

//go:embed page/setup.js
var setup []byte

// swagger are the files of Swagger UI that the page loads.
var swagger = []struct {
	name, from  string
	contentType string
	gzip        bool
}{
	{"swagger-ui-bundle.js", "swagger-ui-bundle.js.gz", typeScript, true},
	{"swagger-ui.css", "swagger-ui.css.gz", "text/css; charset=utf-8", true},
	{"favicon.png", "favicon-32x32.png", "image/png", false},
}

const typeScript = "text/javascript; charset=utf-8"

// Files gives the page and all that it loads. The error is about the files that
// the program was built with.
func Files() ([]File, error) {
	files := []File{
		{Path: PagePath, ContentType: "text/html; charset=utf-8", Body: index},
		{Path: PagePath + "/setup.js", ContentType: typeScript, Body: setup},
	}
	for _, f := range swagger {
		body, err := static.FS.ReadFile(f.from)
		if err != nil {
			return nil, fmt.Errorf("openapi: Swagger UI: %w", err)
		}
		files = append(files, File{Path: PagePath + "/" + f.name, ContentType: f.contentType, Body: body, Gzip: f.gzip})
	}
	return files, nil
}
