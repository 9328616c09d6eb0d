package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

var (
	// ErrNotRunning is returned by InProcessConn while the server is not started.
	ErrNotRunning = errors.New("the embedded NATS server is not running")
	// ErrRunning is returned by Start when the server is started already.
	ErrRunning = errors.New("the embedded NATS server is running already")
)

// Server is an embedded NATS server. It can be started again after Close, with
// the same store and port.
type Server struct {
	options Options
	resolve lookup // net.DefaultResolver, but for tests

	// lifecycle is held by Start and Close for as long as they take, so that they
	// exclude each other; mu only while a field is read or set.
	lifecycle sync.Mutex
	mu        sync.Mutex
	addr      netip.AddrPort // where it listens, or listened last; guarded by mu
	running   *server.Server // nil while stopped; guarded by mu
	log       *natsLog       // of running; guarded by lifecycle
	lock      *os.File       // held while running; guarded by lifecycle
}

// New makes a server that is not started. It touches neither disk nor network.
func New(o Options) *Server {
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	return &Server{options: o, resolve: net.DefaultResolver.LookupNetIP}
}

// Start starts the server and returns when it takes connections, with all
// streams recovered. When ctx ends before that, it stops the server again and
// returns the context's error, which can take as long as the recovery does.
//
// The error wraps ErrNotLoopback, ErrAddressInUse, ErrStoreInUse or ErrRunning
// where it is one of these.
func (s *Server) Start(ctx context.Context) (err error) {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("embedded NATS server: %w", err)
		}
	}()
	if s.current() != nil {
		return ErrRunning
	}
	if s.options.StoreDir == "" { // the server would take a directory that the system may clear
		return errors.New("a store directory is required")
	}
	addr, err := s.listenAddr(ctx)
	if err != nil {
		return err
	}
	lock, err := lockStore(s.options.StoreDir)
	if err != nil {
		return err
	}
	ns, log, err := s.run(ctx, addr)
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	log.running.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tcp, ok := ns.Addr().(*net.TCPAddr); ok { // it always is: run has seen it listen
		s.addr = tcp.AddrPort()
	}
	s.running, s.log, s.lock = ns, log, lock
	return nil
}

// listenAddr gives the address of this start, checked to be free.
func (s *Server) listenAddr(ctx context.Context) (netip.AddrPort, error) {
	addr, err := loopback(ctx, s.options.Listen, s.resolve)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addr.Port() != 0 {
		return addr, checkFree(ctx, addr)
	}
	s.mu.Lock()
	last := s.addr
	s.mu.Unlock()
	if last.IsValid() {
		return last, checkFree(ctx, last)
	}
	return addr, nil
}

// run starts a server and waits until it is ready. Unless it returns one,
// nothing of it is left.
func (s *Server) run(ctx context.Context, addr netip.AddrPort) (*server.Server, *natsLog, error) {
	ns, err := server.NewServer(s.options.server(addr.Addr().String(), int(addr.Port())))
	if err != nil {
		return nil, nil, err
	}
	log := &natsLog{log: s.options.Logger}
	// No trace: see natsLog.Tracef.
	ns.SetLoggerV2(log, max(s.options.Logger.GetLevel(), zerolog.GlobalLevel()) <= zerolog.DebugLevel, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		ns.Start() // returns when it listens, or has logged a fatal line
	}()
	select {
	case <-started:
	case <-ctx.Done():
		<-started // a recovery that is cut short could be taken for a damaged store
	}
	failure := log.failure()
	switch {
	case ctx.Err() != nil:
		failure = ctx.Err()
	case isAddrInUse(failure):
		failure = listenError(addr, failure)
	case failure == nil && ns.Addr() == nil:
		failure = errors.New("it did not start to listen")
	}
	if failure != nil {
		stop(ns)
		return nil, nil, failure
	}
	return ns, log, nil
}

func stop(ns *server.Server) {
	ns.Shutdown()
	ns.WaitForShutdown()
}

// Close stops the server and returns when its goroutines are gone and its files
// are closed. Clients see a disconnect. Closing a stopped server does nothing.
func (s *Server) Close() error {
	s.lifecycle.Lock()
	defer s.lifecycle.Unlock()
	s.mu.Lock()
	ns := s.running
	s.running = nil
	s.mu.Unlock()
	if ns == nil {
		return nil
	}
	s.log.running.Store(false)
	stop(ns)
	lock := s.lock
	s.log, s.lock = nil, nil
	if err := lock.Close(); err != nil {
		return fmt.Errorf("embedded NATS server: unlock the store directory: %w", err)
	}
	return nil
}

// ClientURL is where clients connect, such as nats://127.0.0.1:4222; empty
// before the first Start.
func (s *Server) ClientURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.addr.IsValid() {
		return ""
	}
	return "nats://" + s.addr.String()
}

// InProcess makes a client of this process connect, and reconnect after a
// restart, without the network.
func (s *Server) InProcess() nats.Option { return nats.InProcessServer(s) }

// InProcessConn opens one connection without the network; nats.InProcessServer
// calls it. The error is ErrNotRunning while the server is stopped.
func (s *Server) InProcessConn() (net.Conn, error) {
	ns := s.current()
	if ns == nil {
		return nil, ErrNotRunning
	}
	return ns.InProcessConn()
}

func (s *Server) current() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}
