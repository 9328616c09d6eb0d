package indexer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// act is what an index does when a fault comes.
type act string

const (
	applying   act = "applying"   // what the stream has and the index has not
	forgetting act = "forgetting" // with a window so short that the floor follows the watermark
	reclaiming act = "reclaiming" // giving room back, over and over
	opening    act = "opening"
	undoing    act = "undoing" // what the stream has lost
)

// scenes tell where each point is come by: from which index, doing what, and how
// often at least.
var scenes = map[fault.Point]struct {
	from  string
	doing act
	times int
}{
	fault.Fetch:          {"half", applying, 60},
	fault.Decode:         {"half", applying, 60},
	fault.Fold:           {"half", applying, 60},
	fault.Flush:          {"half", applying, 8},
	fault.Watermark:      {"half", applying, 8},
	fault.Wide:           {"wide", applying, 1},
	fault.Count:          {"new", opening, 1},
	fault.Floor:          {"half", forgetting, 2},
	fault.Prune:          {"half", forgetting, 2},
	fault.ReclaimMark:    {"half", reclaiming, 2},
	fault.ReclaimTurn:    {"half", reclaiming, 2},
	fault.ReclaimCompact: {"half", reclaiming, 2},
	fault.Open:           {"half", opening, 1},
	fault.OpenUndo:       {"crashed", opening, 1},
	fault.UndoBegin:      {"parted", undoing, 1},
	fault.UndoVersions:   {"parted", undoing, 1},
	fault.UndoTimeline:   {"parted", undoing, 1},
	fault.UndoCount:      {"parted", undoing, 1},
	fault.UndoEnd:        {"parted", undoing, 1},
}

// eachPoint visits every point, before and after its step or at random one of both,
// with a number that is at most how often it is come by.
func eachPoint(t *testing.T, rng *rand.Rand, both bool, visit func(t *testing.T, at fault.Point, done bool, nth int)) {
	t.Helper()
	for _, at := range fault.Points {
		scene, known := scenes[at]
		if !known {
			t.Errorf("no scene has the point %q", at)
			continue
		}
		form := rng.IntN(2) == 0
		for _, done := range []bool{false, true} {
			if !both && done != form {
				continue
			}
			nth := 1 + rng.IntN(scene.times)
			t.Run(fmt.Sprintf("%s/%s", at, map[bool]string{false: "not done", true: "done"}[done]), func(t *testing.T) { visit(t, at, done, nth) })
		}
	}
}

// stage holds a stream and indexes of it, made once for all points. What is fresh is
// an index that nothing happened to.
type stage struct {
	*source
	last     uint64
	partings uint64 // that an index of it has been through at last
	fresh    *node
	dirs     map[string]string

	mu      sync.Mutex
	digests map[moment]string // of fresh, and of what was lost
}

// moment is a sequence in one of the lives of a stream.
type moment struct{ partings, seq uint64 }

// theatre is the stages of a test.
type theatre struct{ whole, wide, parted *stage }

// of gives the stage of an index.
func (th theatre) of(from string) *stage {
	switch from {
	case "parted":
		return th.parted
	case "wide":
		return th.wide
	default:
		return th.whole
	}
}

func newTheatre(t *testing.T, seed uint64) theatre {
	t.Helper()
	made := newWorkload(seed)
	var random []events.Message
	for range 150 {
		random = append(random, made.gen.Next())
	}
	th := theatre{whole: newStage(t, "half", random[:60], random[60:]), parted: newPartedStage(t, random)}
	th.whole.is(t, random)
	th.wide = newStage(t, "wide", wideApplication(), []events.Message{say(events.ApplicationDeleted, `{"app_id":"wide"}`)})

	// A crash with a batch above the watermark.
	th.whole.dirs["new"] = ""
	th.whole.dirs["crashed"] = th.whole.copyOf(t, "half")
	hits := 0
	l := th.whole.life(th.whole.dirs["crashed"], applying)
	l.hook = failing(fault.Watermark, false, 1, &hits)
	if err := l.live(t.Context()); !errors.Is(err, errFault) {
		t.Fatalf("no crash: %v", err)
	}
	return th
}

// wideApplication gives an application so many entitlements that its deletion is
// more than one transaction can count.
func wideApplication() []events.Message {
	messages := make([]events.Message, 2300)
	for i := range messages {
		messages[i] = say(events.AssignmentUpserted, `{"usr_id":"wide%d","ent_id":"%s%d","app_id":"wide"}`, i%7, strings.Repeat("e", 1000), i)
	}
	return messages
}

// newStage makes a stream of two parts, and an index of the first.
func newStage(t *testing.T, name string, first, rest []events.Message) *stage {
	t.Helper()
	st := &stage{source: newSource(t), dirs: map[string]string{name: t.TempDir()}, digests: map[moment]string{}}
	half := st.publish(first...)
	n := st.nodeIn(t, st.dirs[name])
	n.start(indexer.Options{})
	n.wait(half)
	n.close()
	st.last = st.publish(rest...)
	st.build()
	return st
}

// newPartedStage makes a stream whose end was lost and replaced, and an index that
// has applied what was lost.
func newPartedStage(t *testing.T, random []events.Message) *stage {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "nats")
	s := &unsafeSource{source: newSourceIn(t, dir), dir: dir}
	st := &stage{source: s.source, partings: 1, dirs: map[string]string{"parted": t.TempDir()}, digests: map[moment]string{}}
	n := st.nodeIn(t, st.dirs["parted"])
	n.start(quickly)
	n.wait(st.publish(random[:80]...))
	aside := s.copyAside()
	lost := st.publish(random[80:]...)
	n.wait(lost)
	st.digests[moment{0, lost}] = n.digest(lost)
	n.close()
	s.putBack(aside)
	st.last = st.publish(random[110:]...)
	st.build()
	st.is(t, append(random[:80:80], random[110:]...))
	return st
}

// build makes the fresh index.
func (st *stage) build() {
	st.Helper()
	st.fresh = st.node()
	st.fresh.start(indexer.Options{})
	st.fresh.wait(st.last)
	st.fresh.stop()
}

// is compares the fresh index with the model of a stream.
func (st *stage) is(t *testing.T, messages []events.Message) {
	t.Helper()
	model := modeltest.New()
	for i, m := range messages {
		m.Subject = natsMessage(m).Subject
		model.Apply(modeltest.Moment{Seq: uint64(i + 1)}, m)
	}
	st.fresh.says(st.last, model)
}

// want gives the digest at a moment.
func (st *stage) want(t *testing.T, at moment) string {
	t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.digests[at] == "" {
		if at.partings != st.partings {
			t.Fatalf("nothing is known of %+v", at)
		}
		st.digests[at] = st.fresh.digest(at.seq)
	}
	return st.digests[at]
}

// copyOf gives a directory with one of the indexes.
func (st *stage) copyOf(t *testing.T, from string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if st.dirs[from] == "" {
		return dir
	}
	if err := os.CopyFS(dir, os.DirFS(st.dirs[from])); err != nil {
		t.Fatal(err)
	}
	return dir
}

// healthy opens an index after a fault, and compares it with the fresh one as it is,
// and when it has gone on to the end of the stream. It gives where it was.
func (st *stage) healthy(t *testing.T, rng *rand.Rand, dir string) (opened uint64) {
	t.Helper()
	n := st.nodeIn(t, dir)
	at := n.store.Applied()
	if at.Seq > 0 && n.digest(at.Seq) != st.want(t, moment{at.Stream.Partings, at.Seq}) {
		t.Errorf("opened at %d, the index is not what it was there", at.Seq)
	}
	n.start(indexer.Options{RejoinEvery: quickly.RejoinEvery})
	eventually(t, "the index has caught up", func() bool {
		now := n.store.Applied()
		return now.Seq == st.last && now.Stream.Partings == st.partings
	})
	n.wait(st.last)
	floor := n.store.Floor()
	seqs := []uint64{st.last}
	if st.dirs["wide"] == "" { // whose digests take long
		seqs = append(seqs, floor+1+rng.Uint64N(max(1, st.last-floor)))
	}
	for _, seq := range seqs {
		if seq = min(seq, st.last); n.digest(seq) != st.want(t, moment{st.partings, seq}) {
			t.Errorf("at %d of %d the index is not the fresh one", seq, st.last)
		}
	}
	if err := n.store.CheckCounters(); err != nil {
		t.Error(err)
	}
	if rung, _, err := n.store.RungAt(1 << 62); err != nil || rung.Seq != st.last {
		t.Errorf("the timeline ends at %d, %v", rung.Seq, err)
	}
	n.close()
	return at.Seq
}

// processLife is one run of a process: a store, a reader and an indexer, all with one hook.
type processLife struct {
	dir    string
	nc     *nats.Conn
	js     jetstream.JetStream
	doing  act
	last   uint64 // of the stream
	hook   fault.Hook
	log    zerolog.Logger
	opened func(*store.Store, *indexer.Index) (closing func()) // nil: nothing
}

func (st *stage) life(dir string, doing act) processLife {
	return processLife{dir: dir, nc: st.nc, js: st.js, doing: doing, last: st.last, log: zerolog.Nop()}
}

// live goes on until a step fails, or all is applied.
func (l processLife) live(ctx context.Context) (err error) {
	forks.RLock()
	st, err := store.Open(store.Options{Dir: l.dir, Logger: l.log, Fault: l.hook})
	forks.RUnlock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	reader := stream.NewReader(l.nc, l.js, streamName, l.log)
	reader.InjectFaults(l.hook)
	if l.opened != nil {
		defer l.opened(st, indexer.NewIndex(st, reader))()
	}
	o := indexer.Options{History: time.Hour, BatchEvents: 7, RejoinEvery: quickly.RejoinEvery, Fault: l.hook, Logger: l.log}
	if l.doing == forgetting {
		o.History = time.Nanosecond
	}
	x := indexer.New(st, reader, o)
	x.LookAtFloorEvery(time.Millisecond)
	over := errors.New("all is done")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.Run(ctx) })
	g.Go(func() error {
		if l.doing == forgetting || l.doing == undoing {
			<-ctx.Done()
			return nil
		}
		if err := st.Wait(ctx, l.last); err != nil {
			return err
		}
		for l.doing == reclaiming {
			if err := st.Reclaim(ctx); err != nil {
				return err
			}
		}
		return over
	})
	if err := g.Wait(); !errors.Is(err, over) {
		return err
	}
	return nil
}

var errFault = errors.New("a fault of the test")

// failing gives a hook that fails the nth time that a step is come by, and counts
// how often it has failed.
func failing(at fault.Point, done bool, nth int, hits *int) fault.Hook {
	return onPoint(at, done, nth, func() error {
		*hits++
		return errFault
	})
}

// onPoint gives a hook that acts the nth time that a step is come by.
func onPoint(at fault.Point, done bool, nth int, act func() error) fault.Hook {
	var mu sync.Mutex
	return func(point fault.Point, wasDone bool) error {
		if point != at || wasDone != done {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if nth--; nth != 0 {
			return nil
		}
		return act()
	}
}
