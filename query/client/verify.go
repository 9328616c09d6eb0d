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
)

// VerifyRequest says what to verify. It needs a key of an admin for all tenants.
type VerifyRequest struct {
	At      *uint64 `json:"at,omitzero"`      // the sequence; nil: the last applied one
	Rebuild bool    `json:"rebuild,omitzero"` // also compare with an index built afresh from the stream

	// Progress is told how far the server is; nil: nobody is.
	Progress func(check string, done, of int64) `json:"-"`
}

// Verification is what a verification found.
type Verification struct {
	Seq         uint64  `json:"seq"`
	Stream      string  `json:"stream"` // its incarnation
	Assignments int     `json:"assignments"`
	Digest      string  `json:"digest"` // empty: the index could not be read
	Checks      []Check `json:"checks"`
	Erased      uint64  `json:"erased,omitzero"` // messages that the stream no longer holds
}

// Check is one check of a verification.
type Check struct {
	Name        string    `json:"name"`
	Skipped     string    `json:"skipped,omitzero"` // why it was not made; empty: it was
	Checked     int64     `json:"checked"`
	Differences int       `json:"differences"`
	Found       []Finding `json:"found"` // the first of the differences
}

// Finding is a difference in words.
type Finding struct {
	Subject string `json:"subject"`
	Problem string `json:"problem"`
}

// verifySilence is how long a server that verifies is believed in without a line. It
// sends one a second while it reads keys.
const verifySilence = 2 * time.Minute

// maxVerifyLine bounds a line of the answer, in bytes.
const maxVerifyLine = 4 << 20

// Verify asks the server to verify its index and waits for the result, however long
// that takes. Differences are in the result. It is asked once: it costs too much to
// be tried again by itself.
func (c *Client) Verify(ctx context.Context, r VerifyRequest) (*Verification, error) {
	body, err := json.Marshal(&r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(verifySilence, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := c.request(ctx, http.MethodPost, c.verify, "", body)
	if err != nil {
		return nil, err
	}
	endless := *c.opts.HTTP
	endless.Timeout = 0 // silence has its own
	res, err := endless.Do(req)
	if err != nil {
		return nil, because(ctx, err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	if res.StatusCode != http.StatusOK {
		content, err := io.ReadAll(io.LimitReader(res.Body, maxVerifyLine))
		if err != nil {
			return nil, because(ctx, fmt.Errorf("read the answer: %w", err))
		}
		return nil, problem(res, content)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxVerifyLine)
	for lines.Scan() {
		silence.Reset(verifySilence)
		result, err := r.line(lines.Bytes())
		if result != nil || err != nil {
			return result, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, because(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return nil, fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF) // the server ended it with a result or a problem
}

// line reads a line of the answer. The last one has a result or an error.
func (r *VerifyRequest) line(text []byte) (*Verification, error) {
	var line struct {
		Progress *struct {
			Check string `json:"check"`
			Done  int64  `json:"done"`
			Of    int64  `json:"of"`
		} `json:"progress"`
		Report *Verification `json:"report"`
		Error  *Error        `json:"error"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, malformed("it is no line of a verification", err)
	}
	switch {
	case line.Error != nil:
		return nil, line.Error
	case line.Report != nil:
		return line.Report, nil
	case line.Progress == nil:
		return nil, malformed("it is no line of a verification", nil)
	case r.Progress != nil:
		r.Progress(line.Progress.Check, line.Progress.Done, line.Progress.Of)
	}
	return nil, nil
}

// because names the silence as the cause of an error that it caused.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return err
}
