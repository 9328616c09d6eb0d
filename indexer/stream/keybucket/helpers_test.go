package keybucket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
	"github.com/assigndex/assigndex/query/apikey"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// quick confirms often, so that tests of it need not wait.
var quick = Options{ConfirmEvery: 20 * time.Millisecond}

// bucketOn gives a bucket on a connection of its own, and that connection's API.
func bucketOn(tb testing.TB, s *embedded.Server, o Options, options ...nats.Option) (*Bucket[apikey.Key], jetstream.JetStream) {
	tb.Helper()
	js, err := jetstream.New(streamtest.Connect(tb, s, options...))
	if err != nil {
		tb.Fatal(err)
	}
	return New(js, apikey.Codec{}, o), js
}

// newKey makes a key and stores it in b.
func newKey(tb testing.TB, b *Bucket[apikey.Key], name string) (apikey.Key, string) {
	tb.Helper()
	k, token, err := apikey.New(name, apikey.Reader, "acme", time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	// A server that has just deleted its last stream removes the empty directories
	// above it a little later, from under a stream that is made meanwhile.
	for limit := time.Now().Add(patience); ; {
		err := b.Create(tb.Context(), k)
		if err == nil {
			return k, token
		}
		if !errors.Is(err, errAbsent) || time.Now().After(limit) {
			tb.Fatal(err)
		}
	}
}

func revoke(tb testing.TB, b *Bucket[apikey.Key], k apikey.Key) {
	tb.Helper()
	if err := b.Revoke(tb.Context(), k.ID); err != nil {
		tb.Fatal(err)
	}
}

// run starts b.Run and ends it with the test, or with the function it returns.
func run(tb testing.TB, b *Bucket[apikey.Key], sink Sink[apikey.Key]) (stop func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- b.Run(ctx, sink) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return stop
}

// recorder is a set of keys that keeps what it was given.
type recorder struct {
	apikey.Set

	mu       sync.Mutex
	replaced []string    // the names in each Replace, in order
	confirms []time.Time // of each Confirm
	changed  chan struct{}
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) Replace(keys []apikey.Key, at time.Time) {
	r.Set.Replace(keys, at)
	r.note(func() { r.replaced = append(r.replaced, namesOf(keys)) })
}

func (r *recorder) Confirm(at time.Time) {
	r.Set.Confirm(at)
	r.note(func() { r.confirms = append(r.confirms, at) })
}

func (r *recorder) note(add func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	add()
	close(r.changed)
	r.changed = make(chan struct{})
}

// wait waits until ready, which is called with the lock held, or fails the test.
func (r *recorder) wait(tb testing.TB, what string, ready func() bool) {
	tb.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		ok, changed, last := ready(), r.changed, r.last()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			tb.Fatalf("waited in vain for %s; the set is %q", what, last)
		}
	}
}

// last gives the names of the newest set, "none" before there is one.
func (r *recorder) last() string {
	if len(r.replaced) == 0 {
		return "none"
	}
	return r.replaced[len(r.replaced)-1]
}

// waitFor waits until the set holds the keys of these names and no others.
func (r *recorder) waitFor(tb testing.TB, names ...string) {
	tb.Helper()
	slices.Sort(names)
	want := strings.Join(names, " ")
	r.wait(tb, "the set "+want, func() bool { return r.last() == want })
}

// waitConfirmed waits until the bucket was asked after now and agreed.
func (r *recorder) waitConfirmed(tb testing.TB) {
	tb.Helper()
	now := time.Now()
	r.wait(tb, "a confirmation", func() bool { return len(r.confirms) > 0 && r.confirms[len(r.confirms)-1].After(now) })
}

func (r *recorder) counts() (replaced, confirms int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.replaced), len(r.confirms)
}

func namesOf(keys []apikey.Key) string {
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// gate is a dialer whose connections can be cut, and kept from being made.
type gate struct {
	mu   sync.Mutex
	shut bool
	conn net.Conn // the newest one
}

func (g *gate) Dial(network, address string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, net.ErrClosed
	}
	conn, err := net.Dial(network, address)
	if err != nil { // the server is restarting; the old connection is over
		return nil, err
	}
	g.conn = conn
	return conn, nil
}

// cut ends the connection and refuses new ones.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	_ = g.conn.Close()
}

func (g *gate) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

// awaitStatus waits until nc has the status.
func awaitStatus(tb testing.TB, nc *nats.Conn, want nats.Status) {
	tb.Helper()
	changes := nc.StatusChanged()
	defer nc.RemoveStatusListener(changes)
	limit := time.After(patience)
	for nc.Status() != want {
		select {
		case <-changes:
		case <-limit:
			tb.Fatalf("the connection is %v, want %v", nc.Status(), want)
		}
	}
}

// logBuffer takes log lines from any goroutine.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func logTo(b *logBuffer) zerolog.Logger { return zerolog.New(b) }
