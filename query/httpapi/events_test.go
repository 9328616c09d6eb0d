package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/query"
)

// sent is a server-sent event.
type sent struct {
	name string
	id   string
	data string
}

// follower reads the events of one connection.
type follower struct {
	res    *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// watch opens a connection. The answer is returned as well when it is a refusal.
func (c *client) watch(ctx context.Context, params string, headers ...string) (*follower, answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/watch"+params, nil)
	if err != nil {
		cancel()
		return nil, answer{}, err
	}
	r.Header.Set("X-API-KEY", c.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		cancel()
		return nil, answer{}, err
	}
	if res.StatusCode != http.StatusOK {
		defer cancel()
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return nil, answer{res.StatusCode, res.Header, body}, err
	}
	return &follower{res: res, lines: bufio.NewReader(res.Body), cancel: cancel}, answer{res.StatusCode, res.Header, nil}, nil
}

// follow is watch for a connection that must be answered.
func (c *client) follow(params string, headers ...string) *follower {
	c.tb.Helper()
	f, a, err := c.watch(context.Background(), params, headers...)
	if err != nil || f == nil {
		c.tb.Fatalf("%s %v: %d %s %v", params, headers, a.status, a.body, err)
	}
	if a.header.Get("Content-Type") != "text/event-stream" || a.header.Get("Assigndex-Stream") != incarnation || a.header.Get("Cache-Control") != "no-store" {
		c.tb.Fatalf("%v", a.header)
	}
	c.tb.Cleanup(f.close)
	return f
}

func (f *follower) close() {
	f.cancel()
	f.res.Body.Close()
}

// next reads a whole event, past comments. The error is that of the connection; what
// was read of an event before it does not count.
func (f *follower) next() (e sent, err error) {
	for {
		line, err := f.lines.ReadString('\n')
		if err != nil {
			return sent{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && e != sent{}:
			return e, nil
		case line == "" || line == ":":
		case name == "event":
			e.name = value
		case name == "id":
			e.id = value
		case name == "data" && e.data == "":
			e.data = value
		default:
			return sent{}, fmt.Errorf("a line %q", line)
		}
	}
}

// must is next where there has to be one, of this name.
func (f *follower) must(tb testing.TB, name string) sent {
	tb.Helper()
	e, err := f.next()
	if err != nil || e.name != name {
		tb.Fatalf("%+v, %v; want %s", e, err, name)
	}
	return e
}

// change reads the change of an event.
func (e sent) change(tb testing.TB) (c told, next query.Position) {
	tb.Helper()
	if err := json.Unmarshal([]byte(e.data), &c, json.RejectUnknownMembers(true)); err != nil {
		tb.Fatalf("%+v: %v", e, err)
	}
	next, ok := query.ParsePosition(c.Next)
	if !ok {
		tb.Fatalf("%+v: no position", e)
	}
	if (e.id != "") != (next.N == 0) || e.id != "" && (e.id != c.Next || next.Seq != c.Seq) {
		tb.Fatalf("%+v: the id is not that of a last change", e)
	}
	c.id, c.Next = identityOf(tb, c.Assignment), ""
	return c, next
}
