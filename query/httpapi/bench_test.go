package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	benchUsers = 4000
	benchEnts  = 1000
	benchApps  = 40
	perUser    = 10
)

// benchIndex holds 40,000 assignments of a shape as in the seed page.
func benchIndex(b *testing.B) *testIndex {
	x := newIndex(b).bind()
	r := rand.New(rand.NewPCG(1, 2))
	for u := 0; u < benchUsers; u += 100 {
		var batch []event
		for i := u; i < u+100; i++ {
			for _, e := range r.Perm(benchEnts)[:perUser] {
				reasons := ""
				for n := range r.IntN(3) {
					reasons += fmt.Sprintf(`%s{"id":"USR_DEPARTMENT_NAME","title":"USR_DEPARTMENT_NAME","value":"Value %d"}`, comma(n), r.IntN(60))
				}
				batch = append(batch, event{"assignment.upserted", fmt.Sprintf(`{"usr_id":%q,"ent_id":%q,"app_id":%q,"score":%s,"justification":[%s]}`,
					benchUser(i), benchEnt(e), benchApp(e), strconv.FormatFloat(float64(r.IntN(101))/100, 'f', -1, 64), reasons)})
			}
		}
		x.apply("acme", batch...)
	}
	return x
}

func comma(n int) string {
	if n == 0 {
		return ""
	}
	return ","
}

func benchUser(i int) string { return fmt.Sprintf("aaron.%06d", i) }
func benchEnt(e int) string  { return fmt.Sprintf("WEB_user_Web_Shared Edit %05d_Europe", e) }
func benchApp(e int) string  { return fmt.Sprintf("app-%03d", e%benchApps) }

var benchFilters = []struct{ name, fields string }{
	{"all", ``},
	{"usr", fmt.Sprintf(`,"usr_id":%q`, benchUser(1234))},
	{"ent", fmt.Sprintf(`,"ent_id":%q`, benchEnt(77))},
	{"app", fmt.Sprintf(`,"app_id":%q`, benchApp(7))},
	{"ent+app", fmt.Sprintf(`,"ent_id":%q,"app_id":%q`, benchEnt(77), benchApp(77))},
}

// peer is a server and one keep-alive connection to it that sends one request
// over and over. The client is as thin as can be: it shares the machine.
type peer struct {
	conn    net.Conn
	request []byte
	answer  []byte // room for one whole answer
	length  int    // of every answer, set by the first
}

func dial(b *testing.B, addr, token, body string) *peer {
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &peer{conn: conn, answer: make([]byte, 1<<20), request: fmt.Appendf(nil,
		"POST /api/assignments HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)}
}

// first sends the request once and gives the body of the answer.
func (p *peer) first(b *testing.B) []byte {
	if _, err := p.conn.Write(p.request); err != nil {
		b.Fatal(err)
	}
	var got []byte
	for {
		n, err := p.conn.Read(p.answer)
		if err != nil {
			b.Fatal(err)
		}
		got = append(got, p.answer[:n]...)
		head, body, whole := bytes.Cut(got, []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		_, length, _ := bytes.Cut(head, []byte("Content-Length: "))
		length, _, _ = bytes.Cut(length, []byte("\r\n"))
		if n, err := strconv.Atoi(string(length)); err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
			b.Fatalf("%s", got)
		} else if len(body) == n {
			p.length = len(got)
			return body
		}
	}
}

func (p *peer) roundTrip() error {
	if _, err := p.conn.Write(p.request); err != nil {
		return err
	}
	_, err := io.ReadFull(p.conn, p.answer[:p.length])
	return err
}

// static serves fixed bytes, after reading the request, from a bare server.
func static(b *testing.B, content []byte) string {
	l, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	b.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String()
}

func BenchmarkPage20(b *testing.B)  { benchmarkPages(b, 20) }
func BenchmarkPage500(b *testing.B) { benchmarkPages(b, 500) }

// benchConns is how many connections each server gets, as many as the load tool
// that such figures are compared with.
const benchConns = 8

// benchmarkPages sends each request over and over, and then as often to a bare
// server that answers with the same bytes, in alternating rounds. The time
// reported is the index's; "of-static" is its rate as a share of the bare
// server's.
func benchmarkPages(b *testing.B, size int) {
	x := benchIndex(b)
	set, tokens := keySet(b, "acme")
	addr := serve(b, newServer(b, x.options(set)))
	for _, filter := range benchFilters {
		body := fmt.Sprintf(`{"pageSize":%d%s}`, size, filter.fields)
		b.Run(filter.name, func(b *testing.B) {
			dialAll := func(addr string) (peers []*peer, content []byte) {
				for range benchConns {
					p := dial(b, addr, tokens["acme"], body)
					content = p.first(b)
					peers = append(peers, p)
				}
				return peers, content
			}
			index, content := dialAll(addr)
			bare, _ := dialAll(static(b, content))
			var ours, theirs time.Duration
			const round = 400
			for n := 0; n < b.N; n += round {
				ours += turn(b, index, min(round, b.N-n))
				theirs += turn(b, bare, min(round, b.N-n))
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N), "static-ns/op")
			b.ReportMetric(float64(theirs)/float64(ours), "of-static")
			b.ReportMetric(float64(len(content)), "B/answer")
		})
	}
}

// turn sends n requests over all connections together and gives the time it took.
func turn(b *testing.B, peers []*peer, n int) time.Duration {
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := p.roundTrip(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// BenchmarkHandler is the work of a request without a connection.
func BenchmarkHandler(b *testing.B) {
	x := benchIndex(b)
	set, tokens := keySet(b, "acme")
	s := newServer(b, x.options(set))
	for _, size := range []int{20, 500} {
		for _, filter := range benchFilters {
			b.Run(fmt.Sprintf("%s/%d", filter.name, size), func(b *testing.B) {
				body := fmt.Appendf(nil, `{"pageSize":%d%s}`, size, filter.fields)
				w := &discard{header: http.Header{}}
				reader := bytes.NewReader(body)
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://x/api/assignments", io.NopCloser(reader))
				if err != nil {
					b.Fatal(err)
				}
				r.ContentLength = int64(len(body))
				r.Header = http.Header{headerKey: {tokens["acme"]}, "Content-Type": {"application/json"}}
				b.ReportAllocs()
				for b.Loop() {
					reader.Reset(body)
					s.ServeHTTP(w, r)
				}
				if w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			})
		}
	}
}

// BenchmarkRefused is the work of a request with an unknown key.
func BenchmarkRefused(b *testing.B) {
	set, _ := keySet(b, "acme")
	_, tokens := keySet(b, "acme")
	s := newServer(b, newIndex(b).bind().options(set))
	r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://x/api/assignments", http.NoBody)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{headerKey: {tokens["acme"]}}
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		s.ServeHTTP(w, r)
	}
	if w.status != http.StatusUnauthorized {
		b.Fatalf("status %d", w.status)
	}
}

// discard is an http.ResponseWriter that keeps the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(s int)   { d.status = s }
func (d *discard) Write(p []byte) (int, error) {
	if d.status == 0 {
		d.status = http.StatusOK
	}
	return len(p), nil
}
