package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Snapshot is a snapshot of a whole index as it comes in. It must be read to its end,
// which checks nothing: the snapshot's own checksums tell whether it is whole.
type Snapshot struct {
	Seq    uint64 // the sequence that it was taken at
	Stream string // the incarnation of the stream that the sequence is of

	body    io.ReadCloser
	ctx     context.Context //nolint:containedctx // of one answer
	cancel  context.CancelCauseFunc
	silence *time.Timer
}

// snapshotSilence is how long a server is believed in that sends nothing. It reads its
// files before the first part.
const snapshotSilence = 10 * time.Minute

// Snapshot asks the server for a snapshot of its index and of the hashed API keys. It
// needs a key of an admin for all tenants, and is asked once. The snapshot must be
// closed.
func (c *Client) Snapshot(ctx context.Context) (*Snapshot, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &Snapshot{ctx: ctx, cancel: cancel, silence: time.AfterFunc(snapshotSilence, func() { cancel(errSilent) })}
	if err := c.openSnapshot(s); err != nil {
		s.silence.Stop()
		cancel(nil)
		return nil, err
	}
	return s, nil
}

func (c *Client) openSnapshot(s *Snapshot) error {
	req, err := c.request(s.ctx, http.MethodGet, c.snapshot, "", nil)
	if err != nil {
		return err
	}
	endless := *c.opts.HTTP
	endless.Timeout = 0 // silence has its own
	res, err := endless.Do(req)
	if err != nil {
		return because(s.ctx, err)
	}
	if res.StatusCode == http.StatusOK {
		s.Stream = res.Header.Get("Assigndex-Stream")
		if s.Seq, err = strconv.ParseUint(res.Header.Get("Assigndex-Seq"), 10, 64); err == nil {
			s.body = res.Body
			return nil
		}
		_ = res.Body.Close() // of no use
		return malformed("it has no sequence", err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	content, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return because(s.ctx, fmt.Errorf("read the answer: %w", err))
	}
	return problem(res, content)
}

// Read is part of io.Reader. A snapshot that the server or the network cut off is
// io.ErrUnexpectedEOF.
func (s *Snapshot) Read(b []byte) (n int, err error) {
	n, err = s.body.Read(b)
	if n > 0 {
		s.silence.Reset(snapshotSilence)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = because(s.ctx, err)
	}
	return n, err
}

// Close is part of io.Closer.
func (s *Snapshot) Close() error {
	s.silence.Stop()
	err := s.body.Close()
	s.cancel(nil)
	return err
}
