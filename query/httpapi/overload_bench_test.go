package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkOverload asks for four times what a server can do. What it can do is
// measured first, by a few connections that each wait for their answer. "of-capacity"
// is the rate served under overload as a share of that, "p99-ms" the time of what was
// served then, and "own-p99-ms" that of the same requests before.
func BenchmarkOverload(b *testing.B) {
	x := benchIndex(b)
	set, tokens := keySet(b, "acme")
	addr := serve(b, newServer(b, x.options(set)))
	phase := 2 * time.Second
	if testing.Short() {
		phase = 100 * time.Millisecond
	}
	for _, request := range []struct{ name, body string }{
		{"page", `{"pageSize":500}`},
		{"scan", `{"min_score":0.991,"max_score":0.999,"pageSize":500}`}, // reads 20,000 rows and finds none
	} {
		b.Run(request.name, func(b *testing.B) {
			var capacity, overload tally
			for b.Loop() {
				capacity.add(offer(b, addr, tokens["acme"], request.body, benchConns, 0, phase))
				overload.add(offer(b, addr, tokens["acme"], request.body, overloadConns, 4*capacity.rate(), phase))
			}
			b.ReportMetric(capacity.rate(), "capacity/s")
			b.ReportMetric(overload.rate()/capacity.rate(), "of-capacity")
			b.ReportMetric(float64(overload.asked())/overload.took.Seconds()/capacity.rate(), "offered")
			b.ReportMetric(float64(overload.refused)/float64(overload.asked()), "refused")
			b.ReportMetric(capacity.milliseconds(0.50), "own-p50-ms")
			b.ReportMetric(capacity.milliseconds(0.99), "own-p99-ms")
			b.ReportMetric(overload.milliseconds(0.50), "p50-ms")
			b.ReportMetric(overload.milliseconds(0.99), "p99-ms")
			b.ReportMetric(0, "ns/op") // is the length of the phases
		})
	}
}

// overloadConns is many more connections than requests may run or wait.
const overloadConns = 1024

// tally is what became of the requests of a phase.
type tally struct {
	took    time.Duration
	refused int
	served  []time.Duration
}

func (t *tally) add(o tally) {
	t.took += o.took
	t.refused += o.refused
	t.served = append(t.served, o.served...)
}

func (t *tally) asked() int    { return t.refused + len(t.served) }
func (t *tally) rate() float64 { return float64(len(t.served)) / t.took.Seconds() }

// milliseconds gives the time within which that share of what was served was.
func (t *tally) milliseconds(share float64) float64 {
	if len(t.served) == 0 {
		return 0
	}
	slices.Sort(t.served)
	return t.served[int(share*float64(len(t.served)-1))].Seconds() * 1e3
}

// offer sends requests over so many connections, perSecond of them all together or, if
// that is 0, each as soon as the one before was answered.
func offer(b *testing.B, addr, token, body string, conns int, perSecond float64, phase time.Duration) tally {
	b.Helper()
	request := fmt.Appendf(nil, "POST /api/assignments HTTP/1.1\r\nHost: x\r\nX-API-KEY: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		token, len(body), body)
	var interval time.Duration
	if perSecond > 0 {
		interval = time.Duration(float64(conns) / perSecond * float64(time.Second))
	}
	all := make([]*loadConn, conns)
	for i := range all {
		conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		all[i] = &loadConn{conn: conn, in: bufio.NewReader(conn), request: request}
	}
	began := time.Now()
	var running sync.WaitGroup
	var failed atomic.Bool
	for i, c := range all {
		running.Go(func() {
			first := began.Add(interval * time.Duration(i) / time.Duration(conns))
			if err := c.run(first, interval, began.Add(phase)); err != nil && !failed.Swap(true) {
				b.Error(err)
			}
		})
	}
	running.Wait()
	total := tally{took: time.Since(began)}
	for _, c := range all {
		total.add(c.tally)
	}
	return total
}

// loadConn is one connection of a client as thin as can be: it shares the machine.
type loadConn struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	tally   tally
}

// run sends a request at each interval until the end, one at a time.
func (c *loadConn) run(next time.Time, interval time.Duration, end time.Time) error {
	for {
		if wait := time.Until(next); wait > 0 {
			<-time.After(wait)
		}
		began := time.Now()
		if !began.Before(end) {
			return nil
		}
		status, err := c.roundTrip()
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			c.tally.served = append(c.tally.served, time.Since(began))
		case status == http.StatusServiceUnavailable:
			c.tally.refused++
		default:
			return fmt.Errorf("status %d", status)
		}
		// A connection that is behind does not make up for it: others are there.
		if next = next.Add(interval); next.Before(began) {
			next = began
		}
	}
}

func (c *loadConn) roundTrip() (status int, err error) {
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= 2 {
			break
		}
		if text, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			length, err = strconv.Atoi(strings.TrimSpace(text))
		} else if first {
			status, err = strconv.Atoi(string(line[9:12]))
		}
		if err != nil {
			return 0, err
		}
	}
	_, err = io.CopyN(io.Discard, c.in, int64(length))
	return status, err
}
