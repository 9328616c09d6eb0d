package indexer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// eager reconnects at once, to the only server there is.
func eager(more ...nats.Option) []nats.Option {
	return append(more, nats.MaxReconnects(-1), nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
}

// connectTo connects to a URL, directly or through a proxy, until the test ends.
func connectTo(t *testing.T, url string, options ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, append(options, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// published is a publisher that sends events in the background, retrying as long as
// it takes, and what was acknowledged.
type published struct {
	want []string // bodies, in order
	done chan error
	last uint64 // read after done
}

// publishAll publishes n events through a connection, in batches of a size.
func publishAll(t *testing.T, nc *nats.Conn, n, size int) *published {
	t.Helper()
	p, err := publisher.New(t.Context(), nc, publisher.Options{BatchMessages: size, AckTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := &published{done: make(chan error, 1)}
	var messages []publisher.Message
	for i := range n {
		body := fmt.Sprintf(`{"usr_id":"u%d","ent_id":"e%d","score":0.%d}`, i%40, i%7, 1+i%9)
		m, err := publisher.NewRecord(events.AssignmentUpserted, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		messages, s.want = append(messages, m), append(s.want, body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*bounded)
	t.Cleanup(cancel)
	go func() {
		defer cancel()
		w := p.NewWriter()
		err := func() error {
			for _, m := range messages {
				if err := w.Add(ctx, m); err != nil {
					return err
				}
			}
			var err error
			s.last, err = w.Flush(ctx)
			return err
		}()
		s.done <- errors.Join(err, p.Close())
	}()
	return s
}

// arrived waits for the publisher and for the index, and checks that every event is
// in the stream once, in order, and that the index is the one that is built afresh.
func (s *published) arrived(t *testing.T, src *source, n *node) {
	t.Helper()
	select {
	case err := <-s.done:
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
	case <-time.After(2 * bounded):
		t.Fatal("publishing does not end")
	}
	if s.last != uint64(len(s.want)) {
		t.Errorf("%d events were acknowledged up to sequence %d", len(s.want), s.last)
	}
	n.wait(s.last)
	if bodies := src.bodies(t); !slices.Equal(bodies, s.want) {
		t.Errorf("the stream holds %d events, or in another order, not the %d that were published", len(bodies), len(s.want))
	}
	fresh := src.nodeIn(t, t.TempDir())
	fresh.start(indexer.Options{})
	fresh.wait(s.last)
	for _, seq := range []uint64{s.last / 2, s.last} {
		if n.digest(seq) != fresh.digest(seq) {
			t.Errorf("at %d the index is not the one that is built afresh", seq)
		}
	}
}

// bodies gives what the stream holds.
func (s *source) bodies(t *testing.T) (all []string) {
	t.Helper()
	info, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	last := info.CachedInfo().State.LastSeq
	reader := stream.NewReader(s.nc, s.js, streamName, zerolog.Nop())
	at, err := reader.Begin(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	end := errors.New("the end")
	err = reader.Read(t.Context(), at, nil, func(m *stream.Message) error {
		all = append(all, string(m.Data))
		if m.Seq == last {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		t.Fatal(err)
	}
	return all
}

// through gives a node that reads through a proxy.
func (s *source) through(t *testing.T, p *streamtest.Proxy) *node {
	t.Helper()
	behind := *s
	behind.T = t
	behind.nc, behind.js = connectTo(t, p.URL(), eager()...)
	return behind.nodeIn(t, t.TempDir())
}

// lagged waits until the index knows that it is behind.
func lagged(t *testing.T, n *node) {
	t.Helper()
	eventually(t, "the lag is told", func() bool {
		l := n.index.Lag(time.Now())
		return l.Known && l.Sequences > 0
	})
}

// eventually looks until a condition holds that nobody tells of.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(bounded); !holds(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// Connections of a few kilobytes a second, which are cut in the middle of messages and
// held up for longer than the reader's patience: nothing is lost, doubled or out of
// order, and the lag is told meanwhile.
func TestSlowAndCutConnections(t *testing.T) {
	t.Parallel()
	const slow, cuts = 24 << 10, 4 // bytes a second, and how often a connection is cut
	for _, who := range []string{"reader", "publisher", "both"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			_, rng := random(t)
			src := newSource(t)
			reading, publishing := streamtest.NewProxy(t, src.server.ClientURL()), streamtest.NewProxy(t, src.server.ClientURL())
			n := src.through(t, reading)
			n.start(indexer.Options{BatchEvents: 10})
			nc, _ := connectTo(t, publishing.URL(), eager(publisher.ConnectOptions()...)...)
			var bad []*streamtest.Proxy
			if who != "publisher" {
				bad = append(bad, reading)
			}
			if who != "reader" {
				bad = append(bad, publishing)
			}
			for _, p := range bad {
				p.Slow(slow)
				p.CutAfter(middles(rng, cuts)...)
			}
			events := 400
			if testing.Short() {
				events = 200
			}
			s := publishAll(t, nc, events, 25)
			if who == "reader" {
				lagged(t, n)
			}
			s.arrived(t, src, n)
			for _, p := range bad {
				if p.Cuts() != cuts {
					t.Errorf("a connection was cut %d times, %d bytes passed", p.Cuts(), p.Passed())
				}
			}
			if l := n.index.Lag(time.Now()); l.Sequences != 0 {
				t.Errorf("at the end the lag is %+v", l)
			}
		})
	}
}

// middles gives places somewhere within messages, a few of them apart.
func middles(rng *rand.Rand, n int) (bytes []int) {
	for range n {
		bytes = append(bytes, 2_000+rng.IntN(6_000))
	}
	return bytes
}

// A connection over which nothing comes, and that nobody closes, is noticed by the
// silence on it.
func TestConnectionHeldUp(t *testing.T) {
	t.Parallel()
	src := newSource(t)
	p := streamtest.NewProxy(t, src.server.ClientURL())
	n := src.through(t, p)
	n.start(indexer.Options{BatchEvents: 10})
	nc, _ := connectTo(t, src.server.ClientURL(), eager(publisher.ConnectOptions()...)...)
	s := publishAll(t, nc, 1_000, 50)
	n.wait(100)
	release := p.Hold()
	defer release()
	eventually(t, "the silence is noticed", func() bool { return strings.Contains(n.log.String(), "reading the stream was interrupted") })
	release()
	s.arrived(t, src, n)
}
