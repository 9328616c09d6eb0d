package autoid

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assigndex/assigndex/events"
)

// Options say how files are written. The zero value is for the documented form.
type Options struct {
	Columns Columns // further names of columns
	Comma   byte    // what separates cells, see ValidComma; 0: a comma
}

// ValidComma reports whether c can separate cells: a tab, or a printable ASCII
// character that is no letter, digit, space, underscore or quote.
func ValidComma(c byte) bool {
	return c == '\t' || (c > ' ' && c < 0x7f && strings.IndexByte(
		"\"_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c) < 0)
}

// Record is the data of one event.
type Record struct {
	Type events.Type
	Data []byte // JSON, valid until the next Read
	Line int    // where its row starts, from 1
}

// Reader reads one file. It belongs to one goroutine.
type Reader struct {
	name    string
	file    File
	opts    Options
	split   *splitter
	csv     *csv.Reader
	columns []column
	data    []byte // of the last record
}

// NewReader reads the header of a file that messages call by name. The caller
// keeps in and closes it.
//
// What is wrong with the header is in the error as one *Error, or several joined;
// any other error is that in failed, or that opts cannot be used.
func NewReader(in io.Reader, name string, file File, opts Options) (*Reader, error) {
	if _, ok := layouts[file]; !ok {
		return nil, fmt.Errorf("autoid: there is no file %q", file)
	}
	if opts.Comma == 0 {
		opts.Comma = ','
	}
	if !ValidComma(opts.Comma) {
		return nil, fmt.Errorf("autoid: %q cannot separate cells", opts.Comma)
	}
	r := &Reader{name: name, file: file, opts: opts}
	r.split = newSplitter(in, opts.Comma)
	if err := r.byteOrderMark(); err != nil {
		return nil, err
	}
	r.csv = newCSV(r.split, opts.Comma)
	names, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, &Error{Name: name, Line: 1, Problem: "the file is empty", Remedy: "begin it with a header that names the columns"}
	}
	if err != nil {
		return nil, r.unreadable(err)
	}
	if err := r.header(names); err != nil {
		return nil, err
	}
	return r, nil
}

func newCSV(in io.Reader, comma byte) *csv.Reader {
	c := csv.NewReader(in)
	c.Comma = rune(comma)
	c.FieldsPerRecord = -1 // counted here, to say where
	c.ReuseRecord = true
	return c
}

// byteOrderMark passes over the mark of UTF-8 and refuses those of UTF-16.
func (r *Reader) byteOrderMark() error {
	head, err := r.split.in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	if bytes.HasPrefix(head, []byte("\xfe\xff")) || bytes.HasPrefix(head, []byte("\xff\xfe")) {
		return &Error{Name: r.name, Line: 1, Column: 1, Problem: "the file is in UTF-16", Remedy: "save it as UTF-8"}
	}
	if bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = r.split.in.Discard(len(head)) // they are in the buffer
	}
	return nil
}

// Read gives the next record. It returns io.EOF after the last one. An *Error
// says that a row is left out and why; the next Read goes on with the row after
// it. After any other error, which is one of the file's own, nothing follows.
func (r *Reader) Read() (Record, error) {
	for {
		cells, err := r.csv.Read()
		if errors.Is(err, io.EOF) {
			return Record{}, io.EOF
		}
		if err != nil {
			return Record{}, r.unreadable(err)
		}
		if blank(cells) {
			continue
		}
		if err := r.row(cells); err != nil {
			return Record{}, err
		}
		return Record{Type: r.file.Type(), Data: r.data, Line: r.split.line}, nil
	}
}

// row writes the record of a row into r.data. Its error is an *Error.
func (r *Reader) row(cells []string) error {
	if have, want := len(cells), len(r.columns); have != want {
		at := min(have-1, want) // the first cell too many, or the last one there is
		line, col := r.position(at)
		return &Error{
			Name: r.name, Line: line, Column: col, Problem: fmt.Sprintf("a row of %d cells, where the header has %d", have, want),
			Remedy: "give every row the header's cells, and put a cell that holds a separator or a line end in quotes",
		}
	}
	r.data = append(r.data[:0], '{')
	for i, cell := range cells {
		c := &r.columns[i]
		if cell == "" || c.form == formIgnored {
			continue
		}
		if len(r.data) > 1 {
			r.data = append(r.data, ',')
		}
		r.data = append(r.data, c.member...)
		var fault *cellFault
		if r.data, fault = appendCell(r.data, c.form, cell); fault != nil {
			return r.fault(i, c.field, fault.problem, fault.remedy)
		}
	}
	r.data = append(r.data, '}')
	if _, err := events.DecodeData("", r.file.Type(), r.data); err != nil {
		return r.rejected(err)
	}
	return nil
}

// rejected finds the cell that a rejection is about.
func (r *Reader) rejected(err error) error {
	var rej *events.Rejection
	if !errors.As(err, &rej) {
		return fmt.Errorf("%s: %w", r.name, err) // DecodeData gives no other
	}
	top, _, _ := strings.Cut(rej.Field, "/")
	at := -1
	if _, named := layouts[r.file].field(top); named { // an attribute may be called "body"
		at = slices.IndexFunc(r.columns, func(c column) bool { return c.field == top })
	}
	return r.fault(at, rej.Field, rej.Problem, rej.Remedy)
}

// fault makes the error of cell i of the row that was read last; -1: of the row.
func (r *Reader) fault(i int, field, problem, remedy string) *Error {
	e := &Error{Name: r.name, Line: r.split.line, Field: field, Problem: problem, Remedy: remedy}
	if i >= 0 {
		e.Line, e.Column = r.position(i)
		e.Header = r.columns[i].header
	}
	return e
}

// position tells where cell i of the row that was read last starts.
func (r *Reader) position(i int) (line, column int) {
	first, _ := r.csv.FieldPos(0)
	line, column = r.csv.FieldPos(i)
	return r.split.line + line - first, column
}

// unreadable makes the error of a row that cannot be taken apart, or passes an
// error of the file on.
func (r *Reader) unreadable(err error) error {
	if errors.Is(err, errRecordTooLong) {
		return &Error{
			Name: r.name, Line: r.split.line,
			Problem: fmt.Sprintf("a row of more than %d bytes, up to line %d", MaxRecordBytes, r.split.before),
			Remedy:  "close the quote that is open there, end lines with LF or CRLF, or shorten the row",
		}
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	e := &Error{
		Name: r.name, Line: r.split.line + parse.Line - parse.StartLine, Column: parse.Column,
		Remedy: "put the whole cell in quotes, without a space before them, and double each quote inside",
	}
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		e.Problem = "a quote in a cell that does not begin with one"
	default:
		e.Problem = "a quoted cell that does not end with its quote"
	}
	if r.split.before > r.split.line {
		e.Problem += fmt.Sprintf("; the lines %d to %d are left out as one row", r.split.line, r.split.before)
	}
	return e
}

// blank reports whether a row holds no text, as spreadsheets write at the end.
func blank(cells []string) bool {
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			return false
		}
	}
	return true
}
