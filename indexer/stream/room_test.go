package stream_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/events/publisher"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// A stream that is held takes a little more and then refuses whole batches, with an
// error that says so, until Ensure lifts the limit.
func TestHold(t *testing.T) {
	w := bare(t)
	c := stream.Config{Name: name, MaxBytes: 1 << 30, Own: true}
	for range 2 { // it holds again what was lifted
		if err := stream.Ensure(t.Context(), w.js, c); err != nil {
			t.Fatal(err)
		}
		if err := stream.Hold(t.Context(), w.js, c, 100<<20); err != nil {
			t.Fatal(err)
		}
		before := w.stream().CachedInfo().State
		if limit := w.config().MaxBytes; limit < int64(before.Bytes) || limit > int64(before.Bytes)+25<<20 {
			t.Errorf("held at %d bytes, the stream has %d", limit, before.Bytes)
		}
		held := w.config().MaxBytes
		if err := stream.Hold(t.Context(), w.js, c, 100<<20); err != nil || w.config().MaxBytes != held {
			t.Errorf("held again: %d bytes, then %d, %v", held, w.config().MaxBytes, err)
		}
		w.fill()
		after := w.stream().CachedInfo().State
		if after.Bytes > uint64(held) || after.Msgs != after.LastSeq || (after.Msgs-before.Msgs)%batchOfFill != 0 {
			t.Errorf("the stream went from %d messages to %d, %d bytes of %d", before.Msgs, after.Msgs, after.Bytes, held)
		}
	}
	if err := stream.Ensure(t.Context(), w.js, c); err != nil || w.config().MaxBytes != 1<<30 {
		t.Errorf("lifted to %d bytes, %v", w.config().MaxBytes, err)
	}
}

func TestHoldKeepsALowerLimit(t *testing.T) {
	w := bare(t)
	c := stream.Config{Name: name, MaxBytes: 1 << 20, Own: true}
	if err := stream.Ensure(t.Context(), w.js, c); err != nil {
		t.Fatal(err)
	}
	if err := stream.Hold(t.Context(), w.js, c, 100<<20); err != nil || w.config().MaxBytes != 1<<20 {
		t.Errorf("the limit is %d, %v", w.config().MaxBytes, err)
	}
	if err := stream.Hold(t.Context(), w.js, stream.Config{Name: "OTHER"}, 0); err == nil {
		t.Error("a stream that does not exist is held")
	}
}

const batchOfFill = 30

// fill publishes batches of 6 MB until the stream is full.
func (w *world) fill() {
	w.Helper()
	nc := streamtest.Connect(w.T, w.server, publisher.ConnectOptions()...)
	p, err := publisher.New(w.Context(), nc, publisher.Options{})
	if err != nil {
		w.Fatal(err)
	}
	defer p.Close()
	filling := []byte(`{"usr_id":"u","ent_id":"e","note":"` + strings.Repeat("x", 200_000) + `"}`)
	for {
		var batch []publisher.Message
		for range batchOfFill {
			m, err := publisher.NewRecord(events.AssignmentUpserted, filling)
			if err != nil {
				w.Fatal(err)
			}
			batch = append(batch, m)
		}
		ack, err := p.Publish(w.Context(), batch...)
		if errors.Is(err, publisher.ErrStreamFull) && ack.Count == 0 {
			return
		}
		if err != nil {
			w.Fatal(err)
		}
	}
}
