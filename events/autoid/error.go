package autoid

import (
	"strconv"
	"strings"
)

// Error says what is wrong at one place of a file. From NewReader it means that
// the file cannot be read, from Reader.Read that one row is left out. It holds no
// text of params, whose values may be secret.
type Error struct {
	Name    string // the file, as NewReader was told
	Line    int    // from 1, as an editor counts lines
	Column  int    // the byte in the line, from 1; 0: the whole line
	Field   string // the field of the record; empty: none in particular
	Header  string // what the header calls the field, when that is another name
	Problem string
	Remedy  string // what to do about it
}

// Error gives place, field, problem and remedy in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Name + ":" + strconv.Itoa(e.Line) + ":")
	if e.Column > 0 {
		b.WriteString(strconv.Itoa(e.Column) + ":")
	}
	b.WriteString(" ")
	if e.Field != "" {
		b.WriteString(e.Field)
		if e.Header != "" {
			b.WriteString(" (column " + shown(e.Header) + ")")
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// shown quotes a header for a message, shortened.
func shown(header string) string {
	const most = 64
	if len(header) > most {
		header = strings.ToValidUTF8(header[:most], "") + "…"
	}
	return strconv.Quote(header)
}
