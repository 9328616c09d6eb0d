package store_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")
	roundsFlag = flag.Int("rounds", 0, "rounds of each random test; 0: two, and one with -short")
)

// eachSeed runs a random test for each round's seed. A failed round is repeated
// with -seed and the seed in its name.
func eachSeed(t *testing.T, test func(t *testing.T, seed uint64)) {
	t.Helper()
	first := *seedFlag
	if first == 0 {
		first = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	rounds := *roundsFlag
	if rounds == 0 {
		rounds = 2
		if testing.Short() {
			rounds = 1
		}
	}
	for round := range rounds {
		seed := first + uint64(round)
		t.Logf("round %d: -seed %d -rounds 1", round, seed)
		test(t, seed)
		if t.Failed() {
			t.Fatalf("failed with -seed %d -rounds 1", seed)
		}
	}
}

// message is one of a stream: its sequence is its place, from 1 on.
type message struct {
	events.Message
	at modeltest.Moment
}

// makeStream makes the first n messages of a generator's stream.
func makeStream(g *modeltest.Generator, rng *rand.Rand, n int) []message {
	nano := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).UnixNano()
	all := make([]message, n)
	for i := range all {
		nano += rng.Int64N(int64(300 * time.Millisecond))
		all[i] = message{g.Next(), modeltest.Moment{Seq: uint64(i + 1), Nano: nano}}
	}
	return all
}

// index is a store under test with the directory it lies in.
type index struct {
	t   *testing.T
	dir string
	*store.Store
}

func openIndex(t *testing.T, dir string) *index {
	t.Helper()
	x := &index{t: t, dir: dir}
	x.start()
	t.Cleanup(func() {
		if x.Store != nil {
			x.close()
		}
	})
	return x
}

func (x *index) start() {
	x.t.Helper()
	st, err := store.Open(store.Options{Dir: x.dir, Logger: zerolog.Nop()})
	if err != nil {
		x.t.Fatal(err)
	}
	x.Store = st
}

func (x *index) close() {
	x.t.Helper()
	if err := x.Close(); err != nil {
		x.t.Fatalf("close: %v", err)
	}
	x.Store = nil
}

func (x *index) reopen() {
	x.t.Helper()
	x.close()
	x.start()
}

// watermark is what a commit of messages up to m says.
func watermark(m message) store.Watermark {
	return store.Watermark{
		Seq: m.at.Seq, Nano: m.at.Nano, Fingerprint: binary.BigEndian.AppendUint64(nil, m.at.Seq*31),
		Stream: position.Identity{Name: "S", Created: time.Unix(1, 0).UTC(), Incarnation: "i"},
	}
}

// sink is where the fold writes: a batch, or what spoils one.
type sink interface {
	fold.State
	fold.Writer
	At(seq uint64)
}

// apply folds one message as the indexer does, and says what it did.
func apply(t *testing.T, into sink, m message) modeltest.Outcome {
	t.Helper()
	into.At(m.at.Seq)
	ev, err := events.Decode(m.Message)
	if err != nil {
		var rej *events.Rejection
		if !errors.As(err, &rej) {
			t.Fatal(err)
		}
		q := rows.Quarantined{Subject: m.Subject, Tenant: ev.Tenant, Code: rej.Code, Reason: rej.Problem}
		value, err := q.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := into.Put(keys.Quarantine(m.at.Seq), value); err != nil {
			t.Fatal(err)
		}
		return modeltest.Quarantined
	}
	c := &checked{sink: into, t: t, written: map[string]bool{}}
	outcome, err := fold.Apply(&ev, rows.Moment{Seq: m.at.Seq, Nano: m.at.Nano}, c, c)
	if err != nil {
		t.Fatalf("fold sequence %d: %v", m.at.Seq, err)
	}
	if wrote := len(c.written) > 0; wrote != (outcome == fold.Changed) {
		t.Fatalf("sequence %d: outcome %s, but %d keys were written", m.at.Seq, outcome, len(c.written))
	}
	return modeltest.Outcome(outcome.String())
}

// checked holds the fold to its word: within one event no key is written twice,
// none is read after it was written, and none is written to what it was.
type checked struct {
	sink
	t       *testing.T
	written map[string]bool
}

func (c *checked) Get(key []byte) ([]byte, error) {
	if c.written[string(key)] {
		c.t.Fatalf("key %q is read after it was written", key)
	}
	return c.sink.Get(key)
}

func (c *checked) Put(key, value []byte) error {
	c.once(key)
	return c.sink.Put(key, value)
}

func (c *checked) Delete(key []byte) error {
	if keys.Tag(key[0]) == keys.ByAppAndEnt {
		// A batch does not read this family. Its entries go with those of the family
		// by application, and audit.Agree finds one that has no twin there.
		_, id, err := keys.ParseRow(key)
		if err != nil || !c.written[string(id.Make(keys.ByApp))] {
			c.t.Fatalf("key %q is deleted without its twin, %v", key, err)
		}
	} else if old, err := c.sink.Get(key); err != nil || old == nil {
		c.t.Fatalf("key %q is deleted and is not there, %v", key, err)
	}
	c.once(key)
	return c.sink.Delete(key)
}

func (c *checked) once(key []byte) {
	if c.written[string(key)] {
		c.t.Fatalf("key %q is written twice", key)
	}
	c.written[string(key)] = true
}
