package rebuild_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/audit"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/verify"
)

func current(t *testing.T, data string) string {
	t.Helper()
	dir, err := generation.Current(data)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(dir)
}

// The fresh index stands in for the one before: its digest, its incarnation, its history
// back to the floor, and it goes on.
func TestRebuild(t *testing.T) {
	seed, rng := random(t)
	s := newSource(t, seed)
	s.publish(300)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	st, release := h.Index().Hold()
	floor := rng.Uint64N(s.last) + 1
	if err := st.AdvanceFloor(floor); err != nil {
		t.Fatal(err)
	}
	release()
	digests := map[uint64]string{}
	for seq := floor; seq <= s.last; seq++ {
		digest, _, err := h.Index().Digest(seq)
		if err != nil {
			t.Fatal(err)
		}
		digests[seq] = digest
	}
	_, incarnation := h.Index().Applied()
	steps := map[string]bool{}
	r := rebuild.New(h.Host, options(s.url, data))
	report, err := r.Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, func(p audit.Progress) { steps[p.Check] = true })
	if err != nil || !report.Swapped || report.Differs() || report.Digest != digests[s.last] || report.Built != s.last || len(report.Checks) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, step := range []string{rebuild.StepWrite, rebuild.StepFollow, audit.CheckFiles, audit.CheckRebuild, audit.CheckDigest, rebuild.StepSwap, rebuild.StepRemove} {
		if !steps[step] {
			t.Errorf("the step %s was not told: %v", step, steps)
		}
	}
	if all := generations(t, data); len(all) != 1 || all[0] != "index-2" || current(t, data) != "index-2" {
		t.Errorf("generations are %v", all)
	}
	if _, now := h.Index().Applied(); now != incarnation || h.Index().Floor() != floor {
		t.Errorf("incarnation %s, was %s; floor %d, was %d", now, incarnation, h.Index().Floor(), floor)
	}
	for seq, want := range digests {
		if got, _, err := h.Index().Digest(seq); err != nil || got != want {
			t.Errorf("at sequence %d: %s, %v, want %s", seq, got, err, want)
		}
	}
	if _, _, err := h.Index().Digest(floor - 1); !errors.Is(err, listing.ErrPruned) && floor > 0 {
		t.Errorf("below the floor: %v", err)
	}
	s.publish(50)
	s.wait(h.Index())
	again, err := r.Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || !again.Swapped || current(t, data) != "index-3" {
		t.Errorf("again: %+v, %v", again, err)
	}
}

// spoil writes a row into the index of a data directory that nobody has open that no
// event has written.
func spoil(t *testing.T, s *source, data string) {
	t.Helper()
	dir, err := generation.Current(data)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{Dir: dir, Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	view, err := st.View(s.last)
	if err != nil {
		t.Fatal(err)
	}
	var row []byte
	if err := view.Range([]byte{'n'}, nil, func(key, _ []byte) bool {
		row = append([]byte(nil), key...)
		return false
	}); err != nil || row == nil {
		t.Fatalf("no entity to spoil: %v", err)
	}
	view.Close()
	at := st.Applied()
	b := st.NewBatch(nil)
	b.At(at.Seq)
	if err := b.Delete(row); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(at); err != nil {
		t.Fatal(err)
	}
}

func TestADifferenceIsReported(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(200)
	s.say(`{"usr_id":"u","ent_id":"e"}`)
	data := s.filled()
	want := s.digest(data)
	spoil(t, s, data)
	kept, err := rebuild.Offline(t.Context(), options(s.url, data), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || kept.Swapped || !kept.Differs() || current(t, data) != "index" || len(generations(t, data)) != 1 {
		t.Fatalf("%+v, %v, %v", kept, err, generations(t, data))
	}
	h := s.mustServe(data)
	r := rebuild.New(h.Host, options(s.url, data))
	if kept, err := r.Rebuild(t.Context(), rebuild.Request{RequireEqual: true}, nil); err != nil || kept.Swapped || !kept.Differs() || current(t, data) != "index" {
		t.Fatalf("served: %+v, %v", kept, err)
	}
	report, err := r.Rebuild(t.Context(), rebuild.Request{}, nil)
	if err != nil || !report.Swapped || !report.Differs() {
		t.Fatalf("%+v, %v", report, err)
	}
	if check := report.Checks[1]; check.Differences == 0 || len(check.Found) == 0 {
		t.Errorf("%+v", check)
	}
	if got, _, err := h.Index().Digest(s.last); err != nil || got != want {
		t.Errorf("healed: %s, %v, want %s", got, err, want)
	}
}

// Whatever fails before the swap leaves the index served, as it was; and a failure
// behind it leaves the fresh one.
func TestFaults(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(300)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	broken := errors.New("broken")
	for _, at := range points {
		for _, done := range []bool{false, true} {
			o := options(s.url, data)
			hit := false
			o.Fault = func(p fault.Point, after bool) error {
				if p == at && after == done && !hit {
					hit = true
					return broken
				}
				return nil
			}
			if err := rebuild.Sweep(data); err != nil { // what the fault before has left
				t.Fatal(err)
			}
			before := current(t, data)
			report, err := rebuild.New(h.Host, o).Rebuild(t.Context(), rebuild.Request{}, nil)
			if !hit || !errors.Is(err, broken) {
				t.Fatalf("%s, done %v: %v, come by: %v", at, done, err, hit)
			}
			swapped := at == fault.Sweep || (at == fault.Swap && done)
			if (report != nil && report.Swapped) != swapped || (current(t, data) != before) != swapped {
				t.Errorf("%s, done %v: %+v, current is %s, was %s", at, done, report, current(t, data), before)
			}
			s.say(`{"usr_id":"u%d","ent_id":"e"}`, s.last)
			s.wait(h.Index()) // what is served is kept up
		}
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if err := rebuild.Sweep(data); err != nil {
		t.Fatal(err)
	}
	if got := s.digest(data); len(generations(t, data)) != 1 || got != s.digest(s.filled()) {
		t.Errorf("generations are %v", generations(t, data))
	}
}

// Cut off at any step of its progress, a rebuild leaves the index served.
func TestCancel(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(300)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	for _, step := range []string{rebuild.StepWrite, rebuild.StepFollow, audit.CheckFiles, audit.CheckRebuild, audit.CheckDigest} {
		ctx, cancel := context.WithCancel(t.Context())
		report, err := rebuild.New(h.Host, options(s.url, data)).Rebuild(ctx, rebuild.Request{}, func(p audit.Progress) {
			if p.Check == step {
				cancel()
			}
		})
		cancel()
		if report != nil || !errors.Is(err, context.Canceled) || current(t, data) != "index" || len(generations(t, data)) != 1 {
			t.Errorf("%s: %+v, %v, %v", step, report, err, generations(t, data))
		}
		s.publish(5)
		s.wait(h.Index())
	}
}

func TestOneAtATime(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(10)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	r := rebuild.New(h.Host, options(s.url, data))
	var second, until error
	if _, err := r.Rebuild(t.Context(), rebuild.Request{}, func(p audit.Progress) {
		if p.Check == rebuild.StepFollow {
			_, second = r.Rebuild(t.Context(), rebuild.Request{}, nil)
			_, until = r.BuildUntil(t.Context(), rebuild.Until{Seq: 1}, nil)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(second, rebuild.ErrRunning) || !errors.Is(until, rebuild.ErrRunning) {
		t.Errorf("%v, %v", second, until)
	}
}

// room is a disk that has no room for another index.
type room struct{}

func (room) Wait(context.Context) error { return nil }
func (room) Low(string) bool            { return false }
func (room) Room(int64) bool            { return false }

func TestWhatCannotBeBuilt(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(50)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	o := options(s.url, data)
	o.Disk = room{}
	if _, err := rebuild.New(h.Host, o).Rebuild(t.Context(), rebuild.Request{}, nil); !errors.Is(err, rebuild.ErrNoRoom) {
		t.Errorf("no room: %v", err)
	}
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(t.Context(), jetstream.WithPurgeSequence(10)); err != nil {
		t.Fatal(err)
	}
	r := rebuild.New(h.Host, options(s.url, data))
	if _, err := r.Rebuild(t.Context(), rebuild.Request{}, nil); !errors.Is(err, rebuild.ErrCannotBuild) {
		t.Errorf("a trimmed stream: %v", err)
	}
	if _, err := r.BuildUntil(t.Context(), rebuild.Until{Seq: s.last + 1}, nil); !errors.Is(err, rebuild.ErrCannotBuild) {
		t.Errorf("above the end: %v", err)
	}
	if got := generations(t, data); len(got) != 1 || current(t, data) != "index" {
		t.Errorf("generations are %v", got)
	}
}

// An index as it was: at a sequence, and at an instant.
func TestBuildUntil(t *testing.T) {
	seed, rng := random(t)
	s := newSource(t, seed)
	s.publish(200)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	r := rebuild.New(h.Host, options(s.url, data))
	st, err := s.js.Stream(t.Context(), streamName)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		seq := rng.Uint64N(s.last) + 1
		m, err := st.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range []rebuild.Until{{Seq: seq}, {Time: m.Time}, {Time: m.Time.Add(-1)}} {
			if err := os.RemoveAll(filepath.Join(data, u.Name())); err != nil { // drawn before
				t.Fatal(err)
			}
			report, err := r.BuildUntil(t.Context(), u, nil)
			if u.Time.Equal(m.Time.Add(-1)) && seq == 1 {
				if !errors.Is(err, rebuild.ErrCannotBuild) {
					t.Errorf("before the first message: %+v, %v", report, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%+v: %v", u, err)
			}
			want := seq
			if !u.Time.IsZero() {
				if want, err = h.Index().SequenceAt(t.Context(), u.Time); err != nil {
					t.Fatal(err)
				}
			}
			digest, count, err := h.Index().Digest(want)
			if err != nil || report.Seq != want || report.Digest != digest || report.Assignments != count {
				t.Errorf("%+v: %+v, want %s at %d, %v", u, report, digest, want, err)
			}
			frozen, err := generation.ReadFrozen(report.Dir)
			if err != nil || frozen == nil || frozen.Seq != want || frozen.Stream != report.Stream {
				t.Errorf("%+v: %+v, %v", u, frozen, err)
			}
			if _, err := r.BuildUntil(t.Context(), u, nil); !errors.Is(err, rebuild.ErrExists) {
				t.Errorf("again: %v", err)
			}
		}
	}
	if current(t, data) != "index" || len(generations(t, data)) != 1 {
		t.Errorf("generations are %v", generations(t, data))
	}
	partial, err := filepath.Glob(filepath.Join(data, "*.partial"))
	if err != nil || len(partial) > 0 {
		t.Errorf("left: %v", partial)
	}
}

// No message tells what was before the first one.
func TestUntilBeforeTheFirstMessage(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	data := t.TempDir()
	u := rebuild.Until{Time: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, publish := range []int{0, 3} {
		s.publish(publish)
		if report, err := rebuild.BuildUntil(t.Context(), options(s.url, data), u, filepath.Join(data, u.Name()), nil); !errors.Is(err, rebuild.ErrCannotBuild) {
			t.Errorf("%d messages: %+v, %v", publish, report, err)
		}
	}
}

func TestSweep(t *testing.T) {
	data := t.TempDir()
	for _, name := range []string{"index", "index-2", "until-7.partial", "until-7", "nats"} {
		if err := os.MkdirAll(filepath.Join(data, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := rebuild.Sweep(data); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "index nats until-7" {
		t.Errorf("left: %s", got)
	}
}

// A swap waits for nobody but those who read in the index before, and they read on.
func TestReadersAcrossTheSwap(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(100)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	st, release := h.Index().Hold()
	want, _, err := h.Index().Digest(s.last)
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), bounded)
		defer cancel()
		waited <- h.Index().Wait(ctx, s.last+1)
	}()
	swapping := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		report, err := rebuild.New(h.Host, options(s.url, data)).Rebuild(context.Background(), rebuild.Request{}, func(p audit.Progress) {
			if p.Check == rebuild.StepSwap {
				close(swapping)
			}
		})
		if err == nil && !report.Swapped {
			err = fmt.Errorf("%+v", report)
		}
		done <- err
	}()
	<-swapping
	s.say(`{"usr_id":"u","ent_id":"e"}`)
	if err := <-waited; err != nil { // who waited in the index before
		t.Error(err)
	}
	select {
	case err := <-done:
		t.Errorf("the index was closed under a reader: %v", err)
	default:
	}
	if err := st.Wait(t.Context(), s.last+100); err == nil || current(t, data) == "index" {
		t.Errorf("the index before is still kept up: %v, current is %s", err, current(t, data))
	}
	view, err := st.View(s.last - 1)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := audit.Digest(verify.NewSource(t.Context(), view, 1, nil))
	view.Close()
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	release()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(generations(t, data)) != 1 {
		t.Errorf("generations are %v", generations(t, data))
	}
}

// An index whose stream was made anew meanwhile is not swapped.
func TestAnotherStreamIsNotSwapped(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(50)
	data := s.TempDir()
	h := s.mustServe(data)
	s.wait(h.Index())
	o := options(s.url, data)
	opens := 0
	o.Stream = func(context.Context, string) (verify.Stream, error) {
		if opens++; opens == 1 {
			if err := s.js.DeleteStream(t.Context(), streamName); err != nil {
				return nil, err
			}
			if _, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"assignments.>"}}); err != nil {
				return nil, err
			}
			s.publish(60)
		}
		return open(s.url)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bounded)
	defer cancel()
	report, err := rebuild.New(h.Host, o).Rebuild(ctx, rebuild.Request{}, nil)
	if report != nil || !errors.Is(err, indexer.ErrOtherStream) || current(t, data) != "index" {
		t.Errorf("%+v, %v, current is %s", report, err, current(t, data))
	}
}

// Of a stopped server the index is built from whichever stream is there: that is how an
// operator goes on after its own was lost.
func TestOfflineFromAnotherStream(t *testing.T) {
	seed, _ := random(t)
	s := newSource(t, seed)
	s.publish(60)
	data := s.filled()
	if err := s.js.DeleteStream(t.Context(), streamName); err != nil {
		t.Fatal(err)
	}
	if _, err := s.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: streamName, Subjects: []string{"assignments.>"}}); err != nil {
		t.Fatal(err)
	}
	s.publish(40)
	kept, err := rebuild.Offline(t.Context(), options(s.url, data), rebuild.Request{RequireEqual: true}, nil)
	if err != nil || kept.Swapped || !kept.Differs() {
		t.Errorf("%+v, %v", kept, err)
	}
	report, err := rebuild.Offline(t.Context(), options(s.url, data), rebuild.Request{}, nil)
	if err != nil || !report.Swapped || report.Seq != 40 || current(t, data) == "index" {
		t.Fatalf("%+v, %v", report, err)
	}
	if got := s.digest(data); got != report.Digest || got != s.digest(s.filled()) {
		t.Errorf("the digest is %s, told was %s", got, report.Digest)
	}
}
