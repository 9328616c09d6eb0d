package httpapi

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A stop lets the requests under way finish and takes no new ones.
func TestRunDrains(t *testing.T) {
	reading, release := make(chan struct{}), make(chan struct{})
	x := newIndex(t).bind()
	x.apply("acme", give("u", "e", "a"))
	set, tokens := keySet(t, "acme")
	o := x.options(set)
	o.Index = &hooked{Index: x, wait: func(ctx context.Context, _ uint64) error {
		close(reading)
		select {
		case <-release:
			x.apply("acme", give("u", "f", "a"))
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	addr, stop := start(t, newServer(t, o))
	c := newClient(t, addr, tokens["acme"])
	answers := make(chan answer)
	go func() {
		a, err := c.send(t.Context(), http.MethodPost, "/api/assignments", strings.NewReader(`{"at_least":2}`))
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	<-reading
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	for { // until the listener is closed
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-stopped:
		t.Fatalf("Run returned %v before the request was answered", err)
	default:
	}
	close(release)
	if a := <-answers; a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := <-stopped; err != nil {
		t.Fatalf("Run: %v", err)
	}
}

func TestRunReportsItsListener(t *testing.T) {
	s := newServer(t, newIndex(t).bind().options(nil))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Run(context.Background(), l); err == nil {
		t.Fatal("no error for a closed listener")
	}
}
