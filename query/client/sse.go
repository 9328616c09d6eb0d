package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxEvent bounds the lines of one event, in bytes. The server sends one change in
// it, with the records of what it is about.
const maxEvent = 64 << 20

// event is a server-sent event.
type event struct {
	name string
	data []byte
}

// eventReader reads server-sent events as the server writes them: data on one line.
type eventReader struct {
	lines *bufio.Reader
}

// next reads a whole event; what was read of one before an error does not count. alive
// is called for every line, comments too.
func (r *eventReader) next(alive func()) (e event, err error) {
	size := 0
	for {
		line, err := r.line(maxEvent - size)
		if err != nil {
			return event{}, err
		}
		alive()
		size += len(line)
		if len(line) == 0 {
			if e.name != "" {
				return e, nil
			}
			size = 0
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.name = string(value)
		case "data":
			e.data = value
		}
	}
}

// line reads a line without its end.
func (r *eventReader) line(limit int) (line []byte, err error) {
	for {
		part, err := r.lines.ReadSlice('\n')
		if line = append(line, part...); len(line) > limit {
			return nil, fmt.Errorf("%w: an event has more than %d bytes", ErrMalformed, maxEvent)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF // nobody knows whether there was more
		default:
			return nil, err
		}
	}
}
