package publisher

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// dropFirst loses the first n acknowledgements of stored messages.
func dropFirst(n int) func(*nats.Msg) bool {
	return func(m *nats.Msg) bool {
		if n > 0 && strings.Contains(string(m.Data), `"seq"`) && !strings.Contains(string(m.Data), `"error"`) {
			n--
			return true
		}
		return false
	}
}

// A grant whose acknowledgement is lost, and then its revocation: the grant must
// not come back.
func TestLostAcknowledgementNeitherDoublesNorRevives(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		for _, own := range []string{"", "with ids of their own"} {
			nc := connect(t, startServer(t).url())
			addStream(t, nc, change)
			ctx, p := testContext(t), newImpatient(t, nc, Options{}, 100*time.Millisecond)
			grants, revocations := recordsFrom(t, 0, 20), recordsFrom(t, 0, 20)
			for i := range grants {
				m, err := NewRecord(events.AssignmentRevoked, assignment(i))
				if err != nil {
					t.Fatal(err)
				}
				revocations[i] = m
				if own != "" {
					grants[i] = cloudEvent(t, fmt.Sprint("grant", i), events.AssignmentUpserted, i)
					revocations[i] = cloudEvent(t, fmt.Sprint("revocation", i), events.AssignmentRevoked, i)
				}
			}
			p.dropAck = dropFirst(3)
			for _, batch := range [][]Message{grants, revocations} {
				if ack, err := p.Publish(ctx, batch...); err != nil || ack.Count != len(batch) {
					t.Fatalf("%s: %+v, %v", own, ack, err)
				}
			}
			mustEqual(t, stored(t, nc), append(bodies(grants), bodies(revocations)...))
		}
	})
}

// startProxy runs a proxy that cuts connections by a plan.
func startProxy(t testing.TB, target, trigger string, plan ...streamtest.Cut) *streamtest.Proxy {
	t.Helper()
	p := streamtest.NewProxy(t, target)
	p.CutAt(trigger, plan...)
	return p
}

func TestConnectionCutAroundTheCommit(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string][]streamtest.Cut{
		"before the server has it":    {streamtest.CutBefore},
		"before the client knows":     {streamtest.CutAfter},
		"first before, then after":    {streamtest.CutBefore, streamtest.CutAfter},
		"several times, both batches": {streamtest.CutBefore, streamtest.CutBefore, streamtest.CutAfter, streamtest.CutNever, streamtest.CutAfter},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t)
			proxy := startProxy(t, srv.url(), headerBatchCommit, plan...)
			nc := connect(t, proxy.URL())
			addStream(t, nc)
			msgs := recordsFrom(t, 0, 20)
			// Only the loss of the connection can end the wait for an answer in time.
			p := newPublisher(t, nc, Options{BatchMessages: 10, AckTimeout: time.Minute})
			ack, err := p.Publish(testContext(t), msgs...)
			if err != nil || ack != (Ack{LastSeq: 20, Count: 20}) || proxy.Left() != 0 {
				t.Errorf("Publish: %+v, %v; %d cuts left", ack, err, proxy.Left())
			}
			mustEqual(t, stored(t, connect(t, srv.url())), bodies(msgs))
		})
	}
}

func TestConnectionCutOneByOne(t *testing.T) {
	srv := startServer(t)
	proxy := startProxy(t, srv.url(), headerMsgID, streamtest.CutAfter, streamtest.CutBefore, streamtest.CutNever, streamtest.CutAfter)
	nc := connect(t, proxy.URL())
	addStream(t, nc, single)
	msgs := recordsFrom(t, 0, 5)
	ack, err := newPublisher(t, nc, Options{}).Publish(testContext(t), msgs...)
	if err != nil || ack != (Ack{LastSeq: 5, Count: 5}) || proxy.Left() != 0 {
		t.Errorf("Publish: %+v, %v; %d cuts left", ack, err, proxy.Left())
	}
	mustEqual(t, stored(t, connect(t, srv.url())), bodies(msgs))
}

func TestServerRestartedInTheMiddle(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	nc := connect(t, srv.url())
	addStream(t, nc)
	ctx, p := testContext(t), newPublisher(t, nc, Options{BatchMessages: 50, AckTimeout: time.Second})
	w, msgs := p.NewWriter(), recordsFrom(t, 0, 3000)
	const restarts = 3
	done := make(chan struct{})
	kick := make(chan struct{}, restarts)
	go func() {
		defer close(done)
		for range kick {
			srv.stop()
			srv.start()
		}
	}()
	for i, m := range msgs {
		if i > 0 && i%(len(msgs)/(restarts+1)) == 0 && len(kick) < restarts {
			kick <- struct{}{} // while the writer goes on
		}
		if err := w.Add(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	close(kick)
	last, err := w.Flush(ctx)
	<-done
	if err != nil || last != uint64(len(msgs)) || w.Acked().Count != len(msgs) {
		t.Fatalf("Flush: %d, %v; acknowledged %+v", last, err, w.Acked())
	}
	mustEqual(t, stored(t, connect(t, srv.url())), bodies(msgs))
}

// Every acknowledgement is lost until half of the window is over.
func TestWindowPassed(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		t.Parallel()
		nc := connect(t, startServer(t).url())
		const window = 2 * time.Second
		addStream(t, nc, change, func(c *jetstream.StreamConfig) { c.Duplicates = window })
		p := newImpatient(t, nc, Options{}, 50*time.Millisecond)
		var start, last time.Time
		p.dropAck = func(m *nats.Msg) bool {
			last = time.Now()
			return len(m.Data) > 0 // not the answer to the first message of a batch
		}
		ctx, w, msgs := testContext(t), p.NewWriter(), recordsFrom(t, 0, 10)
		for _, m := range msgs {
			if err := w.Add(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		start = time.Now()
		_, err := w.Flush(ctx)
		if !errors.Is(err, ErrUnknownOutcome) || w.Acked() != (Ack{}) || w.Held() != 10 {
			t.Fatalf("Flush: %v; acknowledged %+v, held %d", err, w.Acked(), w.Held())
		}
		if last.Sub(start) >= window {
			t.Errorf("an attempt was answered %v after the first", last.Sub(start))
		}
		p.dropAck = nil
		if _, again := w.Flush(ctx); !errors.Is(again, ErrUnknownOutcome) {
			t.Errorf("a second Flush: %v", again)
		}
		if again := w.Add(ctx, msgs[0]); !errors.Is(again, ErrUnknownOutcome) {
			t.Errorf("Add afterwards: %v", again)
		}
		want := bodies(msgs)
		if !p.batches {
			want = want[:1]
		}
		mustEqual(t, stored(t, nc), want)
		// Others can still publish.
		if ack, err := p.Publish(ctx, record(t, 99)); err != nil || ack.LastSeq != uint64(len(want)+1) {
			t.Errorf("Publish afterwards: %+v, %v", ack, err)
		}
	})
}

// A batch in doubt is published one by one, and that takes so long that the stream
// could forget the rest of it.
func TestWindowPassesOneByOne(t *testing.T) {
	t.Parallel()
	nc := connect(t, startServer(t).url())
	addStream(t, nc, func(c *jetstream.StreamConfig) { c.Duplicates = 2 * time.Second })
	p := newPublisher(t, nc, Options{})
	p.js = replicated{p.js}
	commits := 0
	p.dropAck = func(m *nats.Msg) bool {
		switch {
		case strings.Contains(string(m.Data), `"batch"`):
			commits++
			return commits == 1
		case strings.Contains(string(m.Data), `"duplicate"`):
			<-time.After(p.stream.retryFor) // a slow server
		}
		return false
	}
	ack, err := p.Publish(testContext(t), recordsFrom(t, 0, 5)...)
	if !errors.Is(err, ErrUnknownOutcome) || ack != (Ack{LastSeq: 1, Count: 1}) || commits != 1 {
		t.Errorf("Publish: %+v, %v; %d commits", ack, err, commits)
	}
	if n := len(stored(t, nc)); n != 5 {
		t.Errorf("%d messages are stored, want 5", n)
	}
}

// The server stays away for longer than retries may take, but nothing was sent:
// that is known, and said.
func TestServerGone(t *testing.T) {
	srv := startServer(t)
	nc := connect(t, srv.url())
	addStream(t, nc)
	p := newPublisher(t, nc, Options{RetryFor: 200 * time.Millisecond})
	down := nc.StatusChanged(nats.RECONNECTING)
	defer nc.RemoveStatusListener(down)
	srv.stop()
	<-down
	ctx, w := testContext(t), p.NewWriter()
	if err := w.Add(ctx, record(t, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Flush(ctx); err == nil || errors.Is(err, ErrUnknownOutcome) {
		t.Fatalf("Flush: %v", err)
	}
	srv.start()
	p.opts.RetryFor, p.stream.retryFor = 0, time.Minute
	if last, err := w.Flush(ctx); err != nil || last != 1 {
		t.Fatalf("Flush with the server back: %d, %v", last, err)
	}
	nc.Close()
	if _, err := p.Publish(ctx, record(t, 0)); !errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a closed connection: %v", err)
	}
}

func TestContextEndsInFlight(t *testing.T) {
	nc := connect(t, startServer(t).url())
	addStream(t, nc)
	p := newPublisher(t, nc, Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	p.dropAck = func(m *nats.Msg) bool {
		if len(m.Data) > 0 { // not the answer to the first message of a batch
			cancel()
			return true
		}
		return false
	}
	ack, err := p.Publish(ctx, recordsFrom(t, 0, 10)...)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnknownOutcome) || ack != (Ack{}) {
		t.Errorf("Publish: %+v, %v", ack, err)
	}
	p.dropAck = nil
	// Late answers are not taken for those of the next call.
	if ack, err := p.Publish(testContext(t), recordsFrom(t, 10, 10)...); err != nil || ack != (Ack{LastSeq: 20, Count: 10}) {
		t.Errorf("the next Publish: %+v, %v", ack, err)
	}
}

// Random rows of events with repeated ids, cut into random batches, with random
// acknowledgements lost and connections cut: the stream holds the first of each id,
// in order.
func TestRandomLosses(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	srv := startServer(t)
	for round := range 3 {
		plan := make([]streamtest.Cut, 200)
		for i := range plan {
			plan[i] = [...]streamtest.Cut{5: streamtest.CutBefore, 6: streamtest.CutAfter, 30: streamtest.CutNever}[r.IntN(31)]
		}
		nc := connect(t, startProxy(t, srv.url(), headerMsgID, plan...).URL())
		stream := addStream(t, nc, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = round%3 != 2 })
		p := newImpatient(t, nc, Options{BatchMessages: 1 + r.IntN(40)}, 20*time.Millisecond)
		p.dropAck = func(*nats.Msg) bool { return r.IntN(40) == 0 }
		ctx, w := testContext(t), p.NewWriter()
		var want []string
		seen := map[string]bool{}
		const total = 150
		for i := range total {
			m := record(t, i)
			if r.IntN(2) == 0 {
				id := fmt.Sprint(r.IntN(80))
				m = cloudEvent(t, id, events.AssignmentUpserted, i)
				if !seen[id] {
					want = append(want, string(m.body))
				}
				seen[id] = true
			} else {
				want = append(want, string(m.body))
			}
			if err := w.Add(ctx, m); err != nil {
				t.Fatal(err)
			}
			if r.IntN(30) == 0 {
				if _, err := w.Flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		last, err := w.Flush(ctx)
		if err != nil || w.Acked().Count != total || last != uint64(len(want)) {
			t.Fatalf("Flush: %d, %v; acknowledged %+v", last, err, w.Acked())
		}
		mustEqual(t, stored(t, connect(t, srv.url())), want)
		if err := p.js.DeleteStream(ctx, stream.CachedInfo().Config.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that never answers within AckTimeout must not be asked in vain.
func TestServerSlowerThanAckTimeout(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, change func(*jetstream.StreamConfig)) {
		nc := connect(t, startServer(t).url())
		addStream(t, nc, change)
		// No answer takes less time than this.
		p := newImpatient(t, nc, Options{}, 20*time.Microsecond)
		msgs := recordsFrom(t, 0, 20)
		if ack, err := p.Publish(testContext(t), msgs...); err != nil || ack.Count != len(msgs) {
			t.Fatalf("Publish: %+v, %v", ack, err)
		}
		mustEqual(t, stored(t, nc), bodies(msgs))
	})
}
