package autoid

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
)

func TestCells(t *testing.T) {
	for _, c := range []struct{ column, cell, want string }{
		{"score", "0", `{"usr_id":"u","ent_id":"e","score":0}`},
		{"score", " 1e-1 ", `{"usr_id":"u","ent_id":"e","score":1e-1}`},
		{"score", ".98", `{"usr_id":"u","ent_id":"e","score":0.98}`},
		{"score", "null", `{"usr_id":"u","ent_id":"e","score":null}`},
		{"score", "", `{"usr_id":"u","ent_id":"e"}`},
		{"score", " ", "a.csv:2:5: score: not a number"},
		{"score", "1.", "score: not a number"},
		{"score", "0.5,\"\"usr_id\"\":\"\"v\"\"", "score: not a number"},
		{"score", "NaN", "score: not a number"},
		{"score", "1 2", "score: not a number"},
		{"score", "true", "score: not a number"},
		{"score", "-0.1", "a.csv:2:5: score: out of range"},
		{"score", "1e999", "score: of a wrong type or out of range"},
		{"revision", "9007199254740993", `{"usr_id":"u","ent_id":"e","revision":9007199254740993}`},
		{"revision", "99999999999999999999", "revision: of a wrong type or out of range"},
		{"justification", "[]", `{"usr_id":"u","ent_id":"e","justification":[]}`},
		{"justification", `[{""id"":""x""}]`, `{"usr_id":"u","ent_id":"e","justification":[{"id":"x"}]}`},
		{"justification", "{}", "a.csv:2:5: justification: of a wrong type"},
		{"justification", `[{""value"":[]}]`, "a.csv:2:5: justification: a value is none of them"},
		{"justification", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested deeper than 1000 levels"},
		{"params", `{""a"":1,""a"":2}`, "params: not valid JSON"},
		{"params", "{\"\"pw\"\":\"\"\xff\"\"}", "params: not valid JSON"},
		{"valid_from", "31.01.2026", "a.csv:2:5: valid_from: not a date or time"},
		{"if", "maybe", "if: \"maybe\" is not a condition"},
		{"city", "007", `{"usr_id":"u","ent_id":"e","city":"007"}`},
		{"city", "a\"\"b\\\x01\n", `{"usr_id":"u","ent_id":"e","city":"a\"b\\\u0001\n"}`},
		{"city", "Z\xfcrich", "a.csv:2:5: city: not valid UTF-8; save the file as UTF-8"},
		{"body", strings.Repeat("x", events.MaxEventBytes), "a.csv:2: body: 262181 bytes, the limit is 262144"},
		{"", "", `{"usr_id":"u","ent_id":"e"}`},
		{"", "x", "a.csv:2:5: a cell in a column without a name"},
	} {
		in := "usr_id,ent_id," + c.column + "\nu,e,\"" + c.cell + "\"\n"
		got := strings.TrimSuffix(readAll(t, strings.NewReader(strings.ReplaceAll(in, "a.csv", "")), Assignments, Options{}), "\n")
		got = strings.TrimPrefix(strings.Replace(got, "assignments.csv", "a.csv", 1), "2 ")
		if got != c.want && (strings.HasPrefix(c.want, "{") || !strings.Contains(got, c.want)) {
			t.Errorf("%s %.60q: got %.300s, want %s", c.column, c.cell, got, c.want)
		}
	}
}

// TestMappedHeaderIsNamed sees that an error names the column as the file does.
func TestMappedHeaderIsNamed(t *testing.T) {
	var opts Options
	if err := opts.Columns.MapText("assignments.score=Confidence"); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, strings.NewReader("user_id,ent_id,CONFIDENCE\nu,e,high\n,e,1\n"), Assignments, opts)
	for _, want := range []string{`2:5: score (column "CONFIDENCE"): not a number`, `3:1: usr_id (column "user_id"): missing`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
}

// TestLongRecordsCostTheirRowOnly puts rows beyond every limit between others.
func TestLongRecordsCostTheirRowOnly(t *testing.T) {
	long := strings.Repeat("x,y\n", MaxRecordBytes/3)
	in := "usr_id,ent_id\n" +
		"a,1\n" +
		strings.Repeat("x", 3*MaxRecordBytes) + ",2\n" + // line 3
		"b,3\n" +
		`"` + long + `",4` + "\n" + // line 5
		"c,5\n" +
		`x,"` + strings.Repeat("y", 2*events.MaxEventBytes) + `"` + "\n" +
		"d,6\n" +
		"e,\"" + long // never closed
	got := strings.Split(strings.TrimSuffix(readAll(t, strings.NewReader(in), Assignments, Options{}), "\n"), "\n")
	after := 5 + strings.Count(long, "\n")
	for i, want := range []string{
		`2 {"usr_id":"a","ent_id":"1"}`,
		"assignments.csv:3: a row of more than 1048576 bytes, up to line 3",
		`4 {"usr_id":"b","ent_id":"3"}`,
		fmt.Sprintf("assignments.csv:5: a row of more than 1048576 bytes, up to line %d", after),
		fmt.Sprintf(`%d {"usr_id":"c","ent_id":"5"}`, after+1),
		fmt.Sprintf("assignments.csv:%d: body: 524314 bytes, the limit is 262144", after+2),
		fmt.Sprintf(`%d {"usr_id":"d","ent_id":"6"}`, after+3),
		fmt.Sprintf("assignments.csv:%d: a row of more than 1048576 bytes", after+4),
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Fatalf("line %d: got %.200q, want %q", i, got[min(i, len(got)-1)], want)
		}
	}
	if len(got) != 8 {
		t.Errorf("%d lines", len(got))
	}
}

// TestFilesAreNotHeldInMemory reads a quote that is never closed before 256 MiB.
func TestFilesAreNotHeldInMemory(t *testing.T) {
	const size = 256 << 20
	in := io.MultiReader(strings.NewReader("usr_id,ent_id\na,b\nc,\""), io.LimitReader(lines{}, size))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := NewReader(in, "a.csv", Assignments, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(); err != nil {
		t.Fatal(err)
	}
	_, err = r.Read()
	if fault := (*Error)(nil); !errors.As(err, &fault) || fault.Line != 3 {
		t.Fatal(err)
	}
	if _, err := r.Read(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

// lines is text without an end, of 64 bytes a line.
type lines struct{}

func (lines) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
		if i%64 == 63 {
			p[i] = '\n'
		}
	}
	return len(p), nil
}
