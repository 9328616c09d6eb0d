package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/config"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/query/client"
)

var soakFlag = flag.Duration("soak", 20*time.Second, "how long BenchmarkSoak loads the server after a quarter of that to warm up")

// BenchmarkSoak loads a whole server with all that it does at once, as fast as it
// goes: events over NATS and over HTTP, listings, changes, a watch and counts. The
// events write the same assignments over and over. It looks at the server at rest,
// after a time to warm up and at the end, and fails when memory, goroutines or open
// files have grown by more than soakBounds. The long lane:
//
//	go test ./cmd/assigndex -run '^$' -bench '^BenchmarkSoak$' -benchtime 1x -soak 10m -timeout 30m
func BenchmarkSoak(b *testing.B) {
	lasts := *soakFlag
	if testing.Short() {
		lasts = 2 * time.Second
	}
	for b.Loop() {
		soakOnce(b, lasts)
	}
}

func soakOnce(b *testing.B, lasts time.Duration) {
	cfg := config.DefaultServe()
	cfg.History = 0 // a minute: what a longer run takes on disk ends to grow
	cfg.StreamMaxAge = time.Minute
	n := benchNodeOf(b, cfg)
	key := strings.TrimSpace(benchCommand(b, n, "key", "create", "--name", "soak", "--tenant", "*", "--role", "admin"))
	s := &soak{B: b, n: n, key: key, publisher: benchPublisher(b, n)}
	s.load(lasts / 4)
	warm := s.rest()
	s.events.Store(0)
	s.reads.Store(0)
	began := time.Now()
	s.load(lasts)
	took := time.Since(began).Seconds()
	end := s.rest()
	events, reads := s.events.Load(), s.reads.Load()
	for i, w := range soakWork {
		if s.done[i].Load() == 0 {
			b.Errorf("%s: nothing was done", w.name)
		}
	}
	b.ReportMetric(float64(events)/took, "events/s")
	b.ReportMetric(float64(reads)/took, "reads/s")
	warm.report(b, "warm")
	end.report(b, "end")
	for _, grown := range end.beyond(warm, events) {
		b.Error(grown)
	}
	// All of it was to some purpose.
	if _, _, err := n.index.Digest(n.applied()); err != nil {
		b.Error(err)
	}
}

// soakRows is how many assignments the events are about.
const soakRows = 20_000

type soak struct {
	*testing.B
	n         *node
	key       string
	publisher *publisher.Publisher
	web       *http.Client // of the load that is under way

	events, reads atomic.Int64
	done          [6]atomic.Int64 // by each of soakWork
}

// soakWork is what goes on at once. Each does one thing and says how many events it
// published; watching goes on until the context ends.
var soakWork = [...]struct {
	name string
	do   func(s *soak, ctx context.Context, c *client.Client) (events int, err error)
}{
	{"publish", (*soak).publish},
	{"ingest", (*soak).ingest},
	{"list", (*soak).list},
	{"changes", (*soak).changes},
	{"watch", (*soak).watch},
	{"stats", (*soak).stats},
}

// load does all the work for some time.
func (s *soak) load(d time.Duration) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), d)
	defer cancel()
	// One transport for all, that keeps nothing afterwards.
	transport := &http.Transport{MaxIdleConnsPerHost: len(soakWork)}
	defer transport.CloseIdleConnections()
	s.web = &http.Client{Transport: transport}
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range soakWork {
		c, err := client.New(client.Options{URL: s.n.url(), APIKey: s.key, Tenant: "default", HTTP: s.web})
		if err != nil {
			s.Fatal(err)
		}
		g.Go(func() error {
			for ctx.Err() == nil {
				events, err := w.do(s, ctx, c)
				if err != nil && ctx.Err() == nil {
					return fmt.Errorf("%s: %w", w.name, err)
				}
				s.done[i].Add(1)
				if events > 0 {
					s.events.Add(int64(events))
				} else {
					s.reads.Add(1)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		s.Fatal(err)
	}
	// What was published is applied, or the next look would be at a queue.
	js, err := jetstream.New(s.n.nc)
	if err != nil {
		s.Fatal(err)
	}
	stream, err := js.Stream(s.Context(), s.n.cfg.Stream)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.n.index.Wait(s.Context(), stream.CachedInfo().State.LastSeq); err != nil {
		s.Fatal(err)
	}
}

// soakRecord gives an assignment with another score than before.
func soakRecord() (usr, ent string, body string) {
	i := rand.IntN(soakRows)
	usr, ent = "aaron."+strconv.Itoa(i/10), "e"+strconv.Itoa(i%500)
	return usr, ent, fmt.Sprintf(`{"usr_id":%q,"ent_id":%q,"app_id":"a%d","score":%.4f,"justification":[]}`, usr, ent, i%20, rand.Float64())
}

func (s *soak) publish(ctx context.Context, _ *client.Client) (int, error) {
	messages := make([]publisher.Message, 250)
	for i := range messages {
		_, _, body := soakRecord()
		m, err := publisher.NewRecord("assignment.upserted", []byte(body))
		if err != nil {
			return 0, err
		}
		messages[i] = m
	}
	ack, err := s.publisher.Publish(ctx, messages...)
	return ack.Count, err
}

func (s *soak) ingest(ctx context.Context, _ *client.Client) (int, error) {
	items := make([]string, 250)
	for i := range items {
		_, _, items[i] = soakRecord()
	}
	body := `{"action":"upsert","assignments":[` + strings.Join(items, ",") + `]}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.n.url()+"/api/ingest/assignments", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for name, value := range map[string]string{"X-API-KEY": s.key, "Content-Type": "application/json", "Assigndex-Tenant": "default"} {
		req.Header.Set(name, value)
	}
	res, err := s.web.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%d %s: %w", res.StatusCode, answer, err)
	}
	return len(items), nil
}

func (s *soak) list(ctx context.Context, c *client.Client) (int, error) {
	usr, ent, _ := soakRecord()
	r := client.Request{UsrID: usr}
	switch rand.IntN(3) {
	case 0:
		r = client.Request{EntID: ent, PageSize: 20}
	case 1:
		r = client.Request{AppID: "a" + strconv.Itoa(rand.IntN(20)), PageSize: 500}
	}
	_, err := c.Page(ctx, r)
	return 0, err
}

func (s *soak) changes(ctx context.Context, c *client.Client) (int, error) {
	from := uint64(0)
	if at := s.n.applied(); at > 1000 {
		from = at - 1000
	}
	_, err := c.ChangePage(ctx, client.ChangesRequest{Since: strconv.FormatUint(from, 10), Limit: 200})
	if gone(err) { // the floor has passed it meanwhile
		err = nil
	}
	return 0, err
}

// watch takes some hundred changes, which must come in order.
func (s *soak) watch(ctx context.Context, c *client.Client) (int, error) {
	last := s.n.applied()
	w := c.Watch(client.WatchRequest{ChangesRequest: client.ChangesRequest{Since: strconv.FormatUint(last, 10)}})
	taken := 0
	for change, err := range w.All(ctx) {
		if err != nil {
			if gone(err) {
				err = nil
			}
			return 0, err
		}
		if change.Seq < last {
			return 0, fmt.Errorf("sequence %d came after %d", change.Seq, last)
		}
		last = change.Seq
		if taken++; taken == 500 {
			break
		}
	}
	return 0, nil
}

func (s *soak) stats(ctx context.Context, c *client.Client) (int, error) {
	_, ent, _ := soakRecord()
	_, err := c.Stats(ctx, client.StatsRequest{EntID: ent})
	return 0, err
}

// gone reports whether a position is no longer in the history.
func gone(err error) bool {
	var problem *client.Error
	return errors.As(err, &problem) && problem.Status == http.StatusGone
}
