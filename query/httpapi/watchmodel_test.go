package httpapi

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/query"
)

// A consumer whose connection is cut at random bytes, and who comes back with what it
// has, sees each change once and in order, and ends with the model's state; and so
// does one behind a narrow filter, while the floor follows closely behind them all.
func TestWatchIsResumable(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		p := newPast(t, seed)
		clients := p.clients(t, func(o *Options) { o.MaxPageSize, o.Watch.Progress = 5, time.Millisecond })
		p.grow(10)
		var consumers []*consumer
		for i := range 4 {
			f := p.anyFilter()
			switch i {
			case 0: // all of the users
				f = filter{tenant: "t", Filter: modeltest.Filter{Kinds: []events.Kind{events.KindUser}}}
			case 1: // nothing at all
				f = filter{tenant: "t", fields: map[string]string{"usr_id": "nobody"}}
				f.Kinds, f.AssigneeID = []events.Kind{events.KindUser}, "nobody"
			}
			consumers = append(consumers, &consumer{
				t: t, client: clients[f.tenant], filter: f, rng: rand.New(rand.NewPCG(seed, uint64(i))), moved: make(chan struct{}, 1),
			})
		}
		const end = 400
		var running sync.WaitGroup
		for _, c := range consumers {
			running.Go(func() { c.run(end) })
		}
		for p.applied() < end {
			p.grow(min(1+p.rng.IntN(40), int(end-p.applied())))
			// The floor comes as near as a consumer that reads leaves it.
			least := p.applied() - min(p.applied(), 60)
			for _, c := range consumers {
				for c.reached() < least && !t.Failed() {
					<-c.moved
				}
				least = min(least, c.reached())
			}
			p.forget(least)
		}
		running.Wait()
		for i, c := range consumers {
			what := fmt.Sprintf("consumer %d (%d connections) of %+v", i, c.connections, c.filter)
			wantTold(t, what, c.got, p.changes(0, end, &c.filter))
			want := map[identity]string{}
			for id, r := range p.rows(end, &c.filter) {
				want[id] = c.filter.tell(r)
			}
			if !maps.Equal(c.state, want) {
				t.Fatalf("%s ends with\n%q, want\n%q", what, c.state, want)
			}
		}
	})
}

// consumer follows changes over connections that do not last.
type consumer struct {
	t           *testing.T
	client      *client
	filter      filter
	rng         *rand.Rand
	connections int
	moved       chan struct{} // told when reached gives another sequence

	got   []told
	state map[identity]string
	next  query.Position // behind what was taken

	mu     sync.Mutex // guards id
	id     uint64     // the last id
	failed bool
}

// reached is the lowest sequence that the consumer may still come back to.
func (c *consumer) reached() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed {
		return 1<<64 - 1
	}
	return c.id
}

func (c *consumer) reach(id uint64, failed bool) {
	c.mu.Lock()
	c.id, c.failed = id, failed
	c.mu.Unlock()
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// run reads until it has seen all up to a sequence.
func (c *consumer) run(end uint64) {
	c.state = map[identity]string{}
	defer func() { c.reach(c.id, true) }() // nobody must wait for it any more
	for c.id < end {
		params, headers := c.filter.parameters("since", "0"), []string(nil)
		switch {
		case c.connections == 0:
		case c.rng.IntN(2) == 0: // as browsers come back
			headers = []string{"Last-Event-ID", fmt.Sprint(c.id)}
		default:
			params = c.filter.parameters("since", c.next.String())
		}
		c.connections++
		f, a, err := c.client.watch(c.t.Context(), params, headers...)
		if err != nil || f == nil {
			c.t.Errorf("%s %v: %d %s, %v", params, headers, a.status, a.body, err)
			return
		}
		// It is cut after so many bytes.
		f.lines.Reset(io.LimitReader(f.res.Body, c.rng.Int64N(1<<(6+c.rng.IntN(14)))))
		for c.id < end && c.take(f) {
		}
		f.close()
		if c.t.Failed() {
			return
		}
	}
}

// take takes an event. It reports false at the end of the connection.
func (c *consumer) take(f *follower) bool {
	e, err := f.next()
	if errors.Is(err, io.EOF) {
		return false
	}
	if err != nil || (e.name != "change" && e.name != "heartbeat") {
		c.t.Errorf("%+v, %v", e, err)
		return false
	}
	next, ok := query.ParsePosition(e.id)
	if e.name == "change" {
		var change told
		change, next = e.change(c.t)
		if before(c.next, next) { // otherwise it was taken before the cut
			c.apply(change)
		}
	} else if !ok || e.data != fmt.Sprintf(`{"seq":%s}`, e.id) {
		c.t.Errorf("%+v", e)
	}
	if before(c.next, next) {
		c.next = next
	}
	if e.id != "" {
		id, _ := query.ParsePosition(e.id)
		if id.Seq < c.id {
			c.t.Errorf("the id goes back from %d to %d", c.id, id.Seq)
		}
		c.reach(id.Seq, false)
	}
	return true
}

func (c *consumer) apply(change told) {
	c.got = append(c.got, change)
	if change.Op == "revoked" {
		delete(c.state, change.id)
	} else {
		c.state[change.id] = string(change.Assignment)
	}
}

// before reports whether a position comes before another.
func before(a, b query.Position) bool {
	inside := func(p query.Position) uint64 { return uint64(p.N) - 1 } // behind all of it comes last
	return a.Seq < b.Seq || a.Seq == b.Seq && inside(a) < inside(b)
}
