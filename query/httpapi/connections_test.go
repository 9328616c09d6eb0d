package httpapi

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// link is a connection to a server that a test speaks on by hand.
type link struct {
	net.Conn
	in *bufio.Reader
}

func dialLink(t *testing.T, base string) *link {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &link{conn, bufio.NewReader(conn)}
}

// probe asks whether the server lives.
func (l *link) probe() error {
	if _, err := io.WriteString(l, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// wantClosed waits for the server to close the connection.
func (l *link) wantClosed(t *testing.T) {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(time.Minute)); err != nil { // well before the server's own limits
		t.Fatal(err)
	}
	if n, err := l.in.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is open: %d, %v", n, err)
	}
}

// idle waits until so many connections are open and wait for a request.
func (c *connections) idle(want int) {
	for {
		c.mu.Lock()
		waiting, open := c.waiting.Len(), len(c.open)
		c.mu.Unlock()
		if waiting == want && open == want {
			return
		}
		runtime.Gosched()
	}
}

// A crowd of idle connections, and of such that never said anything or only half a
// header, keeps nobody out: those that have waited for the longest time go.
func TestIdleConnectionsGiveWay(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Limits.Connections = 3 })
	var all []*link
	for n := range 10 {
		l := dialLink(t, f.base)
		var err error
		switch n {
		case 1: // says nothing
		case 2:
			_, err = io.WriteString(l, "GET /livez HTTP/1.1\r\n")
		default:
			err = l.probe()
		}
		if err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
		f.server.limits.connections.idle(min(n+1, 3))
		if all = append(all, l); n >= 3 {
			all[n-3].wantClosed(t)
		}
	}
	for _, l := range all[7:] {
		if err := l.probe(); err != nil {
			t.Error(err)
		}
	}
	if refused := f.server.limits.connections.Refused(); refused != 7 {
		t.Errorf("%d were refused, want 7", refused)
	}
}

// Connections with a request under way stay, and new ones are closed.
func TestBusyConnectionsStay(t *testing.T) {
	var h *stopping
	f := newFixture(t, func(o *Options) {
		o.Limits.Connections = 2
		h = stopLists(o)
	})
	t.Cleanup(h.release)
	f.index.apply("acme", give("u", "e", "a"))
	held := []<-chan answer{inBackground(t, f.client, `{}`), inBackground(t, f.client, `{}`)}
	for range held {
		<-h.came
	}
	for range 3 {
		dialLink(t, f.base).wantClosed(t)
	}
	h.release()
	for _, answers := range held {
		if a := <-answers; a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if refused := f.server.limits.connections.Refused(); refused != 3 {
		t.Errorf("%d were refused, want 3", refused)
	}
}

// Whatever the order of states, no connection is counted for ever.
func TestConnectionsForget(t *testing.T) {
	c := newConnections(2)
	conns := make([]net.Conn, 3)
	for i := range conns {
		conns[i], _ = net.Pipe()
	}
	c.changed(conns[0], http.StateNew)
	c.changed(conns[1], http.StateNew)
	c.changed(conns[0], http.StateActive)
	c.changed(conns[2], http.StateNew) // conns[1] goes
	for _, state := range []http.ConnState{http.StateActive, http.StateIdle} {
		if c.changed(conns[1], state); c.Open() != 2 { // it did not know yet
			t.Fatalf("%d are open", c.Open())
		}
	}
	c.changed(conns[0], http.StateIdle)
	c.changed(conns[0], http.StateHijacked)
	c.changed(conns[1], http.StateClosed)
	c.changed(conns[2], http.StateClosed)
	if c.Open() != 0 || c.waiting.Len() != 0 {
		t.Errorf("%d are open, %d wait", c.Open(), c.waiting.Len())
	}
}
