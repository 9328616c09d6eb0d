package publisher

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"
)

// What a proxy does to a connection.
type cut int

const (
	cutNever  cut = iota
	cutBefore     // the server does not get the chunk that holds the trigger
	cutAfter      // the server gets everything, the client none of what it answers
)

// proxy stands between client and server and cuts each of the first connections
// on which the trigger passes.
type proxy struct {
	listener net.Listener
	target   string
	trigger  []byte

	mu    sync.Mutex
	plan  []cut // for the next cuts
	wg    sync.WaitGroup
	conns map[net.Conn]bool
}

// startProxy runs a proxy for one server until the test ends.
func startProxy(t testing.TB, target, trigger string, plan ...cut) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		listener: listener, target: strings.TrimPrefix(target, "nats://"), trigger: []byte(trigger),
		plan: plan, conns: map[net.Conn]bool{},
	}
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	defer p.wg.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		link := &link{proxy: p, client: client, server: server}
		p.wg.Add(2)
		go link.up()
		go link.down()
	}
}

// next takes the next step of the plan.
func (p *proxy) next() cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.plan) == 0 {
		return cutNever
	}
	step := p.plan[0]
	p.plan = p.plan[1:]
	return step
}

// left is how many steps of the plan were not taken.
func (p *proxy) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.plan)
}

type link struct {
	proxy          *proxy
	client, server net.Conn

	mu    sync.Mutex
	muted bool // what the server sends next cuts the connection
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// up copies from client to server.
func (l *link) up() {
	defer l.proxy.wg.Done()
	defer l.close()
	buf := make([]byte, 64<<10)
	var tail []byte // of what passed, in case the trigger is split
	for {
		n, err := l.client.Read(buf)
		if err != nil {
			return
		}
		seen := append(tail, buf[:n]...)
		if at := bytes.Index(seen, l.proxy.trigger); at >= 0 {
			switch l.proxy.next() {
			case cutBefore:
				return
			case cutAfter:
				l.mu.Lock()
				l.muted = true
				l.mu.Unlock()
			}
			seen = seen[at+len(l.proxy.trigger):]
		}
		tail = append([]byte(nil), seen[max(0, len(seen)-len(l.proxy.trigger)+1):]...)
		if _, err := l.server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// down copies from server to client.
func (l *link) down() {
	defer l.proxy.wg.Done()
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
		if muted {
			return
		}
		if _, err := l.client.Write(buf[:n]); err != nil {
			return
		}
	}
}
