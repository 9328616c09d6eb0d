package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// longSilence is how long a server at long work is believed in without a line. It
// sends one a second while it reads keys or messages; between two steps it may open
// an index, which is read whole.
const longSilence = 5 * time.Minute

// maxLongLine bounds a line of the answer, in bytes.
const maxLongLine = 4 << 20

// long asks for something that lasts and waits for its report, however long that takes.
// progress is told how far the server is; nil: nobody is.
func (c *Client) long(ctx context.Context, url string, body []byte, progress func(check string, done, of int64), report any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(longSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := c.request(ctx, http.MethodPost, url, "", body)
	if err != nil {
		return err
	}
	endless := *c.opts.HTTP
	endless.Timeout = 0 // silence has its own
	res, err := endless.Do(req)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	if res.StatusCode != http.StatusOK {
		content, err := io.ReadAll(io.LimitReader(res.Body, maxLongLine))
		if err != nil {
			return because(ctx, fmt.Errorf("read the answer: %w", err))
		}
		return problem(res, content)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLongLine)
	for lines.Scan() {
		silence.Reset(longSilence)
		last, err := longLine(lines.Bytes(), progress, report)
		if last || err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return because(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF) // the server ended it with a result or a problem
}

// longLine reads a line of an answer. The last one has a report or an error.
func longLine(text []byte, progress func(check string, done, of int64), report any) (last bool, err error) {
	var line struct {
		Progress *struct {
			Check string `json:"check"`
			Done  int64  `json:"done"`
			Of    int64  `json:"of"`
		} `json:"progress"`
		Report jsontext.Value `json:"report"`
		Error  *Error         `json:"error"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return false, malformed("it is no line of such an answer", err)
	}
	switch {
	case line.Error != nil:
		return true, line.Error
	case line.Report != nil:
		if err := json.Unmarshal(line.Report, report); err != nil {
			return true, malformed("its report cannot be read", err)
		}
		return true, nil
	case line.Progress == nil:
		return false, malformed("it is no line of such an answer", nil)
	case progress != nil:
		progress(line.Progress.Check, line.Progress.Done, line.Progress.Of)
	}
	return false, nil
}

// because names the silence as the cause of an error that it caused.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}
