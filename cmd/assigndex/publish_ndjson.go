package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
)

// ndjsonInput is files of one JSON object a line.
type ndjsonInput struct {
	*publishing
	files []string
	typ   events.Type // of lines that do not say their own
}

// openNDJSON makes the input of a run. Files are opened one after the other.
func (r *publishing) openNDJSON(files []string, typ events.Type) *ndjsonInput {
	r.unit = "lines"
	r.bar = r.progress(totalBytes(files))
	if len(files) == 0 {
		files = []string{"-"}
	}
	return &ndjsonInput{publishing: r, files: files, typ: typ}
}

func (n *ndjsonInput) send(ctx context.Context) error {
	for _, name := range n.files {
		if err := n.file(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (n *ndjsonInput) file(ctx context.Context, name string) error {
	if name == "-" {
		return n.lines(ctx, "standard input", n.in)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return n.lines(ctx, name, f)
}

// maxLine is the longest line that is read whole: an event at its limit, with
// room for its envelope.
const maxLine = 2 * events.MaxEventBytes

func (n *ndjsonInput) lines(ctx context.Context, name string, in io.Reader) error {
	n.begin(name)
	lines := bufio.NewReaderSize(n.read(ctx, in), maxLine)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		tooLong := false
		for errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			_, err = lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", name, number, err)
		}
		switch {
		case tooLong:
			n.report(fmt.Errorf("%s:%d: the line is longer than %d bytes", name, number, maxLine))
		case !blank(line):
			if err := n.line(ctx, number, line); err != nil {
				return err
			}
		}
		if err != nil {
			return n.end(ctx, false)
		}
	}
}

func (n *ndjsonInput) line(ctx context.Context, number int, line []byte) error {
	msg, err := publisher.ParseLine(line, n.typ)
	if err != nil {
		n.report(fmt.Errorf("%s:%d: %w", n.part.name, number, err))
		return nil
	}
	return n.add(ctx, number, msg)
}

func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}
