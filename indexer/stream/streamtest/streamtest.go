// Package streamtest gives tests a NATS server with JetStream of their own: the
// embedded one, on a temporary directory and a free port of loopback. And it gives
// them a network that fails: a Proxy between client and server.
//
// It is imported by tests only. Its functions end the test on failure and must
// be called from the test's goroutine; what they return is closed with the test.
package streamtest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/stream/embedded"
)

// Start starts a server. Its warnings and errors go to the test's log.
func Start(tb testing.TB) *embedded.Server {
	tb.Helper()
	return StartIn(tb, tb.TempDir())
}

// StartIn is Start on a directory of the caller's, who may change it while the
// server is stopped.
func StartIn(tb testing.TB, dir string) *embedded.Server {
	tb.Helper()
	out := &testLog{tb: tb}
	s := embedded.New(embedded.Options{
		StoreDir: dir, Listen: "127.0.0.1:0", Logger: zerolog.New(out).Level(zerolog.WarnLevel),
	})
	start(tb, s)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close the NATS server: %v", err)
		}
		out.end()
	})
	return s
}

// Stop stops s. Its port and directory stay, for StartAgain.
func Stop(tb testing.TB, s *embedded.Server) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatalf("stop the NATS server: %v", err)
	}
}

// StartAgain starts s, which was stopped, on its port and directory.
func StartAgain(tb testing.TB, s *embedded.Server) {
	tb.Helper()
	start(tb, s)
}

// Restart stops s and starts it on its port and directory.
func Restart(tb testing.TB, s *embedded.Server) {
	tb.Helper()
	Stop(tb, s)
	start(tb, s)
}

// Connect connects a client to s that tries to reconnect for as long as the
// test runs, every few milliseconds. Options come after these and win.
func Connect(tb testing.TB, s *embedded.Server, options ...nats.Option) *nats.Conn {
	tb.Helper()
	options = append([]nats.Option{
		nats.Name(tb.Name()), nats.MaxReconnects(-1),
		nats.ReconnectWait(5 * time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default writes to standard error
	}, options...)
	closed := make(chan struct{})
	options = append(options, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	nc, err := nats.Connect(s.ClientURL(), options...)
	if err != nil {
		tb.Fatalf("connect to the NATS server: %v", err)
	}
	tb.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

func start(tb testing.TB, s *embedded.Server) {
	tb.Helper()
	if err := s.Start(tb.Context()); err != nil {
		tb.Fatalf("start the NATS server: %v", err)
	}
}

// testLog writes lines to a test's log until the test ends: a straggling
// goroutine of the server that logs later would make the test panic.
type testLog struct {
	mu sync.Mutex
	tb testing.TB // nil after the end; guarded by mu
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tb != nil {
		l.tb.Logf("nats: %s", bytes.TrimSpace(line))
	}
	return len(line), nil
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb = nil
}
