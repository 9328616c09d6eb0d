package rebuild_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
)

// trim removes the messages of the stream before a sequence.
func (s *source) trim(first uint64) {
	s.Helper()
	st, err := s.js.Stream(s.Context(), streamName)
	if err == nil {
		err = st.Purge(s.Context(), jetstream.WithPurgeSequence(first))
	}
	if err != nil {
		s.Fatal(err)
	}
}

// openStore opens the current generation of a data directory that nobody has open.
func openStore(t *testing.T, data string) *store.Store {
	t.Helper()
	dir, err := generation.Current(data)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// An instant before every message names nothing that could be built, and by no means
// the whole stream.
func TestUntilBeforeAllMessages(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	began := time.Now().Add(-time.Hour)
	refused := func(o rebuild.Options) {
		t.Helper()
		dir := filepath.Join(o.DataDir, "until")
		report, err := rebuild.BuildUntil(t.Context(), o, rebuild.Until{Time: began}, dir, nil)
		if !errors.Is(err, rebuild.ErrCannotBuild) {
			t.Errorf("%+v, %v", report, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it left something: %v", err)
		}
	}
	o := options(s.url, t.TempDir())
	refused(o)
	s.publish(20)
	refused(o)
	s.trim(10)
	o.AcceptTrimmed = true
	refused(o) // which sequence that was nobody knows
	report, err := rebuild.BuildUntil(t.Context(), o, rebuild.Until{Time: time.Now().Add(time.Minute)}, filepath.Join(o.DataDir, "now"), nil)
	if err != nil || report.Seq != s.last {
		t.Errorf("until now: %+v, %v", report, err)
	}
	s.trim(s.last + 1)
	refused(o)
}

func TestAFrozenIndexIsNotRebuilt(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(20)
	o := options(s.url, t.TempDir())
	dir := filepath.Join(o.DataDir, "until")
	if _, err := rebuild.BuildUntil(t.Context(), o, rebuild.Until{Seq: 10}, dir, nil); err != nil {
		t.Fatal(err)
	}
	report, err := rebuild.Offline(t.Context(), options(s.url, dir), rebuild.Request{}, nil)
	if !errors.Is(err, rebuild.ErrCannotBuild) || current(t, dir) != "index" {
		t.Errorf("%+v, %v, current is %s", report, err, current(t, dir))
	}
}

// Where sequences that the index has applied hold other messages now, the fresh index
// is of another incarnation: what was said of them before is not what it says.
func TestReusedSequencesAreAnotherIncarnation(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(50)
	data := s.filled()
	st := openStore(t, data)
	at := st.Applied()
	at.Fingerprint = make([]byte, len(at.Fingerprint))
	b := st.NewBatch(nil)
	b.At(at.Seq)
	if err := errors.Join(b.Commit(at), st.AdvanceFloor(at.Seq), st.Close()); err != nil {
		t.Fatal(err)
	}
	s.publish(10)
	h := s.mustServe(data)
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	report, err := rebuild.New(h.Host, options(s.url, data)).Rebuild(ctx, rebuild.Request{}, nil)
	if report != nil || !errors.Is(err, indexer.ErrOtherStream) || !errors.Is(err, rebuild.ErrCannotBuild) || current(t, data) != "index" {
		t.Errorf("under readers: %+v, %v, current is %s", report, err, current(t, data))
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	kept, err := rebuild.Offline(ctx, options(s.url, data), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || kept.Swapped {
		t.Errorf("%+v, %v", kept, err)
	}
	report, err = rebuild.Offline(ctx, options(s.url, data), rebuild.Request{}, nil)
	if err != nil || !report.Swapped || !report.Differs() || report.Stream == at.Stream.Incarnation {
		t.Fatalf("of a stopped server: %+v, %v; it was %s", report, err, at.Stream.Incarnation)
	}
	h = s.mustServe(data) // it takes the stream for its own
	s.publish(5)
	s.wait(h.Index())
	if _, is := h.Index().Applied(); is != report.Stream {
		t.Errorf("the incarnation is %s, it was told as %s", is, report.Stream)
	}
}

// Nothing is known of the sequences before the first one that the stream holds, and
// nothing may be said of them.
func TestATrimmedStreamHasNoHistory(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(30)
	data := s.filled() // and is stopped for long
	s.publish(30)
	s.trim(50)
	o := options(s.url, data)
	o.AcceptTrimmed = true
	report, err := rebuild.Offline(t.Context(), o, rebuild.Request{}, nil)
	if err != nil || !report.Swapped || !report.Differs() || report.Seq != s.last {
		t.Fatalf("%+v, %v", report, err)
	}
	st := openStore(t, data)
	defer st.Close()
	if _, err := st.View(40); st.Floor() != 49 || !errors.Is(err, store.ErrPruned) {
		t.Errorf("the floor is %d; sequence 40: %v", st.Floor(), err)
	}
}

// A snapshot lacks nothing, so that it goes before what the rest of a stream says.
func TestASnapshotGoesBeforeATrimmedStream(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(30)
	s.trim(10)
	data := t.TempDir()
	h := s.mustServeTrimmed(data)
	s.wait(h.Index())
	o := options(s.url, data)
	o.AcceptTrimmed = true
	broken, asked := errors.New("broken"), 0
	o.Restore = func(context.Context, string, uint64) (uint64, error) {
		asked++
		return 0, broken
	}
	if report, err := rebuild.New(h.Host, o).Rebuild(t.Context(), rebuild.Request{}, nil); !errors.Is(err, broken) || asked != 1 {
		t.Errorf("%+v, %v, snapshots were asked for %d times", report, err, asked)
	}
	o.Restore = func(context.Context, string, uint64) (uint64, error) { return 0, snapshotbucket.ErrNone }
	report, err := rebuild.New(h.Host, o).Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || !report.Swapped || report.Built != s.last {
		t.Errorf("without one: %+v, %v", report, err)
	}
}

// An index that stays as it is may be older than the history that the fresh one keeps.
func TestTheIndexBeforeIsOlderThanTheHistory(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(30)
	data := s.filled()
	s.publish(30)
	st := openStore(t, data)
	h, stop := s.serveStill(st)
	defer stop()
	o := options(s.url, data)
	opened := make(chan *store.Store, 1)
	o.Store = func(dir string) (*store.Store, error) {
		st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
		if err == nil {
			opened <- st
		}
		return st, err
	}
	var fresh *store.Store
	report, err := rebuild.New(h, o).Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, func(p audit.Progress) {
		if p.Check != audit.CheckFiles {
			return
		}
		if fresh == nil {
			fresh = <-opened
		}
		if err := fresh.AdvanceFloor(fresh.Applied().Seq); err != nil { // as its indexer may
			t.Error(err)
		}
	})
	if err != nil || !report.Swapped || report.Seq != 30 || report.Differs() {
		t.Errorf("%+v, %v", report, err)
	}
}

// While somebody reads in the index before, the failure of the new one is not hidden.
func TestTheFreshIndexFailsUnderALongRead(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(30)
	data := s.TempDir()
	st := openStore(t, data)
	reader, err := open(s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	h := indexer.NewHost(&indexer.Generation{Store: st, Stream: reader, Close: st.Close}, indexer.Options{History: time.Hour, Logger: zerolog.Nop()})
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- h.Run(ctx) }()
	s.wait(h.Index())

	_, leave := h.Index().Hold() // a long read
	defer leave()
	broken := errors.New("broken")
	var fail atomic.Bool
	o := options(s.url, data)
	o.Store = func(dir string) (*store.Store, error) {
		return store.Open(store.Options{Dir: dir, Logger: zerolog.Nop(), Fault: func(at fault.Point, _ bool) error {
			if at == fault.Watermark && fail.Load() {
				return broken
			}
			return nil
		}})
	}
	type result struct {
		report *rebuild.Report
		err    error
	}
	rebuilt, told := make(chan result, 1), make(chan struct{}, 100)
	go func() {
		report, err := rebuild.New(h, o).Rebuild(ctx, rebuild.Request{}, func(p audit.Progress) {
			if p.Check == rebuild.StepSwap {
				told <- struct{}{}
			}
		})
		rebuilt <- result{report, err}
	}()
	for range 3 { // what waits for a reader says so
		select {
		case <-told:
		case <-ctx.Done():
			t.Fatal("it is not told that a reader is waited for")
		}
	}
	fail.Store(true)
	s.publish(1)
	select {
	case err := <-ran:
		if !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
	case <-ctx.Done():
		t.Error("Run does not end while somebody reads in the index before")
	}
	leave()
	if r := <-rebuilt; r.err != nil || !r.report.Swapped {
		t.Errorf("%+v, %v", r.report, r.err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// full is a disk that has room when a rebuild begins, and none when it writes.
type full struct{}

func (full) Low(string) bool       { return true }
func (full) Room(bytes int64) bool { return bytes > 0 }
func (full) Wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// A fresh index that fills the disk is given up: what is served waits for room, too.
func TestADiskThatFills(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(300)
	data := s.filled()
	h := s.mustServe(data)
	o := options(s.url, data)
	o.Disk = full{}
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	if _, err := rebuild.New(h.Host, o).Rebuild(ctx, rebuild.Request{}, nil); !errors.Is(err, rebuild.ErrNoRoom) {
		t.Error(err)
	}
	if _, err := rebuild.New(h.Host, o).BuildUntil(ctx, rebuild.Until{Seq: 200}, nil); !errors.Is(err, rebuild.ErrNoRoom) {
		t.Errorf("until: %v", err)
	}
	if got := generations(t, data); len(got) != 1 {
		t.Errorf("generations are %v", got)
	}
}

// The tables of a fresh index are not written on when nobody wants it any more.
func TestCancelWhileTablesAreWritten(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(300)
	data := s.filled()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := options(s.url, data)
	o.Fault = func(at fault.Point, done bool) error {
		if at == fault.BuildTables && !done {
			cancel()
		}
		if at == fault.BuildTables && done {
			t.Error("all tables were written")
		}
		return nil
	}
	if _, err := rebuild.Offline(ctx, o, rebuild.Request{}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
