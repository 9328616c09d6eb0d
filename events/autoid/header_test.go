package autoid

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestHeaderFaults(t *testing.T) {
	mapped := func(texts ...string) (o Options) {
		for _, text := range texts {
			if err := o.Columns.MapText(text); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	for _, c := range []struct {
		name string
		file File
		in   string
		opts Options
		want []string
	}{
		{"empty", Assignments, "", Options{}, []string{"a.csv:1: the file is empty"}},
		{"a mark alone", Assignments, "\xef\xbb\xbf", Options{}, []string{"a.csv:1: the file is empty"}},
		{"empty lines", Assignments, "\n\r\n", Options{}, []string{"the file is empty"}},
		{"a column is missing", Identities, "usr_id,usr_name\n", Options{}, []string{"a.csv:1: usr_manager_id: there is no such column", "name one usr_manager_id or user_manager_id", "identities.usr_manager_id=HEADER"}},
		{"two are missing", Assignments, "\nscore\n", Options{}, []string{"a.csv:2: usr_id:", "a.csv:2: ent_id:"}},
		{"none by a mapped name", Assignments, "ent_id,x\n", mapped("assignments.usr_id=EMPNO"), []string{"usr_id, user_id or EMPNO"}},
		{"another file's mapping", Assignments, "EMPNO,ent_id\n", mapped("identities.usr_id=EMPNO"), []string{"usr_id: there is no such column"}},
		{"a mapped column that is not required", Assignments, "usr_id,ent_id,confidnce\n", mapped("assignments.score=confidence"), []string{"score: there is no such column", "score or confidence"}},
		{"an ignored column", Assignments, "usr_id,ent_id\n", mapped("assignments.ignore=ENT_ID"), []string{"ent_id: there is no such column"}},
		{"one field twice", Assignments, "ent_id,usr_id, USER_ID\n", Options{}, []string{`a.csv:1:15: usr_id: column 2, "usr_id", and column 3, " USER_ID", are the same`, "assignments.ignore"}},
		{"one attribute twice", Assignments, "usr_id,ent_id,City,CITY\n", Options{}, []string{`CITY: column 3, "City", and column 4, "CITY", are the same`}},
		{"a mapped one beside its own name", Assignments, "usr_id,ent_id,EMPNO\n", mapped("assignments.usr_id=empno"), []string{"a.csv:1:15: usr_id: column 1"}},
		{"semicolons", Assignments, "usr_id;ent_id;score\n", Options{}, []string{"a.csv:1: the columns seem to be separated by ';'"}},
		{"tabs", Assignments, "usr_id\tent_id\n", Options{}, []string{`separated by '\t'`}},
		{"commas after all", Assignments, "usr_id,ent_id\n", Options{Comma: ';'}, []string{"separated by ','"}},
		{"UTF-16, little end first", Assignments, "\xff\xfeu\x00s\x00", Options{}, []string{"a.csv:1:1: the file is in UTF-16; save it as UTF-8"}},
		{"UTF-16, big end first", Assignments, "\xfe\xff\x00u\x00s", Options{}, []string{"UTF-16"}},
		{"UTF-16 without a mark", Assignments, "u\x00s\x00r\x00", Options{}, []string{"not a CSV file in UTF-8"}},
		{"a spreadsheet", Assignments, "PK\x03\x04\x14\x00\n", Options{}, []string{"not a CSV file in UTF-8"}},
		{"Latin-1", Assignments, "usr_id,ent_id,Stra\xdfe\n", Options{}, []string{"a.csv:1:15: not valid UTF-8"}},
		{"lines that end with CR", Assignments, "usr_id,ent_id\ra,b\r", Options{}, []string{"end lines with LF or CRLF"}},
		{"a stray quote", Assignments, `usr_id,"ent"_id` + "\n", Options{}, []string{"a.csv:1:12: a quoted cell that does not end with its quote"}},
		{"a header without an end", Assignments, strings.Repeat("x", MaxRecordBytes+1), Options{}, []string{"a.csv:1: a row of more than 1048576 bytes"}},
	} {
		r, err := NewReader(strings.NewReader(c.in), "a.csv", c.file, c.opts)
		var fault *Error
		if r != nil || !errors.As(err, &fault) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q lacks %q", c.name, err, want)
			}
		}
		if len(c.want) == 1 && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one fault: %q", c.name, err)
		}
	}
}

func TestUnusableOptions(t *testing.T) {
	for _, c := range []struct {
		file  File
		comma byte
	}{{"users", 0}, {"", ','}, {Assignments, '"'}, {Assignments, '\n'}, {Assignments, 'a'}, {Assignments, ' '}, {Assignments, 0x80}} {
		_, err := NewReader(strings.NewReader("usr_id,ent_id\n"), "a.csv", c.file, Options{Comma: c.comma})
		if fault := (*Error)(nil); err == nil || errors.As(err, &fault) {
			t.Errorf("%q with %q: %v", c.file, c.comma, err)
		}
	}
	for _, comma := range []byte(",;\t|^~") {
		in := bytes.ReplaceAll([]byte("usr_id,ent_id,city\na,b,c\n"), []byte(","), []byte{comma})
		r, err := NewReader(bytes.NewReader(in), "a.csv", Assignments, Options{Comma: comma})
		if err != nil {
			t.Errorf("%q: %v", comma, err)
			continue
		}
		if record, err := r.Read(); err != nil || string(record.Data) != `{"usr_id":"a","ent_id":"b","city":"c"}` {
			t.Errorf("%q: %s %v", comma, record.Data, err)
		}
	}
}

func TestColumnsRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "FILE.FIELD=HEADER",
		"usr_id=EMPNO":               "FILE.FIELD=HEADER",
		"identities.usr_id":          "FILE.FIELD=HEADER",
		"users.usr_id=EMPNO":         "applications, entitlements, identities or assignments",
		"identities.usr_idd=EMPNO":   "usr_id, usr_name",
		"identities.ent_id=EMPNO":    "identities.csv has no field",
		"identities.usr_id=  ":       "has no header",
		"identities.usr_id= Empno":   "", // again
		"identities.ignore=empno":    "keep one",
		"identities.email=EMPNO":     "mapped to usr_id and to email",
		"assignments.email=EMPNO":    "has no field",
		"assignments.usr_id=EMPNO":   "", // another file
		"identities.usr_id=a = b . ": "",
	} {
		var c Columns
		if err := c.MapText("identities.usr_id=EMPNO"); err != nil {
			t.Fatal(err)
		}
		err := c.MapText(text)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
		} else if !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
}

// TestFailingFile checks that a file's own errors are not taken for faults in it.
func TestFailingFile(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, text := range []string{"", "usr_id,", "usr_id,ent_id\n", "usr_id,ent_id\na,b\n", "usr_id,ent_id\na,b\nc,", "usr_id,ent_id\na,\"b\n"} {
		r, err := NewReader(io.MultiReader(strings.NewReader(text), failing{broken}), "a.csv", Assignments, Options{})
		for err == nil {
			_, err = r.Read()
		}
		if fault := (*Error)(nil); !errors.Is(err, broken) || errors.As(err, &fault) || !strings.Contains(err.Error(), "a.csv") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
