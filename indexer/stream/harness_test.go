package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

const name = "ASSIGNMENTS"

// bounded is how long a test waits for what must happen in bounded time.
const bounded = 30 * time.Second

// world is a server with the stream, and a connection that acts on it from outside.
type world struct {
	*testing.T
	server *embedded.Server
	url    string // in place of server
	nc     *nats.Conn
	js     jetstream.JetStream
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{T: t, server: streamtest.Start(t)}
	w.nc = streamtest.Connect(t, w.server, publisher.ConnectOptions()...)
	w.js = jetStream(t, w.nc)
	w.ensure()
	return w
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (w *world) ensure() {
	w.Helper()
	if err := stream.Ensure(w.Context(), w.js, stream.Config{Name: name}); err != nil {
		w.Fatal(err)
	}
}

// publish adds n messages, one at a time, and gives the last sequence.
func (w *world) publish(n int) (last uint64) {
	w.Helper()
	for range n {
		ack, err := w.js.PublishMsg(w.Context(), message("x"))
		if err != nil {
			w.Fatal(err)
		}
		last = ack.Sequence
	}
	return last
}

func message(body string) *nats.Msg {
	return &nats.Msg{Subject: events.Subject("t"), Data: []byte(body), Header: nats.Header{events.TypeHeader: {"x"}}}
}

// flood adds n messages quickly, in batches.
func (w *world) flood(n int) (last uint64) {
	w.Helper()
	p, err := publisher.New(w.Context(), w.nc, publisher.Options{})
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	wr := p.NewWriter()
	for i := range n {
		m, err := publisher.NewRecord(events.GroupUpserted, fmt.Appendf(nil, `{"grp_id":"g%d"}`, i))
		if err != nil {
			w.Fatal(err)
		}
		if err := wr.Add(w.Context(), m); err != nil {
			w.Fatal(err)
		}
	}
	if last, err = wr.Flush(w.Context()); err != nil {
		w.Fatal(err)
	}
	return last
}

func (w *world) stream() jetstream.Stream {
	w.Helper()
	s, err := w.js.Stream(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) erase(seqs ...uint64) {
	w.Helper()
	s := w.stream()
	for _, seq := range seqs {
		if err := s.DeleteMsg(w.Context(), seq); err != nil {
			w.Fatalf("erase %d: %v", seq, err)
		}
	}
}

// recreate deletes the stream and makes it again.
func (w *world) recreate() {
	w.Helper()
	if err := w.js.DeleteStream(w.Context(), name); err != nil {
		w.Fatal(err)
	}
	// The server removes the old stream's directory in its own time, and refuses
	// the new stream when it gets in the way.
	var err error
	for deadline := time.Now().Add(bounded); time.Now().Before(deadline); {
		if err = stream.Ensure(w.Context(), w.js, stream.Config{Name: name}); err == nil {
			return
		}
	}
	w.Fatal(err)
}

// reader gives a reader on a connection of its own.
func (w *world) reader(options ...nats.Option) (*stream.Reader, *nats.Conn) {
	w.Helper()
	var nc *nats.Conn
	if w.server != nil {
		nc = streamtest.Connect(w.T, w.server, options...)
	} else {
		var err error
		if nc, err = nats.Connect(w.url, options...); err != nil {
			w.Fatal(err)
		}
		w.Cleanup(nc.Close)
	}
	return stream.NewReader(nc, jetStream(w.T, nc), name, zerolog.New(zerolog.NewTestWriter(w.T)).Level(zerolog.WarnLevel)), nc
}

func (w *world) begin() position.Position {
	w.Helper()
	r, _ := w.reader()
	at, err := r.Begin(w.Context(), false)
	if err != nil {
		w.Fatal(err)
	}
	return at
}

// follower is a Read that is under way, and what it delivered.
type follower struct {
	t      *testing.T
	at     position.Position // where it began
	older  stream.Ladder     // what is known of messages before
	reader *stream.Reader
	nc     *nats.Conn
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	got     []*stream.Message
	changed chan struct{} // closed and replaced with each delivery
	err     error         // what Read returned; set before done is closed
}

// follow reads on from a position until the test ends.
func (w *world) follow(at position.Position, options ...nats.Option) *follower {
	w.Helper()
	r, nc := w.reader(options...)
	ctx, cancel := context.WithCancel(w.Context())
	f := &follower{t: w.T, at: at, reader: r, nc: nc, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.err = r.Read(ctx, at, f.older, f.deliver)
	}()
	w.Cleanup(func() {
		cancel()
		<-f.done
	})
	return f
}

func (f *follower) deliver(m *stream.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, m)
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// wait waits until seq was delivered.
func (f *follower) wait(seq uint64) {
	f.t.Helper()
	timeout := time.After(bounded)
	for {
		f.mu.Lock()
		last, changed := f.at.Seq, f.changed
		if len(f.got) > 0 {
			last = f.got[len(f.got)-1].Seq
		}
		f.mu.Unlock()
		if last >= seq {
			return
		}
		select {
		case <-changed:
		case <-f.done:
			f.t.Fatalf("Read ended before sequence %d: %v", seq, f.err)
		case <-timeout:
			f.t.Fatalf("sequence %d was not delivered in %s, the last one is %d", seq, bounded, last)
		}
	}
}

// ends waits until Read ends with an error and checks it.
func (f *follower) ends(want error) {
	f.t.Helper()
	select {
	case <-f.done:
		if !errors.Is(f.err, want) {
			f.t.Fatalf("Read ended with %v, want %v", f.err, want)
		}
	case <-time.After(bounded):
		f.t.Fatalf("Read did not end in %s, want %v", bounded, want)
	}
}

// stop ends Read and gives the position after what it delivered.
func (f *follower) stop() position.Position {
	f.t.Helper()
	f.cancel()
	f.ends(context.Canceled)
	at := f.at
	for _, m := range f.got {
		at.Seq, at.Fingerprint = m.Seq, nil
		if m.Erased == 0 {
			at.Nano, at.Fingerprint = m.Time.UnixNano(), m.Fingerprint()
		}
	}
	return at
}

// complete checks that every sequence from the beginning to last was delivered
// once and in order, but for the erased ones, which must have come as such runs.
func (f *follower) complete(last uint64, erased ...[2]uint64) {
	f.t.Helper()
	f.wait(last)
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.at.Seq + 1
	var runs [][2]uint64
	for _, m := range f.got {
		if m.Erased > 0 {
			run := [2]uint64{m.Seq + 1 - uint64(m.Erased), m.Seq}
			runs = append(runs, run)
			if run[0] != next || m.Data != nil || m.Subject != "" || m.Header != nil {
				f.t.Errorf("the erased run %v came when %d was next, with %+v", run, next, m.Message)
			}
		} else if m.Seq != next {
			f.t.Fatalf("sequence %d was delivered when %d was next", m.Seq, next)
		}
		next = m.Seq + 1
	}
	if next != last+1 {
		f.t.Errorf("delivered up to %d, want %d", next-1, last)
	}
	if len(runs) != len(erased) {
		f.t.Fatalf("erased runs %v, want %v", runs, erased)
	}
	for i := range runs {
		if runs[i] != erased[i] {
			f.t.Fatalf("erased runs %v, want %v", runs, erased)
		}
	}
}

// newEmptyFollower follows an empty stream.
func newEmptyFollower(t *testing.T) *follower {
	t.Helper()
	w := &world{T: t, server: streamtest.Start(t)}
	w.nc = streamtest.Connect(t, w.server)
	w.js = jetStream(t, w.nc)
	w.ensure()
	return w.follow(w.begin())
}

func jetstreamPurgeTo(seq uint64) jetstream.StreamPurgeOpt { return jetstream.WithPurgeSequence(seq) }
