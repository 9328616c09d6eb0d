package stream_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0: a new one")

// ladder is what an index could have kept, in the order of sequences.
type ladder []stream.Rung

func (l ladder) at(seq uint64) (r stream.Rung, ok bool, err error) {
	for _, rung := range l {
		if rung.Seq <= seq {
			r, ok = rung, true
		}
	}
	return r, ok, nil
}

// TestRejoin compares, for random histories of an index and a stream with erased
// messages, where Rejoin goes on with what a look at every message says.
func TestRejoin(t *testing.T) {
	w := newWorld(t)
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	t.Logf("-seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 7))
	const last = 120
	f := w.follow(w.begin())
	f.complete(w.flood(last))
	begin := f.at
	f.stop()
	fingerprints := make([][]byte, last+1)
	for _, m := range f.got {
		fingerprints[m.Seq] = m.Fingerprint()
	}
	erased := make([]bool, last+1)
	for seq := uint64(2); seq <= last; seq++ { // without the first one the stream would begin later
		if rng.IntN(3) == 0 {
			w.erase(seq)
			erased[seq] = true
		}
	}
	found, none := 0, 0
	for range 300 {
		at := begin
		at.Seq = 1 + rng.Uint64N(last+20)
		parting := rng.Uint64N(at.Seq + 1)
		floor := rng.Uint64N(at.Seq + 1)
		if rng.IntN(2) == 0 {
			floor = 0
		}
		var rungs ladder
		var want uint64
		for seq := uint64(1); seq <= at.Seq; seq += 1 + rng.Uint64N(9) {
			r := stream.Rung{Seq: seq, Peak: int64(seq), Fingerprint: []byte("another message.")}
			switch {
			case rng.IntN(6) == 0:
				r.Fingerprint = nil
			case seq <= min(parting, last):
				r.Fingerprint = fingerprints[seq]
				if !erased[seq] && seq >= floor {
					want = seq
				}
			}
			rungs = append(rungs, r)
		}
		at.Stream.Created = at.Stream.Created.Add(-time.Hour) // as if the stream was made anew
		at.Stream.Incarnation, at.Stream.Partings = "old", 3
		r, _ := w.reader()
		to, err := r.Rejoin(t.Context(), at, floor, rungs.at)
		head := r.Head()
		if want == 0 {
			none++
			parted, ok := errors.AsType[*stream.Parting](err)
			if !ok || parted.Kind != stream.Recreated || head.Parted != parted || !errors.Is(err, stream.ErrMismatch) {
				t.Fatalf("applied %d, parted after %d, floor %d: %+v, %v, %+v", at.Seq, parting, floor, to, err, head)
			}
			continue
		}
		found++
		if err != nil || to.Seq != want || to.Peak != int64(want) || string(to.Fingerprint) != string(fingerprints[want]) ||
			to.Nano != f.got[want-1].Time.UnixNano() || head.Parted != nil || head.Seq != last {
			t.Fatalf("applied %d, parted after %d, floor %d: %+v, %v, %+v; want %d", at.Seq, parting, floor, to, err, head, want)
		}
		if id := to.Stream; id.Partings != 4 || id.Incarnation == begin.Stream.Incarnation || !id.Created.Equal(begin.Stream.Created) {
			t.Fatalf("the stream is %+v", id)
		}
	}
	if found == 0 || none == 0 {
		t.Errorf("%d places were found, %d times there was none", found, none)
	}
}

// What says of a parting what happened is data.
func TestPartings(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(5))
	at := f.stop()
	r, _ := w.reader()
	kept := func(seq uint64) stream.Ladder {
		return ladder{{Seq: seq, Fingerprint: f.got[seq-1].Fingerprint()}}.at
	}
	check := func(what string, at position.Position, older stream.Ladder, want stream.Parting) {
		t.Helper()
		_, err := r.Rejoin(t.Context(), at, at.Seq+1, older) // nothing lies inside the window
		p, ok := errors.AsType[*stream.Parting](err)
		if !ok {
			t.Fatalf("%s: %v", what, err)
		}
		if p.Kind != want.Kind || p.First != want.First || p.Last != want.Last || p.Differs != want.Differs || p.Applied != at.Seq ||
			p.Since.IsZero() || p.What() == "" || p.Remedy() == "" || errors.Is(err, stream.ErrTrimmed) != (want.Kind == stream.Trimmed) {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if to, err := r.Rejoin(t.Context(), at, 0, nil); err != nil || to.Stream != at.Stream || to.Seq != at.Seq {
		t.Errorf("no parting: %+v, %v", to, err)
	}
	other := at
	other.Stream.Name = "OTHER"
	check("another name", other, nil, stream.Parting{Kind: stream.OtherName, First: 1, Last: 5})
	other = at
	other.Stream.Created = at.Stream.Created.Add(1)
	check("another time", other, nil, stream.Parting{Kind: stream.Recreated, First: 1, Last: 5})
	other = at
	other.Seq = 9
	check("a lost end", other, nil, stream.Parting{Kind: stream.RolledBack, First: 1, Last: 5})
	other = at
	other.Fingerprint = f.got[0].Fingerprint()
	check("a reused sequence", other, nil, stream.Parting{Kind: stream.Reused, First: 1, Last: 5, Differs: 5})

	// The last message is erased; the one below it that is held tells.
	w.erase(4, 5)
	if _, err := r.Rejoin(t.Context(), at, 0, kept(3)); err != nil {
		t.Errorf("an older message that agrees: %v", err)
	}
	wrong := ladder{{Seq: 2, Fingerprint: []byte("another message.")}, {Seq: 4, Fingerprint: []byte("erased")}}.at
	check("a reused sequence below", at, wrong, stream.Parting{Kind: stream.Reused, First: 1, Last: 5, Differs: 2})

	w.publish(4)
	if err := w.stream().Purge(t.Context(), jetstreamPurgeTo(8)); err != nil {
		t.Fatal(err)
	}
	check("a purge", at, kept(3), stream.Parting{Kind: stream.Trimmed, First: 8, Last: 9})
	if err := w.js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	check("no stream", at, nil, stream.Parting{Kind: stream.Missing})
}

// A fault of the index' own storage is not taken for a stream that differs.
func TestFaultOfTheLadder(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(3))
	at := f.stop()
	at.Fingerprint = nil
	fault := errors.New("a fault of the test")
	broken := func(uint64) (stream.Rung, bool, error) { return stream.Rung{}, false, fault }
	r, _ := w.reader()
	if _, err := r.Rejoin(t.Context(), at, 0, broken); !errors.Is(err, stream.ErrLadder) || !errors.Is(err, fault) {
		t.Errorf("Rejoin: %v", err)
	}
	if err := r.Read(t.Context(), at, broken, func(*stream.Message) error { return nil }); !errors.Is(err, stream.ErrLadder) {
		t.Errorf("Read: %v", err)
	}
}
