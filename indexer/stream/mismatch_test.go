package stream_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
)

// A stream that was deleted and made again is noticed, however far it has got.
func TestRecreatedStreamIsRefused(t *testing.T) {
	for name, count := range map[string]int{"empty": 0, "fewer": 2, "equal": 5, "more": 9} {
		t.Run("connected/"+name, func(t *testing.T) {
			w := newWorld(t)
			f := w.follow(w.begin())
			f.complete(w.publish(5))
			w.recreate()
			w.publish(count)
			f.ends(stream.ErrMismatch)
			if len(f.got) != 5 {
				t.Errorf("%d messages were delivered, want the 5 of the first stream", len(f.got))
			}
		})
		t.Run("disconnected/"+name, func(t *testing.T) {
			w := newWorld(t)
			f := w.follow(w.begin())
			f.complete(w.publish(5))
			at := f.stop()
			w.recreate()
			w.publish(count)
			g := w.follow(at)
			g.ends(stream.ErrMismatch)
			if len(g.got) != 0 {
				t.Errorf("%d messages of another stream were delivered", len(g.got))
			}
		})
	}
}

// An index that was bound to an empty stream has no message to compare.
func TestRecreatedStreamIsRefusedBeforeTheFirstMessage(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	f := w.follow(at)
	w.recreate()
	w.publish(1)
	f.ends(stream.ErrMismatch)
	w.follow(at).ends(stream.ErrMismatch)
	if len(f.got) != 0 {
		t.Errorf("%d messages of another stream were delivered", len(f.got))
	}
}

func TestDeletedStreamIsRefused(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(2))
	if err := w.js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	f.ends(stream.ErrMismatch)
}

func TestPurgePastThePositionIsRefused(t *testing.T) {
	for name, purge := range map[string][]jetstream.StreamPurgeOpt{
		"all":                nil,
		"all but the last":   {jetstream.WithPurgeKeep(1)},
		"one past the place": {jetstreamPurgeTo(7)}, // the first that stays
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := w.follow(w.begin())
			f.complete(w.publish(5))
			at := f.stop()
			w.publish(5)
			if err := w.stream().Purge(t.Context(), purge...); err != nil {
				t.Fatal(err)
			}
			g := w.follow(at)
			g.ends(stream.ErrTrimmed)
			if len(g.got) != 0 {
				t.Errorf("%d messages were delivered", len(g.got))
			}
		})
	}
}

// Up to the position nothing is missed.
func TestPurgeUpToThePosition(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(5))
	if err := w.stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := w.publish(1)
	f.complete(last)
	at := f.stop()
	if err := w.stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := w.follow(at)
	g.complete(w.publish(1))
}

// A reader that is held up while the stream is purged ahead of it.
func TestPurgePastAReaderThatIsHeldUp(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.flood(12_000)
	r, _ := w.reader()
	held, purged := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	next := uint64(1)
	go func() {
		done <- r.Read(t.Context(), at, nil, func(m *stream.Message) error {
			if m.Seq != next {
				t.Errorf("sequence %d was delivered when %d was next", m.Seq, next)
			}
			next++
			if m.Seq == 10 {
				close(held)
				<-purged
			}
			return nil
		})
	}()
	<-held
	if err := w.stream().Purge(t.Context(), jetstreamPurgeTo(11_000)); err != nil {
		t.Fatal(err)
	}
	close(purged)
	f := &follower{t: t, done: make(chan struct{})}
	go func() {
		f.err = <-done
		close(f.done)
	}()
	f.ends(stream.ErrTrimmed)
}

// What a power cut does to a server that does not sync: the end of the stream is
// gone, and its sequences go to other messages.
func TestLostEndIsRefused(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.begin())
	f.complete(w.publish(5))
	at := f.stop()

	ahead := at
	ahead.Seq = 6
	w.follow(ahead).ends(stream.ErrMismatch)

	other := at
	other.Fingerprint = f.got[3].Fingerprint()
	g := w.follow(other)
	g.ends(stream.ErrMismatch)
	w.publish(3)
	w.follow(ahead).ends(stream.ErrMismatch) // the position's fingerprint is of another message than 6
	w.follow(other).ends(stream.ErrMismatch)
	w.follow(at).complete(8)
}

func TestOtherStreamIsRefused(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(1)
	for field, change := range map[string]func(*position.Position){
		"name":    func(p *position.Position) { p.Stream.Name = "OTHER" },
		"created": func(p *position.Position) { p.Stream.Created = p.Stream.Created.Add(1) },
	} {
		other := at
		change(&other)
		f := w.follow(other)
		f.ends(stream.ErrMismatch)
		if len(f.got) != 0 {
			t.Errorf("%s: a message was delivered", field)
		}
	}
}

// An erased run that reaches the stream's beginning cannot be told from a purge.
func TestErasureOfTheFirstMessagesIsRefused(t *testing.T) {
	w := newWorld(t)
	at := w.begin()
	w.publish(3)
	w.erase(1)
	w.follow(at).ends(stream.ErrTrimmed)
}
