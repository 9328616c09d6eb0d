package httpapi

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/ibmverify"
)

var updateVerify = flag.Bool("update-ibmverify", false, "write the answers of testdata/ibmverify anew")

// newVerifyFixture is a server with the events of testdata/ibmverify.
func newVerifyFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, nil)
	lines, err := os.ReadFile("testdata/ibmverify/events.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(lines) {
		var ev struct {
			Type string         `json:"type"`
			Data jsontext.Value `json:"data"`
		}
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatal(err)
		}
		f.index.apply("acme", event{ev.Type, string(ev.Data)})
	}
	return f
}

// Requests with the data of IBM's page, and the answers to them, field by field.
// A file has a request line and a body, an empty line, the status and the answer.
func TestIBMVerifyGolden(t *testing.T) {
	f := newVerifyFixture(t)
	files, err := filepath.Glob("testdata/ibmverify/*.http")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		request, want, _ := strings.Cut(string(text), "\n\n")
		line, body, _ := strings.Cut(strings.TrimSpace(request), "\n")
		method, path, _ := strings.Cut(line, " ")
		a := f.do(method, path, body)
		answer := jsontext.Value(a.body)
		if err := answer.Indent(jsontext.WithIndent("  ")); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%d\n%s\n", a.status, answer)
		if *updateVerify {
			if err := os.WriteFile(file, []byte(strings.TrimSpace(request)+"\n\n"+got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
		if stream := a.header.Get("Assigndex-Stream"); a.status < 405 && stream != incarnation {
			t.Errorf("%s: no place in the stream: %v", file, a.header)
		}
	}
}

// The rights of each assignment that a search shows are those that its code leads
// to.
func TestIBMVerifyRightsByCode(t *testing.T) {
	f := newVerifyFixture(t)
	p := f.search("?includeRights=true", "")
	if len(p.Assignments) != 5 {
		t.Fatalf("%d assignments", len(p.Assignments))
	}
	for _, a := range p.Assignments {
		if a.Rights == nil {
			a.Rights = jsontext.Value("[]")
		}
		got := f.do(http.MethodGet, strings.Replace(verifyRightsPath, "{code}", a.Code, 1), "")
		if want := fmt.Sprintf(`{"code":%q,"rights":%s}`, a.Code, a.Rights); got.status != 200 || string(got.body) != want {
			t.Errorf("%d %s, want %s", got.status, got.body, want)
		}
	}
}

// The examples of the reference are real: its requests get its answers. Its day is
// in this year, that of a test's index is the first one there was.
func TestIBMVerifyReference(t *testing.T) {
	reference, err := os.ReadFile("../API.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(reference), "\n## IBM Verify\n")
	if !found {
		t.Fatal("API.md has no section about IBM Verify")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	f := newVerifyFixture(t)
	blocks := regexp.MustCompile("(?s)```(http|json)\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 6 {
		t.Fatalf("%d blocks of examples", len(blocks))
	}
	for i := 0; i < len(blocks); i += 2 {
		request, answer := blocks[i][2], jsontext.Value(strings.ReplaceAll(blocks[i+1][2], "2026-01-31T12:", "1970-01-01T00:"))
		head, body, _ := strings.Cut(strings.TrimSpace(request), "\n\n")
		line, _, _ := strings.Cut(head, "\n")
		words := strings.Fields(line)
		a := f.do(words[0], words[1], body)
		if err := answer.Compact(); err != nil {
			t.Fatal(err)
		}
		if string(a.body) != string(answer) {
			t.Errorf("%s: got\n%s\nwant\n%s", line, a.body, answer)
		}
	}
	for _, name := range []string{verifySearchPath, verifyRightsPath, "| `user` |", "| `group` |", "| `type` |", "`includeRights` |", "| `limit` |", "| `page` |"} {
		if !strings.Contains(section, name) {
			t.Errorf("the section does not name %s", name)
		}
	}
	// Its table of messages is that of the OpenAPI document, which is examined.
	e := newExam(t, strings.TrimPrefix(f.base, "http://"))
	for _, answer := range append(e.answers(), "POST "+verifySearchPath+" 405 method_not_allowed") {
		words := strings.Fields(answer)
		if len(words) != 4 || words[1] != verifySearchPath && words[1] != verifyRightsPath {
			continue
		}
		row := regexp.MustCompile("(?m)^\\| " + words[2] + " \\|.*$").FindString(section)
		if !strings.Contains(row, "`"+ibmverify.MessageID(query.Code(words[3]))+"`") {
			t.Errorf("the section has no message for %s", answer)
		}
	}
}
