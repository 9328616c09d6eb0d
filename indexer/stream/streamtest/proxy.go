package streamtest

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cut is what a Proxy does to a connection on which its trigger passes.
type Cut int

// Cuts of a plan.
const (
	CutNever  Cut = iota
	CutBefore     // the server does not get the chunk that holds the trigger
	CutAfter      // the server gets everything, the client none of what it answers
)

// Proxy stands between clients and one server, and does to their connections what
// networks do: it cuts them, at a word or after so many bytes, slows them down and
// holds them up. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	target   string
	links    sync.WaitGroup
	over     chan struct{} // closed with the test

	mu      sync.Mutex // guards what follows
	conns   map[net.Conn]bool
	trigger []byte
	plan    []Cut // for the next times that the trigger passes
	budgets []int // bytes until the next cuts
	rate    int   // bytes a second in each direction; 0: any
	cuts    int
	passed  int           // bytes
	held    chan struct{} // not nil: nothing passes until it is closed
}

// NewProxy runs a proxy for the server at a URL until the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{listener: listener, target: strings.TrimPrefix(target, "nats://"), over: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.links.Go(p.accept)
	tb.Cleanup(func() {
		_ = listener.Close() // accept ends
		close(p.over)
		p.each(func(c net.Conn) { _ = c.Close() })
		p.links.Wait()
	})
	return p
}

// URL is where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// CutAt cuts connections by a plan, a step each time that the trigger passes to the
// server.
func (p *Proxy) CutAt(trigger string, plan ...Cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trigger, p.plan = []byte(trigger), plan
}

// Left is how many steps of the plan were not taken.
func (p *Proxy) Left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.plan)
}

// CutAfter cuts the connection on which the nth byte from now on passes, in whichever
// direction and in the middle of whatever that is; then the one on which the next n
// is reached, and so on. The bytes before do pass.
func (p *Proxy) CutAfter(n ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budgets = n
}

// Cuts is how often CutAfter came to pass.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Passed is how many bytes went through.
func (p *Proxy) Passed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// Slow lets so many bytes a second pass on each connection and direction; 0: as many
// as come.
func (p *Proxy) Slow(bytesPerSecond int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = bytesPerSecond
}

// Hold lets nothing pass, and nobody know, until the function that it returns is
// called.
func (p *Proxy) Hold() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(chan struct{})
	p.held = held
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.held = nil
		close(held)
	})
}

func (p *Proxy) each(visit func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		visit(c)
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close() // the server is down, and the client sees no more than that
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		l := &link{proxy: p, client: client, server: server}
		p.links.Go(l.up)
		p.links.Go(l.down)
	}
}

// look looks for the trigger in what passes to the server after a tail, and takes the
// next step of the plan if it is there. It gives the next tail.
func (p *Proxy) look(tail, passing []byte) (Cut, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.trigger) == 0 {
		return CutNever, nil
	}
	seen, step := slices.Concat(tail, passing), CutNever
	if at := bytes.Index(seen, p.trigger); at >= 0 {
		if len(p.plan) > 0 {
			step, p.plan = p.plan[0], p.plan[1:]
		}
		seen = seen[at+len(p.trigger):]
	}
	return step, seen[max(0, len(seen)-len(p.trigger)+1):]
}

// spend takes bytes that are about to pass from what may, and reports whether the
// connection is cut after those that may.
func (p *Proxy) spend(bytes int) (allowed int, cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.budgets) > 0 && bytes >= p.budgets[0] {
		bytes, p.budgets, cut = p.budgets[0], p.budgets[1:], true
		p.cuts++
	} else if len(p.budgets) > 0 {
		p.budgets[0] -= bytes
	}
	p.passed += bytes
	return bytes, cut
}

// wait returns when so many bytes may pass, and false when the test has ended.
func (p *Proxy) wait(bytes int) bool {
	p.mu.Lock()
	held, rate := p.held, p.rate
	p.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-p.over:
			return false
		}
	}
	if rate == 0 {
		return true
	}
	pause := time.NewTimer(time.Duration(bytes) * time.Second / time.Duration(rate))
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-p.over:
		return false
	}
}

// chunk is how many bytes pass at once on a slow connection.
const chunk = 256

// pass writes what was read, as slowly as it must, and reports whether the
// connection goes on.
func (p *Proxy) pass(to net.Conn, what []byte) bool {
	for len(what) > 0 {
		n := len(what)
		if p.slow() {
			n = min(n, chunk)
		}
		if !p.wait(n) {
			return false
		}
		allowed, cut := p.spend(n)
		if _, err := to.Write(what[:allowed]); err != nil || cut {
			return false
		}
		what = what[n:]
	}
	return true
}

func (p *Proxy) slow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate > 0
}

// link is one connection through a proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	mu    sync.Mutex
	muted bool // what the server sends next cuts the connection
}

func (l *link) close() {
	_ = l.client.Close() // either may be closed already
	_ = l.server.Close()
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	delete(l.proxy.conns, l.client)
	delete(l.proxy.conns, l.server)
}

// up copies from client to server.
func (l *link) up() {
	defer l.close()
	buf := make([]byte, 64<<10)
	var tail []byte // of what passed, in case the trigger is split
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		var cut Cut
		if cut, tail = l.proxy.look(tail, buf[:n]); cut == CutBefore {
			return
		} else if cut == CutAfter {
			l.mu.Lock()
			l.muted = true
			l.mu.Unlock()
		}
		if !l.proxy.pass(l.server, buf[:n]) {
			return
		}
	}
}

// down copies from server to client.
func (l *link) down() {
	defer l.close()
	buf := make([]byte, 64<<10)
	for {
		n, err := l.server.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		muted := l.muted
		l.mu.Unlock()
		if muted || !l.proxy.pass(l.client, buf[:n]) {
			return
		}
	}
}
