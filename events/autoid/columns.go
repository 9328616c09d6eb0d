package autoid

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Ignore in the place of a field leaves a column out.
const Ignore = "ignore"

// ErrMapping is returned by Columns.Map and Columns.MapText for a mapping that
// cannot stand: of a file or field that does not exist, without a header, or of a
// header that already has another meaning.
var ErrMapping = errors.New("not a mapping of a column")

// Columns says what headers mean beyond what is documented. What it says of a
// header comes before what the header's name would say. The zero value says
// nothing and is ready for use; a copy shares what was added.
type Columns struct {
	// byFile holds, for each file, the meanings in the order in which they were added.
	byFile map[File][]meaning
}

type meaning struct {
	header string // as the operator wrote it, trimmed
	field  string // the field's own name, or Ignore
}

// Map makes a column with this header the given field of the file, or with
// Ignore leaves it out. A field may have several headers, of which a file holds
// one; a header means one thing in one file, and may mean another in the next.
// An error wraps ErrMapping.
func (c *Columns) Map(f File, fieldName, header string) error {
	l, ok := layouts[f]
	if !ok {
		return fmt.Errorf("%w: there is no file %q; use %s", ErrMapping, f, enumerate(Files))
	}
	header = strings.TrimSpace(header)
	if header == "" {
		return fmt.Errorf("%w: %s.%s has no header; name the column of %s", ErrMapping, f, fieldName, f.Name())
	}
	if _, ok := l.field(fieldName); !ok && fieldName != Ignore {
		var known []string
		for _, field := range l.fields {
			known = append(known, field.name)
		}
		return fmt.Errorf("%w: %s has no field %q; use %s", ErrMapping, f.Name(), fieldName, enumerate(append(known, Ignore)))
	}
	if m, ok := c.meaning(f, fold(header)); ok {
		if m.field == fieldName {
			return nil
		}
		return fmt.Errorf("%w: the header %q of %s is mapped to %s and to %s; keep one", ErrMapping, header, f.Name(), m.field, fieldName)
	}
	if c.byFile == nil {
		c.byFile = make(map[File][]meaning)
	}
	c.byFile[f] = append(c.byFile[f], meaning{header, fieldName})
	return nil
}

// MapText reads one mapping "FILE.FIELD=HEADER", such as
// "identities.usr_id=EMPLOYEE_NUMBER" or "identities.ignore=SSN". The header may
// hold any character. An error wraps ErrMapping.
func (c *Columns) MapText(text string) error {
	target, header, ok := strings.Cut(text, "=")
	file, fieldName, dot := strings.Cut(target, ".")
	if !ok || !dot {
		return fmt.Errorf("%w: %q; write FILE.FIELD=HEADER, such as identities.usr_id=EMPLOYEE_NUMBER", ErrMapping, text)
	}
	return c.Map(File(strings.TrimSpace(file)), strings.TrimSpace(fieldName), header)
}

// meaning finds what was said of a header, which is folded.
func (c *Columns) meaning(f File, header string) (meaning, bool) {
	i := slices.IndexFunc(c.byFile[f], func(m meaning) bool { return fold(m.header) == header })
	if i < 0 {
		return meaning{}, false
	}
	return c.byFile[f][i], true
}

// headers lists the headers that were given to a field.
func (c *Columns) headers(f File, fieldName string) []string {
	var all []string
	for _, m := range c.byFile[f] {
		if m.field == fieldName {
			all = append(all, m.header)
		}
	}
	return all
}

// enumerate writes "a, b or c".
func enumerate[S ~string](all []S) string {
	var b strings.Builder
	for i, s := range all {
		switch {
		case i > 0 && i == len(all)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(s))
	}
	return b.String()
}
