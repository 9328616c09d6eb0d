package events

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestDrop(t *testing.T) {
	note := strings.Repeat("é", MaxNoteBytes/2)
	for data, want := range map[string]Drop{
		`{"seq":7}`: {Seq: 7},
		`{"seq":18446744073709551615,"note":"n"}`:                {Seq: 1<<64 - 1, Note: "n"},
		`{"seq":1,"note":"` + note + `"}`:                        {Seq: 1, Note: note},
		`{"seq":2,"note":null,"if":7,"revision":"x","other":{}}`: {Seq: 2},
	} {
		ev := mustDecode(t, bare(QuarantineDropped, data))
		if ev.Drop == nil || *ev.Drop != want || ev.If != "" || ev.Revision != nil {
			t.Errorf("%s was read as %+v", data, ev)
		}
	}
	for data, want := range map[string]struct {
		code  Code
		field string
	}{
		`{}`:                               {BadField, "seq"},
		`{"seq":null}`:                     {BadField, "seq"},
		`{"seq":0}`:                        {BadField, "seq"},
		`{"seq":-1}`:                       {BadField, "seq"},
		`{"seq":1.5}`:                      {BadField, "seq"},
		`{"seq":"7"}`:                      {BadField, "seq"},
		`{"seq":18446744073709551616}`:     {BadField, "seq"},
		`{"seq":1,"note":7}`:               {BadField, "note"},
		`{"seq":1,"note":"` + note + `x"}`: {TooLarge, "note"},
		`7`:                                {BadJSON, ""},
	} {
		mustReject(t, bare(QuarantineDropped, data), want.code, want.field)
	}
}

// REJECTIONS.md explains every code, and has the remedy of every place in the code
// that refuses a message.
func TestRejectionsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("REJECTIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	table := string(doc)
	for _, code := range Codes {
		if strings.Count(table, "\n| `"+string(code)+"` | ") == 0 {
			t.Errorf("REJECTIONS.md does not explain %s", code)
		}
	}
	declared, remedies := rejectionsInSource(t)
	slices.Sort(declared)
	var listed []string
	for _, code := range Codes {
		listed = append(listed, string(code))
	}
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("declared are %q, Codes lists %q", declared, listed)
	}
	if len(remedies) < 25 {
		t.Errorf("only %d remedies were found in the source", len(remedies))
	}
	for _, r := range remedies {
		if r == "" || !strings.Contains(table, r) {
			t.Errorf("REJECTIONS.md lacks the remedy %q", r)
		}
	}
}

// rejectionsInSource gives the declared codes and, of every call of reject, the
// remedy as far as it is written there.
func rejectionsInSource(t *testing.T) (codes, remedies []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if typ, ok := n.Type.(*ast.Ident); ok && typ.Name == "Code" {
					codes = append(codes, literalsIn(t, n.Values[0])...)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "reject" {
					if len(literalsIn(t, n.Args[3])) == 0 {
						t.Errorf("a rejection says no problem: %v", n.Args)
					}
					remedies = append(remedies, literalsIn(t, n.Args[2])...)
				}
			}
			return true
		})
	}
	return codes, remedies
}

func literalsIn(t *testing.T, expr ast.Expr) (texts []string) {
	t.Helper()
	ast.Inspect(expr, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
			return false // such as the list of a field's values
		}
		if lit, ok := n.(*ast.BasicLit); ok {
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}
