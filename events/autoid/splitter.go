package autoid

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/assigndex/assigndex/events"
)

// MaxRecordBytes is the longest row that is read, quotes and separators included.
// It is far above what fits an event, so a longer one is no row to be published.
const MaxRecordBytes = 4 * events.MaxEventBytes

// errRecordTooLong is returned by splitter.Read in the place of a record that is
// longer than MaxRecordBytes. The next Read goes on after it.
var errRecordTooLong = errors.New("the row is too long")

// splitter hands out a file's text to a csv.Reader, never more than the rest of one
// record in a call. That bounds what a quote that is never closed can cost, since
// csv.Reader would hold all that comes after it, and it keeps count of lines when
// csv.Reader does not.
//
// A record ends where csv.Reader ends it, faults included: after a stray quote, at
// the end of the line.
type splitter struct {
	in    *bufio.Reader
	comma byte

	buf    []byte // a record, reused
	rest   []byte // what is left of it to hand out
	line   int    // where the record that was handed out last starts, from 1
	before int    // lines read
}

// readAhead is how much of a file is read at once, in bytes.
const readAhead = 64 << 10

func newSplitter(in io.Reader, comma byte) *splitter {
	return &splitter{in: bufio.NewReaderSize(in, readAhead), comma: comma}
}

func (s *splitter) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next reads a record.
func (s *splitter) next() error {
	s.buf = s.buf[:0]
	start := s.before + 1
	size, at := 0, cellStart
	for {
		chunk, err := s.in.ReadSlice('\n')
		size += len(chunk)
		if size <= MaxRecordBytes {
			s.buf = append(s.buf, chunk...)
		}
		at = at.after(chunk, s.comma)
		switch {
		case err == nil:
			s.before++
			if at == quoted {
				continue
			}
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && size > 0:
		default:
			return err // s.line stays: a record that is not whole asks for more at the end
		}
		s.line = start
		if size > MaxRecordBytes {
			return errRecordTooLong
		}
		s.rest = s.buf
		return nil
	}
}

// place is where in a record the reading stands.
type place uint8

const (
	cellStart   place = iota
	unquoted          // inside a cell without quotes
	quoted            // inside quotes: the only place where a line end does not end the record
	quoteInside       // after a quote inside quotes: the end of the cell, or the first of two
	fault             // after a stray quote: all is passed over up to the end of the line
)

// after moves on over text, which holds a line end at its end at most.
func (at place) after(text []byte, comma byte) place {
	// Most rows have no quote, and most cells are not quoted.
	if at == cellStart && bytes.IndexByte(text, '"') < 0 {
		if n := len(text); n > 0 && text[n-1] != '\n' && text[n-1] != comma {
			return unquoted
		}
		return cellStart
	}
	for _, c := range text {
		switch {
		case at == quoted:
			if c == '"' {
				at = quoteInside
			}
		case c == '\n':
			at = cellStart
		case at == fault:
		case c == comma:
			at = cellStart
		case at == cellStart && c == '"', at == quoteInside && c == '"':
			at = quoted
		case c == '"', at == quoteInside:
			at = fault
		default:
			at = unquoted
		}
	}
	return at
}
