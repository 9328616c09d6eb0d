package indexer_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// knownEnd is the end of a stream that there could be.
type knownEnd struct {
	head stream.Head
	ask  func(ctx context.Context, since time.Time) (stream.Head, error) // nil: nobody answers
}

func (e *knownEnd) Head() stream.Head { return e.head }

func (e *knownEnd) Ask(ctx context.Context, since time.Time) (stream.Head, error) {
	if e.ask == nil {
		<-ctx.Done()
		return stream.Head{}, ctx.Err()
	}
	return e.ask(ctx, since)
}

// The sequence of an instant is the one that the stamps of the stream's messages
// say, those that were erased or are no events among them; after the last one it
// is known when the index has caught up.
func TestInstants(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	var stamps []time.Time
	publish := func(n int) (last uint64) {
		t.Helper()
		for range n {
			last = s.publish(say(events.AssignmentUpserted, `{"usr_id":"u%d","ent_id":"e"}`, len(stamps)))
			m, err := st.GetMsg(t.Context(), last)
			if err != nil {
				t.Fatal(err)
			}
			stamps = append(stamps, m.Time)
		}
		return last
	}
	n := s.node()
	at := func(instant time.Time) uint64 {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), bounded)
		defer cancel()
		seq, err := n.index.SequenceAt(ctx, instant)
		if err != nil {
			t.Fatalf("%s: %v", instant, err)
		}
		return seq
	}
	check := func() {
		t.Helper()
		for i, stamp := range stamps {
			if after := slices.IndexFunc(stamps, func(other time.Time) bool { return other.After(stamp) }); after >= 0 {
				if got := at(stamp); got != uint64(after) {
					t.Errorf("at the stamp of %d the sequence is %d, want %d", i+1, got, after)
				}
			}
			if got := at(stamp.Add(-1)); got > uint64(i) {
				t.Errorf("just before the stamp of %d the sequence is %d", i+1, got)
			}
		}
		if got := at(time.Time{}); got != 0 {
			t.Errorf("in the year 1 the sequence is %d", got)
		}
		for _, instant := range []time.Time{stamps[len(stamps)-1], time.Now(), time.Now().Add(time.Hour), time.Unix(1<<40, 0)} {
			if got := at(instant); got != uint64(len(stamps)) {
				t.Errorf("after the last message the sequence is %d, want %d", got, len(stamps))
			}
		}
	}
	publish(5)
	if err := st.DeleteMsg(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	stamps[2] = stamps[1] // has none that counts
	n.start(indexer.Options{})
	n.wait(5)
	check()
	publish(3)
	n.wait(6) // and for the rest by itself
	check()
	n.stop()
	n.close()
	n.open()
	publish(2)
	// The index does not run: it may not have caught up, and does not claim so.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if seq, err := n.index.SequenceAt(ctx, time.Now()); !errors.Is(err, listing.ErrAhead) {
		t.Errorf("behind its stream: %d, %v", seq, err)
	}
	if got := at(stamps[6]); got != 7 {
		t.Errorf("behind its stream, but long past: %d", got)
	}
	n.start(indexer.Options{})
	n.wait(10)
	check()
}

// What is known of the stream's end counts from the moment on at which the server
// was asked, by the clock that stamps messages.
func TestInstantsWhenTheEndIsKnown(t *testing.T) {
	t.Parallel()
	st, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	start := time.Unix(1_700_000_000, 0)
	commit := func(seq uint64, at time.Time) {
		w := st.Applied()
		w.Seq, w.Nano = seq, at.UnixNano()
		if err := st.NewBatch(nil).Commit(w); err != nil {
			t.Error(err)
		}
	}
	commit(4, start)
	end := knownEnd{head: stream.Head{Seq: 4, Until: start.Add(time.Second)}}
	x := indexer.NewIndex(st, &end)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		after time.Duration
		known bool
	}{{0, true}, {time.Second - 1, true}, {time.Second, false}, {time.Hour, false}} {
		seq, err := x.SequenceAt(gone, start.Add(c.after))
		if c.known && (seq != 4 || err != nil) || !c.known && !errors.Is(err, listing.ErrAhead) {
			t.Errorf("after %s: %d, %v", c.after, seq, err)
		}
	}
	// The server is asked, and what it holds is waited for: its messages may be older.
	end.ask = func(_ context.Context, since time.Time) (stream.Head, error) {
		if time.Since(since) < 0 {
			t.Error("the server is asked about the future")
		}
		go commit(6, start.Add(time.Minute))
		return stream.Head{Seq: 6, Asked: since}, nil
	}
	if seq, err := x.SequenceAt(t.Context(), start.Add(time.Second)); seq != 5 || err != nil {
		t.Errorf("%d, %v", seq, err)
	}
	end.ask = func(context.Context, time.Time) (stream.Head, error) { return stream.Head{}, errors.New("no answer") }
	if _, err := x.SequenceAt(t.Context(), start.Add(time.Hour)); !errors.Is(err, listing.ErrAhead) {
		t.Error(err)
	}
	if err := st.AdvanceFloor(6); err != nil {
		t.Fatal(err)
	}
	if _, err := x.SequenceAt(t.Context(), start); !errors.Is(err, listing.ErrPruned) {
		t.Error(err)
	}
}
