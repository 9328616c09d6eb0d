package indexer_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

var quickly = indexer.Options{BatchEvents: 5, RejoinEvery: 10 * time.Millisecond}

// healed waits until the index has another incarnation than before and the end of
// the stream, and compares it with an index that is built afresh and with the model.
func (s *unsafeSource) healed(n *node, before string, kinds ...stream.Kind) {
	s.Helper()
	last := s.info().State.LastSeq
	defer func() {
		if s.Failed() {
			s.Logf("the node: %s", n.log)
		}
	}()
	s.until("the index is undone and has caught up", func() bool {
		seq, incarnation := n.index.Applied()
		return incarnation != before && seq == last
	})
	n.wait(last) // not before the undo is over
	fresh := s.node()
	fresh.start(quickly)
	fresh.wait(last)
	if n.digest(last) != fresh.digest(last) {
		s.Error("the index is not the one that is built afresh")
	}
	n.says(last, s.model())
	if err := n.store.CheckCounters(); err != nil {
		s.Error(err)
	}
	undone := 0
	for _, kind := range kinds {
		undone += n.counts("assigndex_stream_partings_total")[string(kind)+",undone"]
	}
	if undone != 1 {
		s.Errorf("counted %v, want one of %v undone", n.counts("assigndex_stream_partings_total"), kinds)
	}
	if log := n.log.String(); !strings.Contains(log, before) || !strings.Contains(log, n.store.Applied().Stream.Incarnation) {
		s.Errorf("the log does not name both incarnations: %s", log)
	}
	now := time.Now()
	if l := n.index.Lag(now); l.Sequences != 0 || !l.Known || l.Head != last || len(n.index.Troubles(now)) != 0 {
		s.Errorf("the lag is %+v, the troubles %q", l, n.index.Troubles(now))
	}
	n.wait(s.more(7)) // and goes on
}

// stuck waits until the index has parted from its stream for good, and checks that it
// serves its last state and says so.
func (s *unsafeSource) stuck(n *node, kind stream.Kind, last uint64, digest string) {
	s.Helper()
	s.until("the index has parted: "+string(kind), func() bool {
		p := n.reader.Head().Parted
		return p != nil && p.Kind == kind && n.counts("assigndex_stream_partings_total")[string(kind)+",stuck"] == 1
	})
	if seq, _ := n.index.Applied(); seq != last || n.digest(last) != digest {
		s.Errorf("the last state was %d, %d is served, or another digest", last, seq)
	}
	troubles := n.index.Troubles(time.Now())
	if len(troubles) != 1 || !strings.Contains(troubles[0], string(kind)) {
		s.Errorf("the troubles are %q", troubles)
	}
	if l := n.index.Lag(time.Now().Add(time.Minute)); !l.Known || l.Applied != last || l.Age < time.Minute {
		s.Errorf("the lag is %+v", l)
	}
	if n.parted() != 1 {
		s.Error("the gauge does not say that the index has parted")
	}
	if log := n.log.String(); !strings.Contains(log, `"level":"error"`) || !strings.Contains(log, `"kind":"`+string(kind)+`"`) {
		s.Errorf("the log does not say it: %s", log)
	}
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.index.Wait(ctx, last+1); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("a sequence above: %v", err)
	}
	if _, err := n.index.SequenceAt(ctx, time.Now()); !errors.Is(err, listing.ErrAhead) {
		s.Errorf("the present instant: %v", err)
	}
	select {
	case err := <-n.done:
		n.done <- err
		s.Fatalf("Run ended: %v", err)
	default:
	}
}

// both runs a test while the indexer runs, and with one that is stopped while the
// stream changes.
func both(t *testing.T, test func(t *testing.T, change func(n *node, f func()))) {
	t.Parallel()
	t.Run("running", func(t *testing.T) {
		t.Parallel()
		test(t, func(_ *node, f func()) { f() })
	})
	t.Run("at connect", func(t *testing.T) {
		t.Parallel()
		test(t, func(n *node, f func()) {
			n.close()
			f()
			n.open()
			n.start(quickly)
		})
	})
}

// filled gives a node that has applied n events, and its incarnation.
func (s *unsafeSource) filled(events int) (n *node, last uint64, incarnation string) {
	s.Helper()
	n = s.node()
	n.start(quickly)
	last = s.more(events)
	n.wait(last)
	_, incarnation = n.index.Applied()
	return n, last, incarnation
}

// The end of the stream is lost, as by a power cut of a server that does not sync.
func TestLostEndIsUndone(t *testing.T) {
	both(t, func(t *testing.T, change func(*node, func())) {
		s := newUnsafeSource(t)
		n, kept, before := s.filled(40)
		aside := s.copyAside()
		last := s.more(25)
		n.wait(last)
		change(n, func() {
			s.putBack(aside)
			if end := s.info().State.LastSeq; end != kept {
				t.Fatalf("the stream ends at %d, want %d", end, kept)
			}
		})
		s.healed(n, before, stream.RolledBack)
	})
}

// The end is lost and its sequences are given to other messages.
func TestReusedSequencesAreUndone(t *testing.T) {
	both(t, func(t *testing.T, change func(*node, func())) {
		s := newUnsafeSource(t)
		n, _, before := s.filled(40)
		aside := s.copyAside()
		last := s.more(25)
		n.wait(last)
		lost := s.stored(last)
		change(n, func() {
			s.putBack(aside)
			s.more(40)
			if s.stored(last).Equal(lost) {
				t.Fatal("the sequence holds the same message")
			}
		})
		// A running indexer may see the end that is lost before it is there again.
		s.healed(n, before, stream.Reused, stream.RolledBack)
	})
}

// Besides, the other message at the last sequence that was applied is erased: an older
// one tells.
func TestReusedSequenceThatIsErased(t *testing.T) {
	t.Parallel()
	s := newUnsafeSource(t)
	n, _, before := s.filled(40)
	aside := s.copyAside()
	last := s.more(25)
	n.wait(last)
	n.close()
	s.putBack(aside)
	s.more(40)
	s.erase(last)
	n.open()
	n.start(quickly)
	s.healed(n, before, stream.Reused)
	if got := n.counts("assigndex_events_erased_total")[""]; got != 1 {
		t.Errorf("%d messages were counted as erased, want 1", got)
	}
}

// The last message was erased before it was applied, so there is no fingerprint of it.
func TestReusedSequencesBelowAnErasedMessage(t *testing.T) {
	t.Parallel()
	s := newUnsafeSource(t)
	n, _, before := s.filled(40)
	aside := s.copyAside()
	n.wait(s.more(20))
	n.close()
	last := s.more(3)
	s.erase(last)
	n.open()
	n.start(quickly)
	n.wait(last)
	if len(n.store.Applied().Fingerprint) != 0 {
		t.Fatal("the erased message has a fingerprint")
	}
	n.close()
	s.putBack(aside)
	s.more(40)
	n.open()
	n.start(quickly)
	s.healed(n, before, stream.Reused)
}

// A stream that was made anew from a backup has a past in common.
func TestRestoredStreamIsReadOn(t *testing.T) {
	for name, upTo := range map[string]uint64{"in part": 30, "whole": 40} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, change func(*node, func())) {
				s := newUnsafeSource(t)
				n, _, before := s.filled(40)
				change(n, func() {
					s.restoreTo(upTo)
					s.more(20)
				})
				s.healed(n, before, stream.Recreated, stream.Missing)
			})
		})
	}
}

// A stream that was made anew without a message in common is not believed, and no
// more is a missing one.
func TestRecreatedStreamIsNotRead(t *testing.T) {
	for name, events := range map[string]int{"empty": 0, "fewer": 10, "more": 60} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, change func(*node, func())) {
				s := newUnsafeSource(t)
				n, last, _ := s.filled(40)
				digest := n.digest(last)
				change(n, func() {
					s.recreate()
					if events > 0 {
						s.more(events)
					}
				})
				s.stuck(n, stream.Recreated, last, digest)
			})
		})
	}
}

// An index that has applied nothing loses nothing.
func TestRecreatedStreamOfAnEmptyIndex(t *testing.T) {
	both(t, func(t *testing.T, change func(*node, func())) {
		s := newUnsafeSource(t)
		n := s.node()
		n.start(quickly)
		var before string
		s.until("the index is bound", func() bool {
			_, before = n.index.Applied()
			return before != ""
		})
		change(n, func() {
			s.recreate()
			s.more(10)
		})
		s.healed(n, before, stream.Recreated, stream.Missing)
	})
}

// A missing stream is waited for, and read on when it is there again.
func TestMissingStreamComesBack(t *testing.T) {
	both(t, func(t *testing.T, change func(*node, func())) {
		s := newUnsafeSource(t)
		n, last, before := s.filled(40)
		digest := n.digest(last)
		aside := s.copyAside()
		change(n, s.delete)
		s.stuck(n, stream.Missing, last, digest)
		s.putBack(aside)
		next := s.more(5)
		n.wait(next)
		if _, now := n.index.Applied(); now != before {
			t.Errorf("the incarnation is %s, it was %s", now, before)
		}
		if n.parted() != 0 || len(n.index.Troubles(time.Now())) != 0 {
			t.Errorf("the troubles are %q", n.index.Troubles(time.Now()))
		}
		if got, want := n.counts("assigndex_stream_partings_total"), map[string]int{"missing,stuck": 1, "missing,returned": 1}; !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
		n.says(next, s.model())
	})
}

// Outside of the history window nothing can be undone; the right stream is read on.
func TestPartingBelowTheWindow(t *testing.T) {
	t.Parallel()
	s := newUnsafeSource(t)
	n, kept, before := s.filled(40)
	aside := s.copyAside()
	last := s.more(25)
	n.wait(last)
	whole := s.copyAside()
	digest := n.digest(last)
	n.stop()
	if err := n.store.AdvanceFloor(kept + 1); err != nil {
		t.Fatal(err)
	}
	s.putBack(aside)
	s.more(40)
	n.start(quickly)
	s.stuck(n, stream.Reused, last, digest)
	s.putBack(whole)
	next := s.more(5)
	n.wait(next)
	if _, now := n.index.Applied(); now != before {
		t.Errorf("the incarnation is %s, it was %s", now, before)
	}
	n.says(next, s.model())
}

// A purge of what was applied is no fault; one of what was not is.
func TestPurges(t *testing.T) {
	for name, past := range map[string]uint64{"all": 0, "up to the last": 1} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, change func(*node, func())) {
				s := newUnsafeSource(t)
				n, last, before := s.filled(40)
				change(n, func() { s.purge(last + 1 - past) })
				n.wait(s.more(5))
				if _, now := n.index.Applied(); now != before || len(n.counts("assigndex_stream_partings_total")) != 0 {
					t.Errorf("counted %v", n.counts("assigndex_stream_partings_total"))
				}
			})
		})
	}
	t.Run("past the last", func(t *testing.T) {
		t.Parallel()
		s := newUnsafeSource(t)
		n, last, _ := s.filled(40)
		digest := n.digest(last)
		n.stop()
		s.more(10)
		s.purge(last + 2)
		n.start(quickly)
		s.stuck(n, stream.Trimmed, last, digest)
	})
}

// The incarnation is another one each time.
func TestPartingTwice(t *testing.T) {
	t.Parallel()
	s := newUnsafeSource(t)
	n, _, before := s.filled(40)
	aside := s.copyAside()
	n.wait(s.more(50))
	s.putBack(aside)
	s.healed(n, before, stream.RolledBack)
	_, second := n.index.Applied()
	s.putBack(aside)
	s.until("the index is undone again", func() bool {
		seq, now := n.index.Applied()
		return now != before && now != second && seq == s.info().State.LastSeq
	})
}

// partingStream delivers messages at once and then parts from them for ever.
type partingStream struct {
	applied chan uint64 // by the index when it is asked where to go on
}

func (p *partingStream) Begin(context.Context, bool) (position.Position, error) {
	return position.Position{Stream: position.Identity{Name: streamName, Incarnation: "i"}}, nil
}

func (p *partingStream) Read(_ context.Context, _ position.Position, _ stream.Ladder, deliver func(*stream.Message) error) error {
	for seq := uint64(1); seq <= 300; seq++ {
		m := &stream.Message{Message: say(events.GroupUpserted, `{"grp_id":"g%d"}`, seq), Seq: seq, Time: time.Unix(int64(seq), 0)}
		if err := deliver(m); err != nil {
			return err
		}
	}
	return &stream.Parting{Kind: stream.Trimmed}
}

func (p *partingStream) Rejoin(ctx context.Context, at position.Position, _ uint64, _ stream.Ladder) (position.Position, error) {
	p.applied <- at.Seq
	<-ctx.Done()
	return at, ctx.Err()
}

func (p *partingStream) Head() stream.Head { return stream.Head{Seq: 300, Seen: time.Now()} }

// What was read before the stream parted is applied first: it may be held nowhere else.
func TestWhatWasReadIsAppliedBeforeAParting(t *testing.T) {
	t.Parallel()
	st, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	p := &partingStream{applied: make(chan uint64, 1)}
	done := make(chan error, 1)
	go func() { done <- indexer.New(st, p, indexer.Options{History: time.Hour, BatchEvents: 7}).Run(ctx) }()
	select {
	case seq := <-p.applied:
		if seq != 300 {
			t.Errorf("300 messages were read, %d are applied", seq)
		}
	case <-time.After(bounded):
		t.Error("Rejoin was not called")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// parted gives the gauge of being parted.
func (n *node) parted() float64 {
	n.Helper()
	_, gauge := n.metric("assigndex_stream_parted")
	return gauge
}
