package indexer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// build builds an index of the source's stream, in o.Dir or in a directory of its own,
// and gives it opened as a node.
func (s *source) build(o indexer.BuildOptions) (*node, position.Position) {
	s.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(s.TempDir(), "index")
	}
	o.Logger = zerolog.Nop()
	ctx, cancel := context.WithTimeout(s.Context(), bounded)
	defer cancel()
	at, err := indexer.Build(ctx, stream.NewReader(s.nc, s.js, streamName, zerolog.Nop()), o)
	if err != nil {
		s.Fatalf("%+v: %v", o, err)
	}
	return s.nodeIn(s.T, o.Dir), at
}

// erase erases messages of the stream.
func (s *source) erase(seqs ...uint64) {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err != nil {
		s.Fatal(err)
	}
	for _, seq := range seqs {
		if err := st.DeleteMsg(s.Context(), seq); err != nil {
			s.Fatal(err)
		}
	}
}

// contents gives every row that a store holds at a sequence but those that hold the
// present only, and the log below the floor.
func contents(t *testing.T, st *store.Store, seq, floor uint64) map[string]string {
	t.Helper()
	view, err := st.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	all := map[string]string{}
	for _, family := range slices.Concat(keys.RowFamilies, []keys.Tag{keys.EntityTag, keys.GuardTag, keys.QuarantineTag, keys.AttributeTag, keys.ChangeTag}) {
		err := view.Range([]byte{byte(family)}, nil, func(key, value []byte) bool {
			if family == keys.ChangeTag {
				if _, c, err := keys.ParseChange(key); err != nil || c.Seq <= floor {
					return err == nil
				}
			}
			all[string(key)] = string(value)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// presents gives the counters of a store.
func presents(t *testing.T, st *store.Store) map[string]string {
	t.Helper()
	view, err := st.View(st.Applied().Seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	all := map[string]string{}
	if err := view.Range([]byte{byte(keys.CounterTag)}, nil, func(key, value []byte) bool {
		all[string(key)] = string(value)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// digestOf gives the digest at a sequence, unchecked.
func digestOf(t *testing.T, st *store.Store, seq uint64) string {
	t.Helper()
	view, err := st.View(seq)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	digest, _, err := audit.Digest(view)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func sameContents(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if g, there := got[key]; !there || g != value {
			t.Fatalf("%s: %q is %q (%v), want %q", what, key, g, there, value)
		}
	}
	for key := range got {
		if _, there := want[key]; !there {
			t.Fatalf("%s: %q is there", what, key)
		}
	}
}

// sound checks that what an index holds at a sequence agrees with itself.
func (n *node) sound(seq uint64) {
	n.Helper()
	view, err := n.store.View(seq)
	if err != nil {
		n.Fatal(err)
	}
	defer view.Close()
	for _, check := range []func() (audit.Check, error){
		func() (audit.Check, error) { return audit.Families(view, 5) },
		func() (audit.Check, error) { return audit.Records(view, 5) },
		func() (audit.Check, error) { return audit.Changes(view, 5) },
	} {
		if c, err := check(); err != nil || c.Differences > 0 {
			n.Fatalf("at %d: %+v, %v", seq, c, err)
		}
	}
}

// saysAs compares a built index with one that an Indexer made of the same stream.
// digests are the latter's at every sequence.
func (n *node) saysAs(live *node, digests []string, rng *rand.Rand, stamps []int64) {
	n.Helper()
	floor, last := n.store.Floor(), n.store.Applied().Seq
	for seq := floor; seq <= last; seq++ {
		if got := digestOf(n.T, n.store, seq); got != digests[seq] {
			n.Fatalf("at %d: the digest is %s, want %s", seq, got, digests[seq])
		}
		if rng.IntN(50) == 0 || seq == floor || seq == last {
			sameContents(n.T, fmt.Sprintf("at %d of %d to %d", seq, floor, last), contents(n.T, n.store, seq, floor), contents(n.T, live.store, seq, floor))
		}
	}
	n.sound(last)
	n.sound(floor + rng.Uint64N(last-floor+1))
	if err := n.store.CheckCounters(); err != nil {
		n.Fatal(err)
	}
	if floor > 0 {
		if _, err := n.store.View(floor - 1); !errors.Is(err, listing.ErrPruned) {
			n.Fatalf("below the floor: %v", err)
		}
	}
	if rung, ok, err := n.store.RungAt(floor); err != nil || (floor >= 1000 && (!ok || rung.Seq > floor)) {
		n.Fatalf("the rung at the floor %d is %+v, %v, %v", floor, rung, ok, err)
	}
	for _, stamp := range stamps {
		for _, nano := range []int64{stamp - 1, stamp, stamp + 1} {
			want, _, err := live.store.SequenceAt(nano)
			if err != nil {
				n.Fatal(err)
			}
			got, latest, err := n.store.SequenceAt(nano)
			switch {
			case want < floor:
				if !errors.Is(err, listing.ErrPruned) {
					n.Fatalf("the instant of %d below %d is of %d, %v", want, floor, got, err)
				}
			case err != nil || got != min(want, last) || latest != (want >= last):
				n.Fatalf("the instant of %d is of %d, %v, %v; the last is %d", want, got, latest, err, last)
			}
		}
	}
}

// Whatever the memory, the floor and the last sequence, an index that is built says at
// every sequence from the floor on what one says that applied the stream, and can go
// on as that does.
func TestBuildIsTheSameFold(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	s := newSource(t)
	last := s.publish(randomMessages(seed, 700)...)
	erased := map[uint64]bool{last: true, last - 1: true}
	for range 20 {
		erased[2+rng.Uint64N(last-2)] = true
	}
	for seq := range erased {
		s.erase(seq)
	}
	live := s.node()
	live.start(indexer.Options{BatchEvents: 90})
	live.wait(last)
	live.stop()
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for seq := range last + 1 {
		digests = append(digests, digestOf(t, live.store, seq))
	}
	var stamps []int64
	for range 60 {
		if seq := 1 + rng.Uint64N(last); !erased[seq] {
			m, err := st.GetMsg(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			stamps = append(stamps, m.Time.UnixNano())
		}
	}
	some := func() uint64 { return 1 + rng.Uint64N(last) }
	for _, o := range []indexer.BuildOptions{
		{},
		{Memory: 1, Floor: last},
		{Memory: 1},
		{Memory: 1 << 16, Floor: some()},
		{Memory: 1 << 18, Floor: some(), UpTo: some()},
		{Memory: 1, Floor: some(), UpTo: some()},
		{Memory: 1 << 14, UpTo: last - 1},
		{Memory: 1 << 20, Floor: last - 300},
	} {
		t.Run(fmt.Sprintf("memory %d floor %d up to %d", o.Memory, o.Floor, o.UpTo), func(t *testing.T) {
			want := last
			if o.UpTo > 0 {
				want = o.UpTo
			}
			n, at := s.on(t).build(o)
			if got := n.store.Applied(); got.Seq != want || at.Seq != want || n.store.Floor() != min(o.Floor, want) {
				t.Fatalf("built up to %+v, %+v; the floor is %d", got, at, n.store.Floor())
			}
			if got, want := n.store.Applied(), live.store.Applied(); at.Seq == last {
				if got.Nano != want.Nano || got.Peak != want.Peak || !bytes.Equal(got.Fingerprint, want.Fingerprint) || got.Stream != want.Stream {
					t.Fatalf("the watermark is %+v, want %+v", got, want)
				}
				sameContents(t, "counters", presents(t, n.store), presents(t, live.store))
			}
			n.saysAs(live, digests, rng, stamps)

			// It goes on as any other.
			n.start(indexer.Options{})
			n.wait(last)
			n.stop()
			n.close()
			n.open()
			n.saysAs(live, digests, rng, stamps)
		})
	}
}

// buildFails builds and gives the error; what it left is no index.
func (s *source) buildFails(ctx context.Context, o indexer.BuildOptions) error {
	s.Helper()
	o.Dir = filepath.Join(s.TempDir(), "index")
	_, err := indexer.Build(ctx, stream.NewReader(s.nc, s.js, streamName, zerolog.Nop()), o)
	if err == nil {
		s.Fatalf("%+v: it was built", o)
	}
	s.isNone(o.Dir)
	return err
}

// isNone makes sure that a directory is not taken for an index, which is there.
func (s *source) isNone(dir string) {
	s.Helper()
	if st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()}); !errors.Is(err, store.ErrFormat) {
		if err == nil {
			err = st.Close()
		}
		s.Fatalf("%s is taken for an index: %v", dir, err)
	}
}

func TestBuildOfStreamsThatAreShort(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	n, at := s.build(indexer.BuildOptions{Floor: 7})
	if got := n.store.Applied(); at.Seq != 0 || got.Seq != 0 || got.Stream.Name != streamName || n.store.Floor() != 0 {
		t.Fatalf("of nothing: %+v, %+v", at, got)
	}
	last := s.publish(say(events.UserUpserted, `{"usr_id":"u"}`), say(events.UserUpserted, `{"usr_id":"v"}`))
	n.start(indexer.Options{})
	n.wait(last)
	n.stop()
	if err := s.buildFails(t.Context(), indexer.BuildOptions{UpTo: last + 1}); !errors.Is(err, indexer.ErrStreamEnds) {
		t.Fatalf("past the end: %v", err)
	}
	if n, at := s.build(indexer.BuildOptions{UpTo: 1}); at.Seq != 1 || n.store.Applied().Seq != 1 {
		t.Fatalf("up to 1: %+v", at)
	}

	// All that there was is erased, and then the first ones are gone.
	s.erase(last)
	if _, at := s.build(indexer.BuildOptions{}); at.Seq != last || at.Fingerprint != nil {
		t.Fatalf("erased: %+v", at)
	}
	s.publish(say(events.UserUpserted, `{"usr_id":"w"}`))
	s.erase(1)
	if err := s.buildFails2(indexer.BuildOptions{}); !errors.Is(err, stream.ErrTrimmed) {
		t.Fatalf("trimmed: %v", err)
	}
	if n, at := s.build(indexer.BuildOptions{AcceptTrimmed: true}); at.Seq != 3 || n.store.Applied().Seq != 3 {
		t.Fatalf("trimmed, accepted: %+v", at)
	}
	if err := s.buildFails2(indexer.BuildOptions{AcceptTrimmed: true, UpTo: 1}); !errors.Is(err, stream.ErrTrimmed) {
		t.Fatalf("up to what is trimmed: %v", err)
	}
}

// buildFails2 is buildFails for what fails before there is a directory.
func (s *source) buildFails2(o indexer.BuildOptions) error {
	s.Helper()
	o.Dir = filepath.Join(s.TempDir(), "index")
	_, err := indexer.Build(s.Context(), stream.NewReader(s.nc, s.js, streamName, zerolog.Nop()), o)
	return err
}

// An index that stands in for another one takes over its incarnation, if it is of the
// same stream.
func TestBuildTakesOverTheIncarnation(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.publish(say(events.UserUpserted, `{"usr_id":"u"}`))
	_, at := s.build(indexer.BuildOptions{})
	id := at.Stream
	id.Incarnation, id.Partings = "another", 3
	if n, got := s.build(indexer.BuildOptions{Identity: &id}); got.Stream != id || n.store.Applied().Stream != id {
		t.Fatalf("%+v, want %+v", got.Stream, id)
	}
	id.Created = id.Created.Add(time.Second)
	if _, got := s.build(indexer.BuildOptions{Identity: &id}); got.Stream != at.Stream {
		t.Fatalf("%+v, want %+v", got.Stream, at.Stream)
	}
}

// longer is a stream that was seen to hold more than it does.
type longer struct {
	*stream.Reader
	seq uint64
}

func (l longer) Head() stream.Head {
	head := l.Reader.Head()
	head.Seq = l.seq
	return head
}

// A stream that is another one meanwhile ends the build.
func TestBuildOfAStreamThatParts(t *testing.T) {
	t.Parallel()
	seed, _ := random(t)
	s := newSource(t)
	last := s.publish(randomMessages(seed, 100)...)
	recreated := false
	o := indexer.BuildOptions{Dir: filepath.Join(t.TempDir(), "index"), UpTo: last + 1, Logger: zerolog.Nop()}
	o.Progress = func(p indexer.BuildProgress) {
		if p.Applied < last || recreated {
			return
		}
		recreated = true
		if err := s.js.DeleteStream(t.Context(), streamName); err != nil {
			t.Error(err)
		}
		if err := stream.Ensure(t.Context(), s.js, stream.Config{Name: streamName}); err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	_, err := indexer.Build(ctx, longer{stream.NewReader(s.nc, s.js, streamName, zerolog.Nop()), last + 1}, o)
	if parting, ok := errors.AsType[*stream.Parting](err); !ok || parting.Applied != last || !errors.Is(err, stream.ErrMismatch) {
		t.Fatalf("%v", err)
	}
	s.isNone(o.Dir)
}
