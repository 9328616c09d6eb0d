package stream_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

func TestReadDeliversInOrderAndGoesOn(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(10)
	f := w.follow(at)
	f.complete(10)
	last := w.publish(3)
	f.complete(last)

	// Another reader goes on where this one stopped.
	at = f.stop()
	last = w.publish(2)
	g := w.follow(at)
	g.complete(last)
	if len(g.got) != 2 {
		t.Errorf("%d messages after sequence %d, want 2", len(g.got), at.Seq)
	}
}

func TestReadSurvivesARestartOfTheServer(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	f := w.follow(at)
	f.complete(w.publish(5))
	for range 3 {
		streamtest.Restart(t, w.server)
		f.complete(w.publishSoon(5))
	}
}

// publishSoon publishes as soon as the connection is there again.
func (w *world) publishSoon(n int) uint64 {
	w.Helper()
	for w.nc.FlushTimeout(time.Second) != nil {
		if w.Context().Err() != nil {
			w.Fatal("not connected again")
		}
	}
	return w.publish(n)
}

// A cut connection loses what was under way, which the server does not send again.
func TestReadSurvivesCutConnections(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	last := w.flood(16_000)
	f := w.follow(at)
	for _, seq := range []uint64{1, 4_000, 8_000, 12_000} {
		f.wait(seq)
		if err := f.nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
	}
	f.complete(last)
}

func TestReadSurvivesTheDeletionOfItsConsumer(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(3))
	for range 3 {
		deleted := 0
		for n := range w.stream().ConsumerNames(t.Context()).Name() {
			if err := w.stream().DeleteConsumer(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			deleted++
		}
		if deleted != 1 {
			t.Fatalf("%d consumers, want one", deleted)
		}
		f.complete(w.publish(3))
	}
}

func TestStoppedReaderLeavesNoConsumer(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(3))
	f.stop()
	for n := range w.stream().ConsumerNames(t.Context()).Name() {
		t.Errorf("consumer %s was left behind", n)
	}
}

func TestErasedMessagesArePassedOver(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(20)
	w.erase(2, 7, 8, 9, 15, 17)
	f := w.follow(at)
	f.complete(20, [2]uint64{2, 2}, [2]uint64{7, 9}, [2]uint64{15, 15}, [2]uint64{17, 17})

	// Erased right after the position of a reader that stopped.
	at = f.stop()
	w.publish(5)
	w.erase(21, 22)
	w.follow(at).complete(25, [2]uint64{21, 22})
}

// Nothing comes after them that would show the gap.
func TestErasedMessagesAtTheEnd(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(6)
	w.erase(5, 6)
	f := w.follow(at)
	f.complete(6, [2]uint64{5, 6})
	at = f.stop()
	if at.Seq != 6 || at.Fingerprint != nil {
		t.Fatalf("the position is %+v", at)
	}
	g := w.follow(at) // an erased message cannot be compared
	last := w.publish(1)
	g.complete(last)
}

// What was delivered may be erased afterwards, the message at the position too.
func TestErasureBehindThePosition(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(5))
	at := f.stop()
	w.erase(3, 5)
	last := w.publish(2)
	w.follow(at).complete(last)
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	r, _ := w.reader()
	if head := r.Head(); head != (stream.Head{}) {
		t.Errorf("before the first look: %+v", head)
	}
	at := w.begin()
	last := w.publish(30)
	f := w.follow(at)
	f.wait(1)
	if head := f.reader.Head(); head.Seq != last || head.Seen.IsZero() {
		t.Errorf("after the first message: %+v; want %d", head, last)
	}
	f.complete(last)
	last = w.publish(1)
	f.wait(last)
	if head := f.reader.Head(); head.Seq != last || head.Prev >= last {
		t.Errorf("the head is %+v, want %d", head, last)
	}

	// Of an empty stream it is known to be 0.
	v := newEmptyFollower(t)
	timeout := time.After(bounded)
	for {
		if head := v.reader.Head(); !head.Seen.IsZero() {
			if head.Seq != 0 {
				t.Errorf("the head of an empty stream is %d", head.Seq)
			}
			break
		}
		select {
		case <-timeout:
			t.Fatal("the head of an empty stream does not get known")
		default:
		}
	}
}

func TestBegin(t *testing.T) {
	w := newWorld(t)
	r, _ := w.reader()
	at, err := r.Begin(t.Context(), false)
	if err != nil || at.Seq != 0 || at.Stream.Name != name || at.Stream.Incarnation == "" || at.Stream.Created.IsZero() {
		t.Fatalf("an empty stream: %+v, %v", at, err)
	}
	w.publish(5)
	if again, err := r.Begin(t.Context(), false); err != nil || again.Stream != at.Stream || again.Seq != 0 {
		t.Fatalf("a whole stream: %+v, %v", again, err)
	}
	if err := w.stream().Purge(t.Context(), jetstreamPurgeTo(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(t.Context(), false); !errors.Is(err, stream.ErrTrimmed) {
		t.Fatalf("a trimmed stream: %v", err)
	}
	at, err = r.Begin(t.Context(), true)
	if err != nil || at.Seq != 3 || at.Fingerprint != nil {
		t.Fatalf("a trimmed stream that is accepted: %+v, %v", at, err)
	}
	f := w.follow(at)
	f.complete(5)
	if first := f.got[0].Seq; first != 4 {
		t.Errorf("the first message is %d", first)
	}
	// Also one that has nothing left.
	if err := w.stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Begin(t.Context(), false); !errors.Is(err, stream.ErrTrimmed) {
		t.Fatalf("an emptied stream: %v", err)
	}
	if at, err = r.Begin(t.Context(), true); err != nil || at.Seq != 5 {
		t.Fatalf("an emptied stream that is accepted: %+v, %v", at, err)
	}
	w.recreate()
	other, err := r.Begin(t.Context(), false)
	if err != nil || other.Stream.Incarnation == at.Stream.Incarnation {
		t.Fatalf("a stream made anew: %+v, %v; it was %+v", other, err, at)
	}
}

// Who asks for the stream's end learns of every message that was stored before,
// by either clock, although the reader takes none.
func TestAsk(t *testing.T) {
	w := newWorld(t)
	r, _ := w.reader()
	if head, err := r.Ask(t.Context(), time.Now()); !errors.Is(err, stream.ErrMismatch) {
		t.Errorf("before the stream was compared with the index: %+v, %v", head, err)
	}
	f := w.follow(w.begin())
	f.complete(w.publish(3))
	for range 20 {
		last := w.publish(2)
		stored, err := w.stream().GetMsg(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		head, err := f.reader.Ask(t.Context(), began)
		if err != nil || head.Seq < last || head.Asked.Before(began) || head.Until.After(time.Now()) {
			t.Fatalf("%+v, %v; want at least %d, asked at %s", head, err, last, began)
		}
		// Until is earlier than the server's time by as long as the question took.
		for !head.Until.After(stored.Time) {
			if head, err = f.reader.Ask(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		again, err := f.reader.Ask(t.Context(), began)
		if err != nil || again.Asked.Before(head.Asked) || again.Until.Before(head.Until) {
			t.Fatalf("%+v, %v; before it was %+v", again, err, head)
		}
	}
	streamtest.Stop(w.T, w.server)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if head, err := f.reader.Ask(ctx, time.Now()); err == nil {
		t.Errorf("without a server: %+v", head)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	for name, prepare := range map[string]func(*world, *follower){
		"idle":        func(*world, *follower) {},
		"no server":   func(w *world, _ *follower) { streamtest.Stop(w.T, w.server) },
		"disconnects": func(w *world, f *follower) { _ = f.nc.ForceReconnect() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := w.follow(w.begin())
			f.complete(w.publish(2))
			prepare(w, f)
			f.cancel()
			select {
			case <-f.done:
			case <-time.After(2 * time.Second): // one request to delete the consumer
				t.Fatal("Read goes on")
			}
			if !errors.Is(f.err, context.Canceled) {
				t.Fatalf("Read gave %v", f.err)
			}
		})
	}
}

func TestReadEndsWhenDeliverFails(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(3)
	r, _ := w.reader()
	full := errors.New("full")
	var got []uint64
	err := r.Read(t.Context(), at, nil, func(m *stream.Message) error {
		got = append(got, m.Seq)
		if m.Seq == 2 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || len(got) != 2 {
		t.Fatalf("Read gave %v after %v", err, got)
	}
}
