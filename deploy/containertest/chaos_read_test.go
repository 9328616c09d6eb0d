package containertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"
)

// replica is a server that may be restarted while it is read.
type replica struct {
	api
	name   string
	args   []string
	binary program
	server *server

	mu       sync.Mutex
	away     bool // it is being restarted
	restarts int  // guarded by mu, too
}

func (r *replica) state() (away bool, restarts int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.away, r.restarts
}

func (r *replica) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away = away; away {
		r.restarts++
	}
}

// restart ends the server and starts it on the same directory.
func (r *replica) restart(t *testing.T, kill bool) {
	t.Helper()
	r.setAway(true)
	if kill {
		if err := r.server.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-r.server.done
	} else {
		r.server.stop(t)
	}
	r.server = r.binary.serve(t, r.args...)
	waitUntil(t, r.name+" is ready again", r.ready)
	r.setAway(false)
}

// readers list everything, page by page, over and over.
type readers struct {
	stop context.CancelFunc
	wait sync.WaitGroup

	mu          sync.Mutex // guards what follows
	listings    map[uint64][]row
	count       int
	refused     map[string]int // what was not answered, by status
	incarnation string
	faults      []string
}

// read starts a reader for each replica, and one that asks any of them for each page.
func read(t *testing.T, seed uint64, replicas ...*replica) *readers {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	rs := &readers{stop: stop, listings: make(map[uint64][]row), refused: make(map[string]int)}
	for i := range len(replicas) + 1 {
		of := replicas
		if i < len(replicas) {
			of = replicas[i : i+1]
		}
		rng := rand.New(rand.NewPCG(seed, uint64(10+i)))
		rs.wait.Go(func() {
			for ctx.Err() == nil {
				rs.list(ctx, func() *replica { return of[rng.IntN(len(of))] })
			}
		})
	}
	t.Cleanup(func() {
		stop()
		rs.wait.Wait()
	})
	return rs
}

func (rs *readers) fault(format string, args ...any) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.faults = append(rs.faults, fmt.Sprintf(format, args...))
}

// list reads one listing to its end, or until it is refused.
func (rs *readers) list(ctx context.Context, next func() *replica) {
	request := map[string]any{"pageSize": pageSize}
	var rows []row
	var first string
	for {
		r := next()
		away, before := r.state()
		status, header, answer, err := r.page(ctx, request)
		stillAway, after := r.state()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && (away || stillAway || before != after):
			rs.refuse("no connection")
			return
		case err != nil:
			rs.fault("%s: %v", r.name, err)
			return
		case status == http.StatusGone || status == http.StatusServiceUnavailable:
			rs.refuse(strconv.Itoa(status))
			return
		case status != http.StatusOK:
			rs.fault("%s: status %d: %s", r.name, status, answer)
			return
		}
		var page struct {
			Cursor      *string `json:"cursor"`
			Assignments []row   `json:"assignments"`
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			rs.fault("%s: %v in %s", r.name, err, answer)
			return
		}
		seq := header.Get("Assigndex-Seq")
		if first == "" {
			first = seq
		}
		rs.sawIncarnation(r, header.Get("Assigndex-Stream"))
		if seq != first {
			rs.fault("%s: a listing at %s goes on at %s", r.name, first, seq)
			return
		}
		rows = append(rows, page.Assignments...)
		if page.Cursor == nil {
			rs.complete(r, first, rows)
			return
		}
		request["cursor"] = *page.Cursor
	}
}

func (rs *readers) refuse(why string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.refused[why]++
}

// sawIncarnation wants one for all the time: nothing of the stream is ever lost.
func (rs *readers) sawIncarnation(r *replica, incarnation string) {
	rs.mu.Lock()
	before := rs.incarnation
	rs.incarnation = incarnation
	rs.mu.Unlock()
	if before != "" && before != incarnation {
		rs.fault("%s: incarnation %s after %s", r.name, incarnation, before)
	}
}

// complete notes a whole listing, which must be the same as another one at its sequence.
func (rs *readers) complete(r *replica, at string, rows []row) {
	seq, err := strconv.ParseUint(at, 10, 64)
	if err != nil {
		rs.fault("%s: Assigndex-Seq: %v", r.name, err)
		return
	}
	rs.mu.Lock()
	before, known := rs.listings[seq]
	rs.listings[seq] = rows
	rs.count++
	rs.mu.Unlock()
	if known && !slices.Equal(before, rows) {
		rs.fault("%s: at %d it lists %q, another listing was %q", r.name, seq, rows, before)
	}
}

// end stops reading and compares every complete listing with the model at its sequence.
func (rs *readers) end(t *testing.T, bySeq []change) {
	t.Helper()
	rs.stop()
	rs.wait.Wait()
	for _, f := range rs.faults[:min(len(rs.faults), 20)] {
		t.Error(f)
	}
	t.Logf("%d listings at %d sequences; not answered: %v; %d faults", rs.count, len(rs.listings), rs.refused, len(rs.faults))
	m := &model{live: make(map[row]bool)}
	for seq := uint64(0); ; seq++ {
		if rows, read := rs.listings[seq]; read {
			if want := m.rows(func(row) bool { return true }); !slices.Equal(rows, want) {
				t.Errorf("at %d %d rows were listed, want %d: %q, want %q", seq, len(rows), len(want), rows, want)
			}
			delete(rs.listings, seq)
		}
		if int(seq) == len(bySeq) {
			break
		}
		bySeq[seq].apply(m.live)
	}
	if len(rs.listings) > 0 {
		t.Errorf("%d listings are of sequences that the stream does not have", len(rs.listings))
	}
	if rs.count == 0 {
		t.Error("nothing was listed")
	}
}

// page asks for one page.
func (a api) page(ctx context.Context, request map[string]any) (int, http.Header, []byte, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return 0, nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+"/api/assignments", bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-KEY", a.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}
