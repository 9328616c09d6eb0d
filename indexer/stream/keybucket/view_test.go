package keybucket

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/query/apikey"
)

// message is a message of the bucket as a consumer delivers it.
type message struct {
	jetstream.Msg
	id      string
	header  nats.Header
	data    []byte
	seq     uint64
	pending uint64
}

func (m message) Subject() string      { return subjectPrefix + m.id }
func (m message) Headers() nats.Header { return m.header }
func (m message) Data() []byte         { return m.data }
func (m message) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Consumer: m.seq, Stream: m.seq}, NumPending: m.pending}, nil
}

// stored gives the message that stores k.
func stored(tb testing.TB, k apikey.Key, seq, pending uint64) message {
	tb.Helper()
	id, data, err := apikey.Codec{}.Encode(k)
	if err != nil {
		tb.Fatal(err)
	}
	return message{id: id, data: data, seq: seq, pending: pending}
}

func marker(k apikey.Key, header, value string, seq uint64) message {
	return message{id: k.ID, header: nats.Header{header: {value}}, seq: seq}
}

// testView gives a view that waits for a bucket of so many messages.
func testView(initial uint64) *view[apikey.Key] {
	return &view[apikey.Key]{
		bucket:   New[apikey.Key](nil, apikey.Codec{}, Options{}),
		messages: make(chan jetstream.Msg, queueLen), failures: make(chan error, 1), done: make(chan struct{}),
		initial: initial, complete: initial == 0, entries: map[string]entry[apikey.Key]{},
	}
}

func someKey(tb testing.TB, name string) apikey.Key {
	tb.Helper()
	k, _, err := apikey.New(name, apikey.Reader, "acme", time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestViewNoticesAMissedMessage(t *testing.T) {
	a := someKey(t, "a")
	for _, seq := range []uint64{1, 3} { // again, and one too far
		v := testView(0)
		if err := v.take(stored(t, a, 1, 0)); err != nil {
			t.Fatal(err)
		}
		if err := v.take(marker(a, "KV-Operation", "DEL", seq)); !errors.Is(err, errMissed) {
			t.Errorf("message %d after 1: %v", seq, err)
		}
	}
}

func TestViewIsCompleteWithTheLastOfTheBucket(t *testing.T) {
	a, b := someKey(t, "a"), someKey(t, "b")
	v := testView(2)
	if err := v.take(stored(t, a, 1, 1)); err != nil || v.complete {
		t.Fatalf("after one of two: complete %v, %v", v.complete, err)
	}
	// Newer messages have come meanwhile: they are not waited for.
	if err := v.take(stored(t, b, 2, 5)); err != nil || !v.complete {
		t.Fatalf("after two of two: complete %v, %v", v.complete, err)
	}
	v = testView(2)
	// The other one was purged before it could be delivered.
	if err := v.take(stored(t, a, 1, 0)); err != nil || !v.complete {
		t.Fatalf("with nothing pending: complete %v, %v", v.complete, err)
	}
}

func TestViewKnowsEveryWayToRemoveAKey(t *testing.T) {
	a := someKey(t, "a")
	for _, m := range []message{
		marker(a, "KV-Operation", "DEL", 2), marker(a, "KV-Operation", "PURGE", 2),
		marker(a, "Nats-Marker-Reason", "MaxAge", 2), marker(a, "Nats-Marker-Reason", "Remove", 2),
	} {
		v := testView(0)
		var log logBuffer
		v.bucket.options.Logger = logTo(&log)
		if err := errors.Join(v.take(stored(t, a, 1, 0)), v.take(m)); err != nil || len(v.records()) != 0 {
			t.Errorf("%v: %v, %v", m.header, v.records(), err)
		}
		if log.String() != "" {
			t.Errorf("%v is taken for a corrupt record: %s", m.header, log.String())
		}
		if len(v.entries) != 1 {
			t.Errorf("%v: the bucket has %d ids, not 1", m.header, len(v.entries))
		}
	}
}

func TestViewAgrees(t *testing.T) {
	v := testView(0)
	if err := v.take(stored(t, someKey(t, "a"), 1, 0)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    state
		want bool
	}{
		"the same":               {state{delivered: 1, ids: 1}, true},
		"older, same ids":        {state{delivered: 0, ids: 1}, true},
		"one on its way":         {state{delivered: 2, ids: 1}, false},
		"one not sent":           {state{delivered: 1, pending: 1, ids: 1}, false},
		"purged":                 {state{delivered: 1, ids: 0}, false},
		"one more id":            {state{delivered: 1, ids: 2}, false},
		"could not be asked":     {state{err: nats.ErrTimeout}, false},
		"asked for the consumer": {state{delivered: 1, ids: 1, err: nats.ErrTimeout}, false},
	} {
		if got := v.agrees(c.s); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	v.complete = false
	if v.agrees(state{delivered: 1, ids: 1}) {
		t.Error("an incomplete view agrees")
	}
}

// A revocation that had arrived when the connection went holds while it is away.
func TestWhatArrivedBeforeADisconnectCounts(t *testing.T) {
	a := someKey(t, "a")
	for range 50 { // which of the two is looked at first is chance
		v := testView(0)
		if err := v.take(stored(t, a, 1, 0)); err != nil {
			t.Fatal(err)
		}
		set := newRecorder()
		f := follower[apikey.Key]{view: v, sink: set}
		v.messages <- marker(a, "KV-Operation", "PURGE", 2)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		whole, err := f.follow(ctx)
		if !whole || !errors.Is(err, context.Canceled) {
			t.Fatalf("follow gave %v, %v", whole, err)
		}
		if set.last() != "" {
			t.Fatalf("the set is %q", set.last())
		}
	}
}

func TestFollowerGivesUpAfterDoubts(t *testing.T) {
	set := newRecorder()
	v := testView(0)
	f := follower[apikey.Key]{view: v, sink: set}
	wrong := state{ids: 1}
	for i := range maxDoubts {
		agreed, err := f.judge(wrong)
		if agreed || (err != nil) != (i == maxDoubts-1) {
			t.Fatalf("doubt %d: %v, %v", i+1, agreed, err)
		}
	}
	f = follower[apikey.Key]{view: v, sink: set}
	for i := range 3 * maxDoubts { // never in a row
		if i%maxDoubts == maxDoubts-1 {
			if agreed, err := f.judge(state{}); !agreed || err != nil {
				t.Fatalf("check %d: %v, %v", i, agreed, err)
			}
		} else if _, err := f.judge(wrong); err != nil {
			t.Fatalf("check %d: %v", i, err)
		}
	}
	// A large bucket takes longer than the checks: messages are progress.
	v = testView(100)
	f = follower[apikey.Key]{view: v, sink: set}
	for i := range uint64(50) {
		v.messages <- stored(t, someKey(t, "k"), i+1, 100)
		if _, err := f.judge(state{delivered: 100, ids: 100}); err != nil {
			t.Fatalf("after message %d: %v", i+1, err)
		}
	}
	for _, gone := range []error{jetstream.ErrConsumerNotFound, jetstream.ErrStreamNotFound} {
		if _, err := (&follower[apikey.Key]{view: v, sink: set}).judge(state{err: gone}); !errors.Is(err, gone) {
			t.Errorf("%v: %v", gone, err)
		}
	}
}
