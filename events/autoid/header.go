package autoid

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// column is what the cells of one column become.
type column struct {
	field  string // the member's name; empty for one that becomes none
	header string // what the header calls it, when that is another name
	form   form
	member []byte // `"name":`, ready to be written
}

// header reads the names of the columns. All that is wrong with them is in the
// error, as one or more *Error.
func (r *Reader) header(names []string) error {
	var faults []error
	fail := func(i int, field, remedy, problem string, args ...any) {
		e := &Error{Name: r.name, Line: r.split.line, Field: field, Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
		if i >= 0 {
			e.Line, e.Column = r.position(i)
		}
		faults = append(faults, e)
	}
	legible := true
	first := make(map[string]int, len(names)) // the column that a member has
	for i, name := range names {
		before := len(faults)
		switch {
		case !utf8.ValidString(name):
			fail(i, "", "save the file as UTF-8", "not valid UTF-8")
		case strings.ContainsRune(name, '\r'):
			fail(i, "", "end lines with LF or CRLF", "a carriage return that ends no line")
		case strings.ContainsFunc(name, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' }):
			fail(i, "", "save the file as CSV in UTF-8", "a control character in the header: this is not a CSV file in UTF-8")
		}
		legible = legible && len(faults) == before
		c := newColumn(r.file, &r.opts.Columns, name)
		r.columns = append(r.columns, c)
		if c.field == "" {
			continue
		}
		key := fold(c.field)
		if j, twice := first[key]; twice {
			fail(i, c.field, fmt.Sprintf("rename one, or leave one out by mapping it to %s.%s", r.file, Ignore),
				"column %d, %s, and column %d, %s, are the same", j+1, shown(names[j]), i+1, shown(name))
			continue
		}
		first[key] = i
	}
	if legible {
		r.missing(names, first, fail)
	}
	return errors.Join(faults...)
}

// missing reports the columns that should be there and are not.
func (r *Reader) missing(names []string, first map[string]int, fail func(i int, field, remedy, problem string, args ...any)) {
	separated := separator(names)
	for _, f := range layouts[r.file].fields {
		told := r.opts.Columns.headers(r.file, f.name)
		if _, ok := first[f.name]; ok || (!f.required && len(told) == 0) {
			continue
		}
		if separated != 0 {
			fail(-1, "", fmt.Sprintf("set the separator to %q", separated), "the columns seem to be separated by %q", separated)
			return // the columns are there, one guesses
		}
		// Of a field that is not required, the mapping says that there is a column.
		// Were it passed over, its values would end as attributes of another name.
		fail(-1, f.name, fmt.Sprintf("name one %s, or map one to it as %s.%s=HEADER", enumerate(append(f.names(), told...)), r.file, f.name),
			"there is no such column")
	}
}

// separator guesses what separates the columns of a header that seems to have one
// column only; 0: nothing that is known.
func separator(names []string) rune {
	if len(names) != 1 {
		return 0
	}
	for _, c := range ",;\t|" {
		if strings.ContainsRune(names[0], c) {
			return c
		}
	}
	return 0
}

func newColumn(file File, columns *Columns, name string) column {
	name = strings.TrimSpace(name)
	key := fold(name)
	var f field
	var known bool
	if m, ok := columns.meaning(file, key); ok {
		if m.field == Ignore {
			return column{form: formIgnored}
		}
		f, known = layouts[file].field(m.field)
	} else {
		f, known = layouts[file].called(key)
	}
	c := column{field: name} // an attribute
	switch {
	case known:
		c.field, c.form = f.name, f.form
		if key != f.name {
			c.header = name
		}
	case name == "":
		return column{form: formUnnamed}
	}
	// A name that is not valid is a fault of the header, and never written.
	c.member, _ = jsontext.AppendQuote(nil, c.field)
	c.member = append(c.member, ':')
	return c
}
