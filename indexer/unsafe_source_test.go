package indexer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// unsafeSource is a source whose stream suffers what streams can suffer.
type unsafeSource struct {
	*source
	dir  string // of the server
	made *workload
}

func newUnsafeSource(t *testing.T) *unsafeSource {
	t.Helper()
	seed, _ := random(t)
	dir := filepath.Join(t.TempDir(), "nats")
	return &unsafeSource{newSourceIn(t, dir), dir, newWorkload(seed)}
}

// more publishes n events and gives the last sequence. It publishes them one by one:
// a mirror, which restoreTo uses, drops the headers of atomic batches.
func (s *unsafeSource) more(n int) (last uint64) {
	s.Helper()
	s.connected()
	for range n {
		ack, err := s.js.PublishMsg(s.Context(), natsMessage(s.made.gen.Next()))
		if err != nil {
			s.Fatal(err)
		}
		last = ack.Sequence
	}
	return last
}

// copyAside keeps the server's directory as it is now.
func (s *unsafeSource) copyAside() (kept string) {
	s.Helper()
	kept = filepath.Join(s.TempDir(), "kept")
	streamtest.Stop(s.T, s.server)
	if err := os.CopyFS(kept, os.DirFS(s.dir)); err != nil {
		s.Fatal(err)
	}
	streamtest.StartAgain(s.T, s.server)
	s.connected()
	return kept
}

// putBack replaces the server's directory by what was kept.
func (s *unsafeSource) putBack(kept string) {
	s.Helper()
	streamtest.Stop(s.T, s.server)
	if err := errors.Join(os.RemoveAll(s.dir), os.CopyFS(s.dir, os.DirFS(kept))); err != nil {
		s.Fatal(err)
	}
	streamtest.StartAgain(s.T, s.server)
	s.connected()
}

func (s *unsafeSource) connected() {
	s.Helper()
	for s.nc.FlushTimeout(time.Second) != nil {
		if s.Context().Err() != nil {
			s.Fatal("not connected")
		}
	}
}

func (s *unsafeSource) info() *jetstream.StreamInfo {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err != nil {
		s.Fatal(err)
	}
	return st.CachedInfo()
}

func (s *unsafeSource) delete() {
	s.Helper()
	if err := s.js.DeleteStream(s.Context(), streamName); err != nil {
		s.Fatal(err)
	}
}

// make makes a stream. The server removes the directory of one that was deleted in
// its own time, and refuses a new one when it gets in the way.
func (s *unsafeSource) make(config jetstream.StreamConfig) {
	s.Helper()
	var err error
	for deadline := time.Now().Add(bounded); time.Now().Before(deadline); {
		if _, err = s.js.CreateStream(s.Context(), config); err == nil {
			return
		}
	}
	s.Fatal(err)
}

func (s *unsafeSource) recreate() {
	s.Helper()
	before := s.info().Created
	s.delete()
	s.make(jetstream.StreamConfig{Name: streamName, Subjects: []string{events.AllSubjects}, AllowAtomicPublish: true})
	if s.info().Created.Equal(before) {
		s.Fatal("the stream was not created anew")
	}
}

// restoreTo makes the stream anew with the messages that it has up to a sequence, as
// from a backup: at their sequences and with their times.
func (s *unsafeSource) restoreTo(last uint64) {
	s.Helper()
	before := s.info().Created
	backup := jetstream.StreamConfig{Name: "BACKUP", Mirror: &jetstream.StreamSource{Name: streamName}}
	s.make(backup)
	s.mirrored("BACKUP", s.info().State.LastSeq)
	backup.Mirror, backup.Subjects = nil, []string{"backup"}
	if _, err := s.js.UpdateStream(s.Context(), backup); err != nil {
		s.Fatal(err)
	}
	s.delete()
	restored := jetstream.StreamConfig{Name: streamName, Mirror: &jetstream.StreamSource{Name: "BACKUP"}}
	st, err := s.js.Stream(s.Context(), "BACKUP")
	if err != nil {
		s.Fatal(err)
	}
	for seq := st.CachedInfo().State.LastSeq; seq > last; seq-- {
		if err := st.DeleteMsg(s.Context(), seq); err != nil {
			s.Fatal(err)
		}
	}
	s.make(restored)
	s.mirrored(streamName, last)
	restored.Mirror, restored.Subjects, restored.AllowAtomicPublish = nil, []string{events.AllSubjects}, true
	if _, err := s.js.UpdateStream(s.Context(), restored); err != nil {
		s.Fatal(err)
	}
	if info := s.info(); info.Created.Equal(before) || info.State.LastSeq != last {
		s.Fatalf("the stream was created %s before and %s now, and ends at %d", before, info.Created, info.State.LastSeq)
	}
}

// mirrored waits until a mirror has come to a sequence.
func (s *unsafeSource) mirrored(name string, last uint64) {
	s.Helper()
	s.until(fmt.Sprintf("stream %s has sequence %d", name, last), func() bool {
		st, err := s.js.Stream(s.Context(), name)
		return err == nil && st.CachedInfo().State.LastSeq >= last
	})
}

// until waits for a condition.
func (s *unsafeSource) until(what string, holds func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), bounded)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !holds() {
		select {
		case <-look.C:
		case <-ctx.Done():
			s.Fatalf("waited %s until %s", bounded, what)
		}
	}
}

// purge removes the messages before a sequence.
func (s *unsafeSource) purge(before uint64) {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err == nil {
		err = st.Purge(s.Context(), jetstream.WithPurgeSequence(before))
	}
	if err != nil {
		s.Fatal(err)
	}
	if first := s.info().State.FirstSeq; first != before {
		s.Fatalf("after the purge the stream begins at %d, want %d", first, before)
	}
}

func (s *unsafeSource) erase(seq uint64) {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err == nil {
		err = st.DeleteMsg(s.Context(), seq)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// stored gives when the message at a sequence was stored, which tells it from others.
func (s *unsafeSource) stored(seq uint64) time.Time {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err != nil {
		s.Fatal(err)
	}
	m, err := st.GetMsg(s.Context(), seq)
	if err != nil {
		s.Fatalf("message %d: %v", seq, err)
	}
	return m.Time
}

// model gives the model of what the stream holds.
func (s *unsafeSource) model() *modeltest.Model {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err != nil {
		s.Fatal(err)
	}
	m := modeltest.New()
	for seq := uint64(1); seq <= st.CachedInfo().State.LastSeq; seq++ {
		raw, err := st.GetMsg(s.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			s.Fatal(err)
		}
		m.Apply(modeltest.Moment{Seq: seq, Nano: raw.Time.UnixNano()}, events.Message{Subject: raw.Subject, Header: raw.Header, Data: raw.Data})
	}
	return m
}
