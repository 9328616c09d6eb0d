package indexer_test

import (
	"math/rand/v2"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// randomMessages makes the first messages of a generator, as a stream holds them.
func randomMessages(seed uint64, count int) []events.Message {
	g := modeltest.NewGenerator(seed)
	messages := make([]events.Message, count)
	for i := range messages {
		messages[i] = g.Next()
		messages[i].Subject = natsMessage(messages[i]).Subject
	}
	return messages
}

// Whatever the batches, stops, restarts and lost connections, the same stream
// ends in the same index, which is the model's; so it is at every sequence
// before.
func TestRunsEndInTheSameIndex(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	s := newSource(t)
	messages := randomMessages(seed, 1200)
	s.publish(messages[:700]...)
	last := uint64(len(messages))
	erased := make(map[uint64]bool)
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		seq := 2 + rng.Uint64N(698) // the first one would be a trimmed stream
		if erased[seq] {
			continue
		}
		erased[seq] = true
		if err := st.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}

	// The others read the rest of the stream while it is published.
	lives := []*life{
		{node: s.node(), batch: 1000},
		{node: s.node(), batch: 1},
		{node: s.node(), batch: 7, stops: 12},
		{node: s.node(), batch: 90, stops: 12, reopens: true},
		{node: s.node(), batch: 20, stops: 4, reopens: true, restarts: true},
	}
	for i, l := range lives {
		l.rng = rand.New(rand.NewPCG(seed, uint64(i)))
		l.live(700)
	}
	s.publish(messages[700:]...)
	for _, l := range lives {
		l.live(last)
	}

	model := modeltest.New()
	then := map[uint64]*modeltest.Model{}
	for i, m := range messages {
		seq := uint64(i + 1)
		if !erased[seq] {
			model.Apply(modeltest.Moment{Seq: seq}, m)
		}
		if seq%97 == 0 || seq == last {
			then[seq] = model.Clone()
		}
	}
	for seq, m := range then {
		want := lives[0].digest(seq)
		for i, l := range lives {
			l.says(seq, m)
			if got := l.digest(seq); got != want {
				t.Errorf("-seed %d: at %d run %d has the digest %s, the straight run has %s", seed, seq, i, got, want)
			}
		}
	}
}

// life is how an index came to apply a stream.
type life struct {
	*node
	rng      *rand.Rand
	batch    int  // the most events in a batch
	stops    int  // how often the run is stopped on the way
	reopens  bool // a stop closes the store, too
	restarts bool // and the server is restarted during the run
}

// live applies the stream up to a sequence.
func (l *life) live(last uint64) {
	l.Helper()
	for range l.stops {
		if at := l.store.Applied().Seq; at < last {
			l.start(indexer.Options{BatchEvents: 1 + l.rng.IntN(l.batch)})
			if l.restarts {
				l.wait(at + l.rng.Uint64N(last-at))
				streamtest.Restart(l.T, l.source.server)
			}
			l.wait(at + l.rng.Uint64N(min(200, last-at)))
			l.stop()
			if l.reopens {
				l.close()
				l.open()
			}
		}
	}
	l.start(indexer.Options{BatchEvents: l.batch})
	l.wait(last)
	l.stop()
}
