package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// StoredSnapshot is a snapshot in the server's object store.
type StoredSnapshot struct {
	Name    string    `json:"name"`
	Seq     uint64    `json:"seq"`
	Floor   uint64    `json:"floor"`          // the lowest sequence that can be read in it
	Stream  string    `json:"stream"`         // the incarnation that Seq is of
	Created time.Time `json:"stream_created"` // when that stream was created
	Format  int       `json:"format"`
	Fold    int       `json:"fold"`
	Taken   time.Time `json:"taken"`
	Bytes   int64     `json:"bytes"` // as stored
}

// StoredSnapshots gives the snapshots in the server's object store, the newest first. It
// needs a key of an admin for all tenants.
func (c *Client) StoredSnapshots(ctx context.Context) ([]StoredSnapshot, error) {
	var list struct {
		Snapshots []StoredSnapshot `json:"snapshots"`
	}
	err := c.exchange(ctx, http.MethodGet, c.snapshots, "", nil, func(a answer) error {
		if err := json.Unmarshal(a.content, &list); err != nil {
			return malformed("it is no list of snapshots", err)
		}
		return nil
	})
	return list.Snapshots, err
}

// TakeSnapshot has the server take a snapshot into its object store, and returns when it
// is stored, however long that takes. progress, unless nil, is told how many bytes were.
// It needs a key of an admin for all tenants, and is asked once.
func (c *Client) TakeSnapshot(ctx context.Context, progress func(bytes int64)) (*StoredSnapshot, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(snapshotSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	req, err := c.request(ctx, http.MethodPost, c.snapshots, "", nil)
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
		content, err := io.ReadAll(io.LimitReader(res.Body, maxLongLine))
		if err != nil {
			return nil, because(ctx, fmt.Errorf("read the answer: %w", err))
		}
		return nil, problem(res, content)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxLongLine)
	for lines.Scan() {
		silence.Reset(snapshotSilence)
		stored, err := snapshotLine(lines.Bytes(), progress)
		if stored != nil || err != nil {
			return stored, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, because(ctx, fmt.Errorf("read the answer: %w", err))
	}
	return nil, fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF) // the server ended it with a snapshot or a problem
}

// snapshotLine reads a line of the answer. The last one has a snapshot or an error.
func snapshotLine(text []byte, progress func(int64)) (*StoredSnapshot, error) {
	var line struct {
		Progress *struct {
			Bytes int64 `json:"bytes"`
		} `json:"progress"`
		Snapshot *StoredSnapshot `json:"snapshot"`
		Error    *Error          `json:"error"`
	}
	if err := json.Unmarshal(text, &line); err != nil {
		return nil, malformed("it is no line of a snapshot", err)
	}
	switch {
	case line.Error != nil:
		return nil, line.Error
	case line.Snapshot != nil:
		return line.Snapshot, nil
	case line.Progress == nil:
		return nil, malformed("it is no line of a snapshot", nil)
	case progress != nil:
		progress(line.Progress.Bytes)
	}
	return nil, nil
}
