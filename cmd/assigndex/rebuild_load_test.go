package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/query/client"
)

// ask sends a listing request of the default tenant, once.
func (r *running) ask(key, body string) (status int, answer string) {
	r.t.Helper()
	status, _, answer, err := r.post(r.t.Context(), key, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return status, answer
}

// post is ask from any goroutine, with the sequence that the answer is of.
func (r *running) post(ctx context.Context, key, body string) (status int, seq, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url()+"/api/assignments", strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Assigndex-Tenant", "default")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Assigndex-Seq"), string(content), err
}

// ahead is how far a publisher goes ahead of the index.
const ahead = 500

// distinct publishes assignments that are all different, one for each sequence, until
// the context ends, and tells how far it is.
func (r *running) distinct(ctx context.Context, last *atomic.Uint64) error {
	for i := last.Load(); ctx.Err() == nil; {
		msgs := make([]publisher.Message, 0, 50)
		for range cap(msgs) {
			m, err := publisher.NewRecord(events.AssignmentUpserted, fmt.Appendf(nil, `{"usr_id":"u%05d","ent_id":"e%d","score":0.5}`, i, i%7))
			if err != nil {
				return err
			}
			msgs = append(msgs, m)
			i++
		}
		ack, err := r.node.ingest.publish(ctx, "default", msgs)
		if err != nil {
			return errors.Join(err, ctx.Err())
		}
		last.Store(ack.LastSeq)
		// No faster than they are applied, or who reads its own writes waits in vain.
		if ack.LastSeq > ahead {
			if err := r.index.Wait(ctx, ack.LastSeq-ahead); err != nil {
				return err
			}
		}
	}
	return nil
}

// pages reads a whole listing and compares the number of its rows with the sequence of
// its first page, which is how many there were then.
func (r *running) pages(ctx context.Context, key string) error {
	cursor, first, total := "", "", 0
	for {
		status, seq, answer, err := r.post(ctx, key, fmt.Sprintf(`{"pageSize":97,"cursor":%s}`, cursor))
		if cursor == "" {
			status, seq, answer, err = r.post(ctx, key, `{"pageSize":97}`)
			first = seq
		}
		if err != nil {
			return err
		}
		var page struct {
			Cursor      *string `json:"cursor"`
			Assignments []any   `json:"assignments"`
		}
		if status != http.StatusOK || seq != first {
			return fmt.Errorf("%d at %s, the first page was at %s: %s", status, seq, first, answer)
		}
		if err := json.Unmarshal([]byte(answer), &page); err != nil {
			return err
		}
		total += len(page.Assignments)
		if page.Cursor == nil {
			break
		}
		quoted, err := json.Marshal(*page.Cursor)
		if err != nil {
			return err
		}
		cursor = string(quoted)
	}
	if fmt.Sprint(total) != first {
		return fmt.Errorf("%d rows at sequence %s", total, first)
	}
	return nil
}

// The index is rebuilt and swapped several times while events are published, listings
// are paged, reads wait for their own writes, and a watch follows: no request fails.
func TestRebuildUnderLoad(t *testing.T) {
	n := startNode(t, t.TempDir())
	key := n.must("", "key", "create", "--name", "reader", "--role", "admin", "--tenant", "*")
	n.hundredDistinct(2000)
	n.must("", "query", "--api-key", key, "--tenant", "default", "--usr", "u00001", "--at-least", "2000")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	var last, swaps, listings atomic.Uint64
	last.Store(2000)
	ended := func(err error) error {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the test is over
		}
		return err
	}
	g.Go(func() error { return ended(n.distinct(ctx, &last)) })
	for range 2 {
		g.Go(func() error {
			for ctx.Err() == nil {
				if err := n.pages(ctx, key); err != nil {
					return ended(err)
				}
				listings.Add(1)
			}
			return nil
		})
	}
	g.Go(func() error { // reads its own writes
		for ctx.Err() == nil {
			if status, _, answer, err := n.post(ctx, key, fmt.Sprintf(`{"pageSize":1,"at_least":%d}`, last.Load())); err != nil || status != http.StatusOK {
				return ended(fmt.Errorf("%d, %s, %w", status, answer, err))
			}
		}
		return nil
	})
	var watched sync.WaitGroup
	watched.Add(1)
	g.Go(func() error {
		defer watched.Done()
		return ended(n.watchAll(ctx, key, &last, &swaps))
	})
	for range 4 {
		if ctx.Err() != nil {
			break // something else has failed
		}
		report, err := n.rebuilder.Rebuild(ctx, rebuild.Request{RequireEqual: true}, nil)
		if err != nil || !report.Swapped || report.Differs() {
			t.Errorf("rebuild: %+v, %v", report, err)
			stop()
		}
		swaps.Add(1)
	}
	watched.Wait() // it has seen what was published after the last swap
	stop()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d events, %d listings", last.Load(), listings.Load())
	if listings.Load() == 0 {
		t.Error("nothing was listed")
	}
	if got := mustCurrent(t, n.cfg.DataDir); got != "index-5" {
		t.Errorf("current is %s", got)
	}
	if out := n.must("", "verify", "--api-key", key, "--rebuild"); strings.Contains(out, "differences") {
		t.Error(out)
	}
}

// hundredDistinct publishes so many assignments as distinct does.
func (r *running) hundredDistinct(count int) {
	r.t.Helper()
	var in strings.Builder
	for i := range count {
		fmt.Fprintf(&in, `{"usr_id":"u%05d","ent_id":"e%d","score":0.5}`+"\n", i, i%7)
	}
	r.must(in.String(), "publish", "-")
}

// watchAll follows from the beginning and makes sure that each sequence comes once and
// in order, until it has seen one that was published after the last swap.
func (r *running) watchAll(ctx context.Context, key string, last, swaps *atomic.Uint64) error {
	c, err := client.New(client.Options{URL: r.url(), APIKey: key, Tenant: "default"})
	if err != nil {
		return err
	}
	next, enough := uint64(1), uint64(0)
	watch := c.Watch(client.WatchRequest{ChangesRequest: client.ChangesRequest{Since: "earliest"}, Retry: func(err error, _ time.Duration) {
		r.t.Errorf("the watch was interrupted: %v", err)
	}})
	for ch, err := range watch.All(ctx) {
		if err != nil {
			return err
		}
		if ch.Seq != next {
			return fmt.Errorf("sequence %d came, want %d", ch.Seq, next)
		}
		next++
		if enough == 0 && swaps.Load() == 4 {
			enough = last.Load() + 1
		}
		if enough > 0 && ch.Seq >= enough {
			return nil
		}
	}
	return errors.New("the watch ended")
}
