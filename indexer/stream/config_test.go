package stream_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// bare is a server without the stream.
func bare(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{T: t, server: streamtest.Start(t)}
	w.nc = streamtest.Connect(t, w.server)
	w.js = jetStream(t, w.nc)
	return w
}

func (w *world) config() jetstream.StreamConfig {
	w.Helper()
	return w.stream().CachedInfo().Config
}

func TestEnsureMakesTheStream(t *testing.T) {
	w := bare(t)
	c := stream.Config{Name: name, MaxAge: time.Hour, MaxBytes: 1 << 30}
	if err := stream.Ensure(t.Context(), w.js, c); err != nil {
		t.Fatal(err)
	}
	have := w.config()
	if have.Retention != jetstream.LimitsPolicy || have.Discard != jetstream.DiscardNew || have.Storage != jetstream.FileStorage ||
		have.MaxAge != time.Hour || have.MaxBytes != 1<<30 || have.MaxMsgs != -1 || have.MaxMsgsPerSubject != -1 || have.Replicas != 1 ||
		!have.AllowAtomicPublish || have.Duplicates != 2*time.Minute || len(have.Subjects) != 1 || have.Subjects[0] != events.AllSubjects ||
		have.DenyDelete || have.DenyPurge {
		t.Errorf("made with %+v", have)
	}
	created := w.stream().CachedInfo().Created
	if err := stream.Ensure(t.Context(), w.js, c); err != nil {
		t.Fatal(err)
	}
	if again := w.stream().CachedInfo(); !again.Created.Equal(created) {
		t.Error("the stream was made anew")
	}
}

func TestEnsureAtOnce(t *testing.T) {
	w := bare(t)
	errs := make(chan error)
	const replicas = 8
	for range replicas {
		go func() { errs <- stream.Ensure(t.Context(), w.js, stream.Config{Name: name, Own: true}) }()
	}
	for range replicas {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestEnsureWithAShortAge(t *testing.T) {
	w := bare(t)
	if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name, MaxAge: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if have := w.config(); have.MaxAge != time.Minute || have.Duplicates != time.Minute {
		t.Errorf("made with age %s and window %s", have.MaxAge, have.Duplicates)
	}
}

func TestEnsureSetsLimitsOfItsOwnStreamOnly(t *testing.T) {
	w := bare(t)
	first := stream.Config{Name: name, MaxAge: time.Hour, MaxBytes: 1 << 30, Own: true}
	if err := stream.Ensure(t.Context(), w.js, first); err != nil {
		t.Fatal(err)
	}
	limits := func() (time.Duration, int64, time.Duration) {
		have := w.config()
		return have.MaxAge, have.MaxBytes, have.Duplicates
	}
	if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name, MaxAge: time.Minute, MaxBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if age, bytes, _ := limits(); age != time.Hour || bytes != 1<<30 {
		t.Errorf("the limits of a foreign stream became %s and %d", age, bytes)
	}
	for _, c := range []struct {
		age    time.Duration
		bytes  int64
		window time.Duration
	}{{time.Minute, 1 << 20, time.Minute}, {0, 0, 2 * time.Minute}, {0, -1, 2 * time.Minute}, {time.Hour, 1 << 40, 2 * time.Minute}} {
		if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name, MaxAge: c.age, MaxBytes: c.bytes, Own: true}); err != nil {
			t.Fatal(err)
		}
		want := c.bytes
		if want <= 0 {
			want = -1
		}
		if age, bytes, window := limits(); age != c.age || bytes != want || window != c.window {
			t.Errorf("with %+v the limits are %s, %d, window %s", c, age, bytes, window)
		}
	}
}

// A limit set from the outside stays where the stream is not ours, and an
// attribute that Ensure does not name stays where it is.
func TestEnsureKeepsWhatItDoesNotOwn(t *testing.T) {
	w := bare(t)
	existing := jetstream.StreamConfig{
		Name: name, Subjects: []string{events.AllSubjects}, Description: "theirs", MaxAge: time.Hour,
		Metadata: map[string]string{"owner": "them"}, AllowDirect: true,
	}
	if _, err := w.js.CreateStream(t.Context(), existing); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name, Own: true, MaxBytes: 1 << 20}); err == nil {
		have := w.config()
		if have.Description != "theirs" || have.Metadata["owner"] != "them" || !have.AllowDirect {
			t.Errorf("the configuration became %+v", have)
		}
		if have.MaxBytes > 0 && have.Discard != jetstream.DiscardNew {
			t.Error("a size limit was set on a stream that discards old messages: it would lose them")
		}
	} else if !errors.Is(err, stream.ErrUnfit) {
		t.Fatal(err)
	}
}

func TestEnsureRefusesUnfitStreams(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*jetstream.StreamConfig)
		fits   bool
	}{
		"plain":                {func(*jetstream.StreamConfig) {}, true},
		"work queue":           {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, false},
		"interest":             {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, false},
		"other subjects":       {func(c *jetstream.StreamConfig) { c.Subjects = []string{"assignments.*.events"} }, false},
		"more subjects":        {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "other.>") }, false},
		"every subject":        {func(c *jetstream.StreamConfig) { c.Subjects = []string{"assignments.>", "x"} }, false},
		"one of a subject":     {func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, false},
		"old go at a size":     {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, false},
		"old go at a count":    {func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, false},
		"new refused at size":  {func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1<<20, jetstream.DiscardNew }, true},
		"new refused at count": {func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 10, jetstream.DiscardNew }, true},
		"old go by age":        {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, true},
		"memory":               {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := bare(t)
			config := jetstream.StreamConfig{Name: "S", Subjects: []string{events.AllSubjects}}
			c.change(&config)
			if _, err := w.js.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			err := stream.Ensure(t.Context(), w.js, stream.Config{Name: "S"})
			if c.fits != (err == nil) || !c.fits && !errors.Is(err, stream.ErrUnfit) {
				t.Errorf("Ensure gave %v", err)
			}
		})
	}
}

// Another stream that listens on our subjects is the server's to refuse.
func TestEnsureReportsAnOverlap(t *testing.T) {
	w := bare(t)
	if _, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"assignments.t.>"}}); err != nil {
		t.Fatal(err)
	}
	if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name}); err == nil {
		t.Error("the stream was made although another one takes its events")
	}
}

// At its size limit the stream refuses events and keeps those it has.
func TestFullStreamRefusesEvents(t *testing.T) {
	w := bare(t)
	if err := stream.Ensure(t.Context(), w.js, stream.Config{Name: name, MaxBytes: 4096, Own: true}); err != nil {
		t.Fatal(err)
	}
	var err error
	stored := 0
	for err == nil && stored < 1000 {
		if _, err = w.js.PublishMsg(t.Context(), message("0123456789")); err == nil {
			stored++
		}
	}
	state := w.stream().CachedInfo().State
	if err == nil || state.FirstSeq != 1 || state.Msgs != uint64(stored) {
		t.Errorf("after %d events: %v; the stream holds %d from %d", stored, err, state.Msgs, state.FirstSeq)
	}
}
