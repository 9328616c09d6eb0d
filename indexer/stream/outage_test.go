package stream_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/stream"
)

// gate is a dialer that can be closed.
type gate struct{ closed atomic.Bool }

func (g *gate) Dial(network, address string) (net.Conn, error) {
	if g.closed.Load() {
		return nil, errors.New("the gate is closed")
	}
	return net.Dial(network, address)
}

// Whatever happens while a reader is cut off, it finds out.
func TestChangesDuringAnOutage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world) (last uint64)
		want   error // nil: it reads on
	}{
		"more messages": {func(w *world) uint64 { return w.publish(5) }, nil},
		"made anew":     {func(w *world) uint64 { w.recreate(); return w.publish(9) }, stream.ErrMismatch},
		"gone":          {func(w *world) uint64 { _ = w.js.DeleteStream(w.Context(), name); return 0 }, stream.ErrMismatch},
		"purged past it": {func(w *world) uint64 {
			last := w.publish(5)
			_ = w.stream().Purge(w.Context())
			return last
		}, stream.ErrTrimmed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := &gate{}
			f := w.follow(w.begin(), nats.SetCustomDialer(g))
			f.complete(w.publish(5))
			g.closed.Store(true)
			if err := f.nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			last := c.change(w)
			g.closed.Store(false)
			if c.want != nil {
				f.ends(c.want)
				return
			}
			f.complete(last)
		})
	}
}

// A server of someone else may take messages that are larger than what is asked
// for ahead.
func TestHugeMessages(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: 40 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	w := &world{T: t, nc: nc, js: jetStream(t, nc), url: s.ClientURL()}
	w.ensure()
	at := w.begin()
	for i, size := range []int{10, 20 << 20, 10, 15 << 20, 15 << 20, 30 << 20} {
		if _, err := w.js.Publish(t.Context(), events.Subject("t"), make([]byte, size)); err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
	}
	f := w.follow(at)
	f.complete(6)
	g := w.follow(f.stop())
	g.complete(w.publish(1))
}
