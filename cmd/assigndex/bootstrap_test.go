package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// logged keeps the lines of a log.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// replicaConfig is a server on a stream of another's NATS.
func replicaConfig(dir string, s *embedded.Server, change func(*config.Serve)) config.Serve {
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSURL = dir, "127.0.0.1:0", s.ClientURL()
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// startReplica starts one, and gives its log.
func startReplica(t *testing.T, dir string, s *embedded.Server, change func(*config.Serve)) (*running, *logged) {
	t.Helper()
	log := &logged{}
	return startWith(t, replicaConfig(dir, s, change), zerolog.New(log), func(*node) {}), log
}

func bootstrapping(c *config.Serve) { c.Snapshots.Bootstrap = true }

// publishGrants publishes n grants and waits until they are applied.
func (r *running) publishGrants(from, n int) {
	r.t.Helper()
	var in strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&in, `{"usr_id":"u%d","ent_id":"e%d","app_id":"a%d","score":0.5}`+"\n", i, i%7, i%3)
	}
	r.must(in.String(), "publish", "-")
	r.waitFor(uint64(from + n - 1))
}

// stored gives the store, which stays open for as long as nothing takes its place.
func (r *running) stored() *store.Store {
	st, release := r.index.Hold()
	release()
	return st
}

func (r *running) waitFor(seq uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if err := r.index.Wait(ctx, seq); err != nil {
		r.t.Fatalf("waiting for %d, applied %d: %v", seq, r.stored().Applied().Seq, err)
	}
}

func (r *running) take() snapshotbucket.Stored {
	r.t.Helper()
	stored, err := r.snapshots.Take(r.t.Context(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return stored
}

// trim purges the stream below a sequence.
func (r *running) trim(first uint64) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), r.cfg.Stream)
	if err == nil {
		err = s.Purge(r.t.Context(), jetstream.WithPurgeSequence(first))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) digest(at uint64) string {
	r.t.Helper()
	report, err := r.verifier().Verify(r.t.Context(), &at, false, func(audit.Progress) {})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, c := range report.Checks {
		if c.Differences > 0 {
			r.t.Errorf("%s: %+v", c.Name, c.Found)
		}
	}
	return report.Digest
}

func wantEqual(t *testing.T, at uint64, a, b *running) {
	t.Helper()
	if x, y := a.digest(at), b.digest(at); x != y || x == "" {
		t.Errorf("at %d the digests are %s and %s", at, x, y)
	}
	if x, y := a.stored().Applied().Stream, b.stored().Applied().Stream; !sameIdentity(x, y) {
		t.Errorf("the streams are %+v and %+v", x, y)
	}
}

func sameIdentity(x, y position.Identity) bool {
	return x.Name == y.Name && x.Created.Equal(y.Created) && x.Incarnation == y.Incarnation && x.Partings == y.Partings
}

// flow publishes grants and revocations until stop is called.
func (r *running) flow() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	flowing := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			body := fmt.Appendf(nil, `{"usr_id":"u%d","ent_id":"e%d","score":0.%d}`, i%900, i%5, i%10)
			msg := &nats.Msg{Subject: events.Subject("default"), Data: body, Header: nats.Header{events.TypeHeader: {string(events.AssignmentUpserted)}}}
			if i%3 == 0 {
				msg.Header.Set(events.TypeHeader, string(events.AssignmentRevoked))
			}
			if _, err := r.js.PublishMsg(ctx, msg); err != nil {
				flowing <- err
				return
			}
		}
	}()
	return func() {
		r.t.Helper()
		cancel()
		if err := <-flowing; !errors.Is(err, context.Canceled) {
			r.t.Errorf("publishing ended with %v", err)
		}
	}
}

// A replica that begins with a snapshot, of a stream that no longer has what is in it,
// says the same as one that has read all, at one sequence, while events flow; each takes
// the cursors of the other.
func TestBootstrapUnderLoad(t *testing.T) {
	s := streamtest.Start(t)
	a, _ := startReplica(t, t.TempDir(), s, nil)
	key := a.must("", "key", "create", "--name", "test")
	a.publishGrants(1, 500)
	if at := a.take().At.Seq; at != 500 {
		t.Fatalf("the snapshot is at %d", at)
	}
	a.publishGrants(501, 200)
	a.trim(401)

	// Events go on until both replicas have applied some of them.
	stop := a.flow()
	b, log := startReplica(t, t.TempDir(), s, bootstrapping)
	if text := log.String(); !strings.Contains(text, `"message":"the index begins with a snapshot"`) || !strings.Contains(text, "MiB/s") {
		t.Errorf("the log: %s", text)
	}
	if floor := b.stored().Floor(); floor > 500 || b.stored().Applied().Seq < 500 {
		t.Errorf("floor %d, applied %d", floor, b.stored().Applied().Seq)
	}
	for at := uint64(800); at <= 1200; at += 200 {
		a.waitFor(at)
		b.waitFor(at)
		wantEqual(t, at, a, b)
	}
	stop()
	for _, n := range []*running{a, b} {
		n.await("/readyz", func(s sent) bool { return s.status == http.StatusOK })
	}
	for _, pair := range [][2]*running{{a, b}, {b, a}} {
		first := pair[0].send(key, http.MethodPost, "/api/assignments", `{"pageSize":20,"at_least":1200}`)
		_, rest, _ := strings.Cut(first.body, `{"cursor":"`)
		cursor, _, more := strings.Cut(rest, `"`)
		if !more {
			t.Fatalf("the first page: %d %s", first.status, first.body)
		}
		next := fmt.Sprintf(`{"pageSize":20,"cursor":%q}`, cursor)
		own, other := pair[0].send(key, http.MethodPost, "/api/assignments", next), pair[1].send(key, http.MethodPost, "/api/assignments", next)
		if own.status != http.StatusOK || other.status != http.StatusOK || own.body != other.body || own.header.Get("Assigndex-Seq") != other.header.Get("Assigndex-Seq") {
			t.Errorf("the second page: %d %s and %d %s", own.status, own.body, other.status, other.body)
		}
	}
	// The past below the stream's beginning came with the snapshot.
	if x, y := a.digest(450), b.digest(450); x != y {
		t.Errorf("at 450 the digests are %s and %s", x, y)
	}
}

// A stream that has lost its beginning is refused as ever when nothing reaches it, and
// the refusal names the way out, which is then open to the same data directory.
func TestBootstrapOfATrimmedStream(t *testing.T) {
	s := streamtest.Start(t)
	a, _ := startReplica(t, t.TempDir(), s, nil)
	a.publishGrants(1, 10)
	early := a.take()
	a.publishGrants(11, 10)
	a.trim(13) // the snapshot of 10 no longer reaches it
	dir := t.TempDir()
	refused := func(want ...string) {
		t.Helper()
		log := &logged{}
		n, err := openNode(t.Context(), replicaConfig(dir, s, bootstrapping), zerolog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		defer n.close()
		err = n.run(t.Context())
		if !errors.Is(err, stream.ErrTrimmed) || !strings.Contains(err.Error(), "--bootstrap") {
			t.Errorf("got %v", err)
		}
		for _, part := range want {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log lacks %q: %s", part, log)
			}
		}
	}
	refused(early.Name, "begins at sequence 13, the index has applied 10", "found no snapshot")
	if err := a.bucket.Remove(t.Context(), early.Name); err != nil {
		t.Fatal(err)
	}
	refused("0 were looked at")
	// Those of others, which are nothing for this stream and this program, too.
	taken := a.take()
	meta := taken.Meta
	for i, change := range []func(*snapshotbucket.Meta){
		func(m *snapshotbucket.Meta) { m.Format++ }, func(m *snapshotbucket.Meta) { m.Fold++ },
		func(m *snapshotbucket.Meta) { m.At.Stream.Name = "OTHER" }, func(m *snapshotbucket.Meta) { m.At.Stream.Created = time.Unix(1, 0).UTC() },
		func(m *snapshotbucket.Meta) { m.At.Seq = 1000 }, func(m *snapshotbucket.Meta) { m.At.Fingerprint = []byte("another") },
	} {
		m := meta
		m.Taken = m.Taken.Add(time.Duration(i+1) * time.Second)
		change(&m)
		if _, err := a.bucket.Put(t.Context(), func(w io.Writer) (snapshotbucket.Meta, error) {
			_, err := w.Write([]byte("nobody restores it"))
			return m, err
		}); err != nil {
			t.Fatal(err)
		}
	}
	b, log := startReplica(t, dir, s, bootstrapping)
	b.waitFor(20)
	wantEqual(t, 20, a, b)
	if n := strings.Count(log.String(), "does not suit"); n < 6 {
		t.Errorf("%d do not suit: %s", n, log)
	}
	// Done once, it does nothing.
	a.publishGrants(21, 5)
	a.take()
	b.waitFor(25)
	b.stopNode()
	c, log := startReplica(t, dir, s, bootstrapping)
	if !strings.Contains(log.String(), "--bootstrap does nothing") || strings.Contains(log.String(), "restoring") {
		t.Errorf("a second time: %s", log)
	}
	wantEqual(t, 25, a, c)
}

// A new stream and no bucket: there is nothing to begin with, and nothing is needed.
func TestBootstrapOfNothing(t *testing.T) {
	n, log := startReplica(t, t.TempDir(), streamtest.Start(t), bootstrapping)
	n.publishGrants(1, 3)
	if !strings.Contains(log.String(), "found no snapshot") {
		t.Errorf("the log: %s", log)
	}
	if _, err := n.js.ObjectStore(t.Context(), n.bucket.Name()); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("the bucket: %v", err)
	}
}

// damageLast loses a chunk of the newest object of a bucket.
func damageLast(t *testing.T, n *running) {
	t.Helper()
	s, err := n.js.Stream(t.Context(), "OBJ_"+n.bucket.Name())
	if err == nil {
		err = s.DeleteMsg(t.Context(), s.CachedInfo().State.LastSeq-1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBootstrapPassesOverDamage(t *testing.T) {
	s := streamtest.Start(t)
	a, _ := startReplica(t, t.TempDir(), s, nil)
	a.publishGrants(1, 100)
	a.take()
	a.publishGrants(101, 100)
	a.trim(50)
	damaged := a.take()
	damageLast(t, a)
	// One whose bytes are as they were put, and are not a snapshot.
	m := damaged.Meta
	m.Taken = m.Taken.Add(time.Second)
	if _, err := a.bucket.Put(t.Context(), func(w io.Writer) (snapshotbucket.Meta, error) {
		_, err := w.Write(bytes.Repeat([]byte("x"), 300_000))
		return m, err
	}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b, log := startReplica(t, dir, s, bootstrapping)
	b.waitFor(200)
	wantEqual(t, 200, a, b)
	text := log.String()
	if strings.Count(text, "an older one is tried") != 2 || !strings.Contains(text, `"level":"error"`) || !strings.Contains(text, "damaged") {
		t.Errorf("the log: %s", text)
	}
	wantNoRest(t, dir)
}

// wantNoRest looks for what a bootstrap must not leave.
func wantNoRest(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, "bootstrap*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What was left by bootstraps that were cut short at any of their steps is cleaned up.
func TestBootstrapBeginsAgain(t *testing.T) {
	s := streamtest.Start(t)
	a, _ := startReplica(t, t.TempDir(), s, nil)
	a.publishGrants(1, 100)
	a.take()
	a.trim(90)
	index, restored, replaced := "index", bootstrapDir, replacedDir
	for what, dirs := range map[string][]string{
		"while it restores":          {index, restored},
		"before the index is there":  {restored, replaced},
		"before the old one is gone": {replaced},
		"before anything":            {},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range dirs {
				if name == index { // a new one
					n, err := openNode(t.Context(), replicaConfig(dir, s, nil), zerolog.Nop())
					if err != nil {
						t.Fatal(err)
					}
					n.close()
					continue
				}
				if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name, "000001.sst"), []byte("half a file"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b, _ := startReplica(t, dir, s, bootstrapping)
			b.waitFor(100)
			wantEqual(t, 100, a, b)
			wantNoRest(t, dir)
		})
	}
	t.Run("without room", func(t *testing.T) {
		dir := t.TempDir()
		_, err := openNode(t.Context(), replicaConfig(dir, s, func(c *config.Serve) {
			c.Snapshots.Bootstrap, c.MinFreeBytes = true, 1<<62
		}), zerolog.Nop())
		if !errors.Is(err, snapshotbucket.ErrNoRoom) {
			t.Fatalf("got %v", err)
		}
		b, _ := startReplica(t, dir, s, bootstrapping)
		b.waitFor(100)
		wantEqual(t, 100, a, b)
	})
	t.Run("the context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		log := zerolog.New(writerFunc(func(p []byte) (int, error) {
			if bytes.Contains(p, []byte("restoring a snapshot")) {
				cancel()
			}
			return len(p), nil
		}))
		if n, err := openNode(ctx, replicaConfig(dir, s, bootstrapping), log); err == nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, %v", n, err)
		}
		b, _ := startReplica(t, dir, s, bootstrapping)
		b.waitFor(100)
		wantEqual(t, 100, a, b)
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Killed at random moments of its start, a replica begins with the snapshot all the
// same, once it is let be.
func TestBootstrapKilled(t *testing.T) {
	s := streamtest.Start(t)
	a, _ := startReplica(t, t.TempDir(), s, nil)
	a.publishGrants(1, 2000)
	a.take()
	a.trim(1999)
	seed := uint64(time.Now().UnixNano()) % 1_000_000_000
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	binary, dir := buildBinary(t), t.TempDir()
	for range 15 {
		// A start that came far enough left an index, and the next one would do nothing.
		if _, err := os.Stat(filepath.Join(dir, "index")); err == nil && rng.IntN(2) == 0 {
			if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
		}
		child := exec.Command(binary, "serve", "--bootstrap", "--data-dir", dir, "--listen", "127.0.0.1:0", "--nats-url", s.ClientURL())
		var out bytes.Buffer
		child.Stderr = &out
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- child.Wait() }()
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself: %v\n%s", err, out.String())
		case <-time.After(time.Duration(rng.IntN(200)) * time.Millisecond):
			_ = child.Process.Kill() // it may have ended
			if err := <-ended; err == nil {
				t.Fatalf("it ended by itself\n%s", out.String())
			}
		}
	}
	b, log := startReplica(t, dir, s, bootstrapping)
	b.waitFor(2000)
	wantEqual(t, 2000, a, b)
	wantNoRest(t, dir)
	if text := log.String(); strings.Contains(text, "snapshot does not suit") || strings.Contains(text, "could not be restored") {
		t.Errorf("the log: %s", text)
	}
}

// With embedded NATS the bucket lies in the data directory, and an index that was lost
// begins with it.
func TestBootstrapEmbedded(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	n.publishGrants(1, 50)
	n.take()
	n.trim(51)
	n.publishGrants(51, 5)
	want := n.digest(55)
	n.stopNode()
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	cfg := config.DefaultServe()
	cfg.DataDir, cfg.Listen, cfg.NATSListen, cfg.Snapshots.Bootstrap = dir, "127.0.0.1:0", "127.0.0.1:0", true
	n = startWith(t, cfg, zerolog.Nop(), func(*node) {})
	n.waitFor(55)
	if got := n.digest(55); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
