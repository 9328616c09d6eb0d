package containertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events/publisher"
)

// change is what one event does to the model.
type change struct {
	kind string // of event
	row  row
}

func (c change) apply(live map[row]bool) {
	switch c.kind {
	case "assignment.upserted":
		live[c.row] = true
	case "assignment.revoked":
		delete(live, c.row)
	case "user.deleted":
		for r := range live {
			if r.UsrID == c.row.UsrID {
				delete(live, r)
			}
		}
	}
}

// source publishes events until it is told to stop, and knows what was acknowledged.
type source struct {
	js   jetstream.JetStream
	pub  *publisher.Publisher
	rng  *rand.Rand // of the goroutine that publishes
	stop context.CancelFunc
	done chan struct{} // closed when nothing is published any more
	err  error         // read after done

	mu      sync.Mutex // guards what follows
	changes []change   // by the number in the event's id
	acked   map[int]bool
	lastSeq uint64
	unknown int // batches of which it is not known whether they were stored
	moved   chan struct{}
}

func (c *natsCluster) publish(t *testing.T, seed uint64) *source {
	t.Helper()
	nc := c.dial(t, publisher.ConnectOptions()...)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := publisher.New(t.Context(), nc, publisher.Options{AckTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s := &source{
		js: js, pub: pub, rng: rand.New(rand.NewPCG(seed, 1)), stop: stop, done: make(chan struct{}),
		acked: make(map[int]bool), moved: make(chan struct{}),
	}
	go s.run(ctx)
	t.Cleanup(func() {
		stop()
		<-s.done
	})
	return s
}

func (s *source) run(ctx context.Context) {
	defer close(s.done)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for s.err == nil {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
			// Not with ctx: what was begun is to have an outcome.
			s.err = s.batch(context.WithoutCancel(ctx))
		}
	}
}

// batch publishes some events together.
func (s *source) batch(ctx context.Context) error {
	s.mu.Lock()
	first := len(s.changes)
	var msgs []publisher.Message
	for range 1 + s.rng.IntN(20) {
		c := change{"assignment.upserted", row{users[s.rng.IntN(len(users))], fmt.Sprintf("ent-%02d", s.rng.IntN(entitlements))}}
		switch dice := s.rng.IntN(100); {
		case dice < 2:
			c = change{"user.deleted", row{UsrID: c.row.UsrID}}
		case dice < 40:
			c.kind = "assignment.revoked"
		}
		m, err := c.message(len(s.changes))
		if err != nil {
			s.mu.Unlock()
			return err
		}
		s.changes = append(s.changes, c)
		msgs = append(msgs, m)
	}
	s.mu.Unlock()
	ack, err := s.pub.Publish(ctx, msgs...)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ack.Count {
		s.acked[first+i] = true
	}
	s.lastSeq = max(s.lastSeq, ack.LastSeq)
	close(s.moved)
	s.moved = make(chan struct{})
	if errors.Is(err, publisher.ErrUnknownOutcome) { // the end of the test finds out
		s.unknown++
		return nil
	}
	return err
}

func (c change) message(number int) (publisher.Message, error) {
	data := map[string]any{"usr_id": c.row.UsrID}
	if c.row.EntID != "" {
		data["ent_id"] = c.row.EntID
	}
	text, err := json.Marshal(map[string]any{
		"specversion": "1.0", "source": "chaos", "id": strconv.Itoa(number), "type": c.kind, "data": data,
	})
	if err != nil {
		return publisher.Message{}, err
	}
	return publisher.NewEvent(text)
}

// ahead waits until so many more events are acknowledged, and gives the last sequence.
func (s *source) ahead(t *testing.T, more int) uint64 {
	t.Helper()
	limit := time.After(2 * patience)
	want := -1
	for {
		s.mu.Lock()
		have, last, moved := len(s.acked), s.lastSeq, s.moved
		s.mu.Unlock()
		if want < 0 {
			want = have + more
		}
		if have >= want {
			return last
		}
		select {
		case <-moved:
		case <-s.done:
			t.Fatalf("publishing ended: %v", s.err)
		case <-limit:
			t.Fatalf("publishing stands still at %d acknowledged events", have)
		}
	}
}

// end stops publishing, and checks that every acknowledged event is in the stream
// once. It gives what each sequence did.
func (s *source) end(t *testing.T) (bySeq []change) {
	t.Helper()
	s.stop()
	<-s.done
	if s.err != nil {
		t.Fatalf("publish: %v", s.err)
	}
	if err := s.pub.Close(); err != nil {
		t.Errorf("close the publisher: %v", err)
	}
	stored := make(map[int]int)
	for _, number := range s.stored(t) {
		stored[number]++
		bySeq = append(bySeq, s.changes[number])
	}
	for number := range s.changes {
		switch n := stored[number]; {
		case n > 1:
			t.Errorf("event %d is in the stream %d times", number, n)
		case n == 0 && s.acked[number]:
			t.Errorf("event %d was acknowledged and is not in the stream", number)
		}
	}
	t.Logf("published %d events, %d acknowledged, %d batches of unknown outcome, %d in the stream", len(s.changes), len(s.acked), s.unknown, len(bySeq))
	return bySeq
}

// stored reads the stream, and gives the number of the event at each sequence.
func (s *source) stored(t *testing.T) (numbers []int) {
	t.Helper()
	waitUntil(t, "the stream is read", func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, patience/4)
		defer cancel()
		numbers, err = readNumbers(ctx, s.js)
		return err
	})
	return numbers
}

func readNumbers(ctx context.Context, js jetstream.JetStream) (numbers []int, err error) {
	s, err := js.Stream(ctx, streamName)
	if err != nil {
		return nil, err
	}
	last := int(s.CachedInfo().State.LastSeq)
	consumer, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	if err != nil {
		return nil, err
	}
	for len(numbers) < last {
		batch, err := consumer.Fetch(1000, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return nil, err
		}
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			var event struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(m.Data(), &event); err != nil {
				return nil, err
			}
			number, err := strconv.Atoi(event.ID)
			if err != nil || int(meta.Sequence.Stream) != len(numbers)+1 {
				return nil, fmt.Errorf("sequence %d after %d holds %s: %w", meta.Sequence.Stream, len(numbers), m.Data(), err)
			}
			numbers = append(numbers, number)
		}
		// The server may not know yet of a consumer that another one has.
		if err := batch.Error(); ctx.Err() != nil || (err != nil && !errors.Is(err, nats.ErrNoResponders)) {
			return nil, errors.Join(err, ctx.Err())
		}
	}
	return numbers, nil
}
