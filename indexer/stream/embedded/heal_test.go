package embedded_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/deploy/loopfstest"
	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// TestHealAfterAFullDisk first shows the fault: after a write that failed on a full
// disk the stream takes nothing, although there is room again.
func TestHealAfterAFullDisk(t *testing.T) {
	fs := loopfstest.New(t, t.TempDir(), 64<<20)
	s := embedded.New(embedded.Options{StoreDir: fs.Dir + "/nats", Listen: "127.0.0.1:0", Logger: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)})
	if err := s.Check(); !errors.Is(err, embedded.ErrNotRunning) {
		t.Errorf("before the start: %v", err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	js, err := jetstream.New(streamtest.Connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := uint64(0)
	publish := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ack, err := js.Publish(ctx, "s.a", []byte(strings.Repeat("x", 10_000)))
		if err == nil {
			acknowledged = ack.Sequence
		}
		return err
	}
	if err := errors.Join(publish(), s.Check()); err != nil {
		t.Fatal(err)
	}
	ballast := fs.Fill(t, 0)
	for s.Check() == nil {
		if err := publish(); err != nil {
			t.Logf("on the full disk after %d messages: %v", acknowledged, err)
		}
	}
	if err := s.Check(); !errors.Is(err, embedded.ErrStore) {
		t.Fatalf("on the full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := publish(); err == nil || !errors.Is(s.Check(), embedded.ErrStore) {
		t.Fatalf("with room again, and not started again: %v, %v", err, s.Check())
	}

	ctx, stop := context.WithCancel(t.Context())
	healed := make(chan error, 1)
	go func() { healed <- s.Heal(ctx, func() bool { return true }) }()
	for publish() != nil {
		if t.Context().Err() != nil {
			t.Fatal("it does not heal")
		}
	}
	stop()
	if err := <-healed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if state := stream.CachedInfo().State; state.FirstSeq != 1 || state.LastSeq < acknowledged || state.Msgs != state.LastSeq {
		t.Errorf("the stream holds %d messages from %d to %d, acknowledged were %d", state.Msgs, state.FirstSeq, state.LastSeq, acknowledged)
	}
}
