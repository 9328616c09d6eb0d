package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/deploy/loopfstest"
	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// diskPatience bounds every wait of these tests.
const diskPatience = 2 * time.Minute

// lines is a log that is written and read at the same time.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// eventually asks again and again until the answer is nil.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	timeout := time.After(diskPatience)
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-timeout:
			t.Fatalf("waited in vain until %s: %v", what, err)
		case <-again.C:
		}
	}
}

// loader publishes assignments that are all different, in batches, and counts what
// was acknowledged.
type loader struct {
	*publisher.Publisher
	sent  int
	acked map[string]bool // ids of entitlements
	last  uint64
}

func newLoader(t *testing.T, url string) *loader {
	t.Helper()
	nc, err := nats.Connect(url, publisher.ConnectOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p, err := publisher.New(t.Context(), nc, publisher.Options{AckTimeout: time.Second, RetryFor: 4 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return &loader{Publisher: p, acked: make(map[string]bool)}
}

// batch publishes 100 assignments of about 10 kB each. What was not acknowledged is
// not published again.
func (u *loader) batch(ctx context.Context) error { return u.publish(ctx, 100) }

// one publishes one, which is not an atomic batch.
func (u *loader) one(ctx context.Context) error { return u.publish(ctx, 1) }

func (u *loader) publish(ctx context.Context, n int) error {
	filling := strings.Repeat("x", 10_000)
	var msgs []publisher.Message
	var ids []string
	for range n {
		u.sent++
		id := fmt.Sprintf("e%07d", u.sent)
		m, err := publisher.NewRecord(events.AssignmentUpserted, fmt.Appendf(nil, `{"usr_id":"u","ent_id":%q,"note":%q}`, id, filling))
		if err != nil {
			return err
		}
		ids, msgs = append(ids, id), append(msgs, m)
	}
	ack, err := u.Publish(ctx, msgs...)
	for _, id := range ids[:ack.Count] {
		u.acked[id] = true
	}
	u.last = max(u.last, ack.LastSeq)
	return err
}

// get gives the body of a page of the API.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	resp, err := http.Get(r.url() + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// ingestUser publishes a user over HTTP.
func (r *running) ingestUser(key string) (status int, retryAfter, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url()+"/api/ingest/identities",
		strings.NewReader(`{"action":"upsert","identities":[{"usr_id":"u","usr_name":"U"}]}`))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-API-KEY", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(b)
}

// TestAlmostFullDisk fills the disk to below the reserve while events flow: ingest
// stops before the disk is full, reads go on, all resumes when there is room, and
// nothing that was acknowledged is missing.
func TestAlmostFullDisk(t *testing.T) {
	const reserve = 128 << 20
	fs := loopfstest.New(t, t.TempDir(), 768<<20)
	log := &lines{}
	n := startOn(t, fs.Dir, reserve, log)
	key := n.must("", "key", "create", "--name", "test", "--role", "writer")
	up := newLoader(t, n.natsURL())
	for range 5 {
		if err := up.batch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	applied := func(seq uint64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), diskPatience)
		defer cancel()
		if err := n.index.Wait(ctx, seq); err != nil {
			t.Fatal(err)
		}
	}
	applied(up.last)
	read := func() string {
		return n.must("", "query", "--api-key", key, "--usr", "u", "--page-size", "5000", "--output", "ndjson")
	}
	if rows := strings.Count(read(), "ent_id"); rows != 500 {
		t.Fatalf("a listing gives %d rows of 500", rows)
	}

	ballast := fs.Fill(t, reserve-(8<<20))
	for {
		err := up.batch(t.Context())
		if errors.Is(err, publisher.ErrStreamFull) {
			break
		}
		if err != nil {
			t.Fatalf("a publisher is told %v, want that the stream is full", err)
		}
		if fs.Free(t) < 16<<20 {
			t.Fatal("the disk is full before the stream refused")
		}
	}
	stopped, _ := n.index.Applied()
	head := n.index.Lag(time.Now()).Head
	eventually(t, "the end of the stream is seen", func() error {
		if head = n.index.Lag(time.Now()).Head; head < up.last {
			return fmt.Errorf("it is %d, acknowledged was %d", head, up.last)
		}
		return nil
	})
	if stopped >= up.last {
		t.Errorf("applied are %d of %d: the index did not stop", stopped, up.last)
	}
	_, ready := n.get("/readyz")
	if !strings.Contains(ready, "the disk of the index is almost full") || !strings.Contains(ready, "the disk of the stream is almost full") {
		t.Errorf("/readyz says %s", ready)
	}
	_, metrics := n.get("/metrics")
	for _, want := range []string{`assigndex_disk_low{place="index"} 1`, `assigndex_disk_low{place="stream"} 1`, `assigndex_disk_free_bytes{place="index"} `} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	status, after, body := n.ingestUser(key)
	if status != http.StatusServiceUnavailable || after != "30" || !strings.Contains(body, `"code":"disk_full"`) {
		t.Errorf("ingest answers %d, Retry-After %q: %s", status, after, body)
	}
	if rows := strings.Count(read(), "ent_id"); rows < 500 {
		t.Errorf("a listing gives %d rows while the disk is low", rows)
	}
	if now, _ := n.index.Applied(); now != stopped {
		t.Errorf("applied went from %d to %d while the disk is low", stopped, now)
	}
	t.Logf("free at its least: %d MiB of a reserve of %d MiB; applied %d, acknowledged %d", fs.Free(t)>>20, reserve>>20, stopped, up.last)

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	applied(up.last)
	eventually(t, "the stream takes events", func() error {
		err := up.batch(t.Context())
		if err != nil && !errors.Is(err, publisher.ErrStreamFull) {
			t.Fatal(err)
		}
		return err
	})
	if status, _, body := n.ingestUser(key); status != http.StatusOK {
		t.Errorf("ingest answers %d: %s", status, body)
	}
	eventually(t, "the last event is applied", func() error {
		if l := n.index.Lag(time.Now()); l.Applied < up.last+1 {
			return fmt.Errorf("applied are %d", l.Applied)
		}
		return nil
	})
	rows := read()
	for id := range up.acked {
		if !strings.Contains(rows, id) {
			t.Fatalf("%s was acknowledged and is missing", id)
		}
	}
	n.equalsFresh(up.last + 1)
	for _, want := range []string{"almost full", "room on the disk again"} {
		if got := strings.Count(log.String(), want); got != 2 { // one a place
			t.Errorf("the log says %q %d times:\n%s", want, got, log)
		}
	}
	if _, ready := n.get("/readyz"); !strings.Contains(ready, `"troubles":[]`) {
		t.Errorf("/readyz says %s", ready)
	}
}

// TestDiskFilledBySomebodyElse fills the disk to the last byte at once, faster than
// the guard can look: a write of JetStream fails, which it does not recover from by
// itself. The index has stopped by then. With room again all goes on.
func TestDiskFilledBySomebodyElse(t *testing.T) {
	fs := loopfstest.New(t, t.TempDir(), 768<<20)
	log := &lines{}
	n := startOn(t, fs.Dir, 128<<20, log)
	key := n.must("", "key", "create", "--name", "test")
	up := newLoader(t, n.natsURL())
	for range 3 {
		if err := up.batch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wait := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), diskPatience)
		defer cancel()
		if err := n.index.Wait(ctx, up.last); err != nil {
			t.Fatal(err)
		}
	}
	wait()
	ballast := fs.Fill(t, 0)
	eventually(t, "JetStream has stopped storing", func() error {
		if stores := n.nats.Check() == nil; stores {
			return errors.Join(up.one(t.Context()), errors.New("it stores"))
		}
		return nil
	})
	t.Logf("on the full disk: %v", n.nats.Check())
	rows := n.must("", "query", "--api-key", key, "--usr", "u", "--page-size", "5000", "--output", "ndjson")
	if got := strings.Count(rows, "ent_id"); got < 300 {
		t.Errorf("a listing gives %d rows on the full disk", got)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream takes events again", func() error { return up.one(t.Context()) })
	wait()
	n.equalsFresh(up.last)
	rows = n.must("", "query", "--api-key", key, "--usr", "u", "--page-size", "5000", "--output", "ndjson")
	for id := range up.acked {
		if !strings.Contains(rows, id) {
			t.Fatalf("%s was acknowledged and is missing", id)
		}
	}
	if !strings.Contains(log.String(), "was started again") {
		t.Errorf("the log does not say that the server was started again:\n%s", log)
	}
}

// startOn runs a node with a reserve.
func startOn(t *testing.T, dir string, reserve int64, log io.Writer) *running {
	t.Helper()
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.MinFreeBytes = filepath.Join(dir, "data"), "127.0.0.1:0", "127.0.0.1:0", reserve
	ctx, stop := context.WithCancel(context.Background())
	n, err := openNode(ctx, cfg, zerolog.New(log))
	if err != nil {
		stop()
		t.Fatal(err)
	}
	r := &running{node: n, t: t, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- n.run(ctx) }()
	t.Cleanup(r.stopNode)
	return r
}

// equalsFresh compares the index with one that is built from the stream.
func (r *running) equalsFresh(seq uint64) {
	r.t.Helper()
	st, err := store.Open(store.Options{Dir: r.t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		r.t.Fatal(err)
	}
	defer st.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), diskPatience)
	defer cancel()
	reader := stream.NewReader(r.nc, r.js, r.cfg.Stream, zerolog.Nop())
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- indexer.New(st, reader, indexer.Options{History: time.Hour}).Run(run) }()
	err = st.Wait(ctx, seq)
	stop()
	if err := errors.Join(err, <-done); err != nil {
		r.t.Fatal(err)
	}
	want, count, err := indexer.NewIndex(st, reader).Digest(seq)
	if err != nil {
		r.t.Fatal(err)
	}
	got, have, err := r.index.Digest(seq)
	if err != nil || got != want || have != count {
		r.t.Errorf("at %d the index says %s of %d assignments, a fresh one %s of %d: %v", seq, got, have, want, count, err)
	}
}
