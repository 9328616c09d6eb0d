package httpapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bound how many connections a server has. One too many closes the one
// that has waited for a request, or for the rest of its header, for the longest time,
// as it would be closed later anyway; where none waits, it is closed itself. So a
// crowd of idle or slow clients keeps out nobody, probes least of all.
type connections struct {
	most    int
	mu      sync.Mutex // guards what follows
	open    map[net.Conn]*list.Element
	waiting list.List // of net.Conn, without a request: the longest first
	refused uint64
}

func newConnections(most int) *connections {
	return &connections{most: most, open: map[net.Conn]*list.Element{}}
}

// changed is an http.Server's ConnState.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if closing := c.change(conn, state); closing != nil {
		_ = closing.Close() // its reader finds out
	}
}

// change notes a connection's state and gives the one that must go, if any.
func (c *connections) change(conn net.Conn, state http.ConnState) (closing net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := c.open[conn]; at != nil {
		c.waiting.Remove(at)
		c.open[conn] = nil
	}
	switch state {
	case http.StateNew:
		if len(c.open) >= c.most {
			c.refused++
			closing = conn
			if first := c.waiting.Front(); first != nil {
				closing = c.waiting.Remove(first).(net.Conn) //nolint:errcheck,forcetypeassert // the list holds nothing else
			}
			delete(c.open, closing)
		}
		if closing != conn {
			c.open[conn] = c.waiting.PushBack(conn)
		}
	case http.StateIdle:
		if _, known := c.open[conn]; known {
			c.open[conn] = c.waiting.PushBack(conn)
		}
	case http.StateActive:
		// It does not wait any more. One that was told to go stays gone.
	case http.StateHijacked, http.StateClosed:
		delete(c.open, conn)
	}
	return closing
}

// Open gives the number of connections.
func (c *connections) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// Refused gives the number of connections that were closed for their number.
func (c *connections) Refused() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}
