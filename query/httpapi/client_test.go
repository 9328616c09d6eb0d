package httpapi

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/assigndex/assigndex/query"
)

// serve runs s on a free port until the test ends.
func serve(tb testing.TB, s *Server) string {
	tb.Helper()
	addr, stop := start(tb, s)
	tb.Cleanup(func() {
		if err := stop(); err != nil {
			tb.Errorf("Run: %v", err)
		}
	})
	return addr
}

// start runs s on a free port until stop is called, which gives Run's error.
func start(tb testing.TB, s *Server) (addr string, stop func() error) {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	return l.Addr().String(), func() error { cancel(); return <-done }
}

// client sends requests to one server.
type client struct {
	tb    testing.TB
	base  string
	token string // for X-API-KEY; empty: none
	http  *http.Client
}

func newClient(tb testing.TB, addr, token string) *client {
	transport := &http.Transport{DisableCompression: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &client{tb: tb, base: "http://" + addr, token: token, http: &http.Client{Transport: transport}}
}

// answer is a whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send sends a request with headers as names and values in turn. An empty
// value takes a header away.
func (c *client) send(ctx context.Context, method, path string, body io.Reader, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return answer{}, err
	}
	if c.token != "" {
		r.Header.Set("X-API-KEY", c.token)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, got}, err
}

func (c *client) do(method, path, body string, headers ...string) answer {
	c.tb.Helper()
	a, err := c.send(c.tb.Context(), method, path, bytes.NewReader([]byte(body)), headers...)
	if err != nil {
		c.tb.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (c *client) post(body string, headers ...string) answer {
	c.tb.Helper()
	return c.do(http.MethodPost, "/api/assignments", body, headers...)
}

// page is the answer to a listing.
type page struct {
	Cursor      *string          `json:"cursor"`
	Assignments []jsontext.Value `json:"assignments"`
}

// list sends a request that must be answered.
func (c *client) list(body string, headers ...string) (page, answer) {
	c.tb.Helper()
	a := c.post(body, headers...)
	var p page
	if err := json.Unmarshal(a.body, &p, json.RejectUnknownMembers(true)); err != nil || a.status != http.StatusOK {
		c.tb.Fatalf("%s: %d %s", body, a.status, a.body)
	}
	if a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) ||
		a.header.Get("Assigndex-Stream") != incarnation || a.header.Get("Cache-Control") != "no-store" {
		c.tb.Fatalf("%s: headers %v", body, a.header)
	}
	return p, a
}

// problem is an error as RFC 9457 has it, with our members.
type problem struct {
	Type   string     `json:"type"`
	Title  string     `json:"title"`
	Status int        `json:"status"`
	Detail string     `json:"detail"`
	Code   query.Code `json:"code"`
	Field  string     `json:"field"`

	Rest jsontext.Value `json:",embed"`
}

// wantProblem checks an error answer.
func wantProblem(tb testing.TB, a answer, status int, code query.Code, field string) problem {
	tb.Helper()
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		tb.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if a.status != status || p.Status != status || p.Code != code || p.Field != field {
		tb.Fatalf("%d %s; want %d %s of %q", a.status, a.body, status, code, field)
	}
	if a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) ||
		p.Title == "" || p.Detail == "" || p.Type != typePrefix+string(code) {
		tb.Fatalf("headers %v, body %s", a.header, a.body)
	}
	return p
}
