package snapshotbucket

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/assigndex/assigndex/indexer/stream/embedded"
	"github.com/assigndex/assigndex/indexer/stream/streamtest"
)

// kept is a keeper with a clock, an index and a stream that a test moves.
type kept struct {
	*Keeper
	t     *testing.T
	index *index
	now   time.Time
	first uint64
	away  error // of the stream
	full  bool
	ticks chan time.Time
}

const every = time.Hour

func newKept(t *testing.T, s *embedded.Server, change func(*KeeperOptions)) *kept {
	t.Helper()
	k := &kept{t: t, index: &index{meta: metaAt(0, 0), bytes: 1000}, now: began, first: 1, ticks: make(chan time.Time)}
	o := KeeperOptions{
		Source: k.index, Every: every, Keep: 3, Format: 2, Fold: 2, Ticks: k.ticks,
		Now:  func() time.Time { return k.now },
		Full: func() bool { return k.full },
		Stream: func(context.Context) (Bounds, error) {
			return Bounds{Created: made, First: k.first, Last: k.index.meta.At.Seq}, k.away
		},
	}
	if change != nil {
		change(&o)
	}
	k.Keeper = NewKeeper(bucketOn(t, s, small), o)
	return k
}

// apply moves the index, and the clock with it.
func (k *kept) apply(seq uint64, after time.Duration) {
	k.now = k.now.Add(after)
	k.index.meta = metaAt(seq, k.now.Sub(began))
}

func (k *kept) wantTroubles(parts ...string) {
	k.t.Helper()
	all := k.Troubles(k.now)
	if len(all) != len(parts) {
		k.t.Errorf("troubles %q, want %q", all, parts)
		return
	}
	for i, part := range parts {
		if !strings.Contains(all[i], part) {
			k.t.Errorf("troubles %q, want %q", all, parts)
		}
	}
}

func TestSchedule(t *testing.T) {
	k := newKept(t, streamtest.Start(t), nil)
	tick := func() { t.Helper(); k.tend(t.Context()) }
	tick()
	wantSeqs(t, k.bucket) // nothing is applied
	k.apply(10, 0)
	tick()
	wantSeqs(t, k.bucket, 10)
	k.apply(20, every-1)
	tick()
	wantSeqs(t, k.bucket, 10)
	k.apply(20, 1)
	tick()
	wantSeqs(t, k.bucket, 20, 10)
	for seq := uint64(30); seq <= 70; seq += 10 {
		k.apply(seq, every)
		tick()
	}
	wantSeqs(t, k.bucket, 70, 60, 50)
	// Nothing new is no failure, and no reason for another one.
	k.apply(70, 100*every)
	tick()
	wantSeqs(t, k.bucket, 70, 60, 50)
	k.wantTroubles()
}

// Run looks when it begins and at every tick, and ends with its context.
func TestRun(t *testing.T) {
	k := newKept(t, streamtest.Start(t), nil)
	k.apply(10, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	k.ticks <- began // taken when the first look is over
	wantSeqs(t, k.bucket, 10)
	k.ticks <- began // and the second
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	k.wantTroubles()
}

func TestNoSchedule(t *testing.T) {
	s := streamtest.Start(t)
	k := newKept(t, s, func(o *KeeperOptions) { o.Every = 0 })
	k.apply(10, 0)
	for seq := uint64(1); seq < 6; seq++ {
		put(t, k.bucket, metaAt(seq, 0), 10)
	}
	k.tend(t.Context())
	wantSeqs(t, k.bucket, 5, 4, 3, 2, 1)
	k.first = 6
	k.tend(t.Context())
	k.wantTroubles()
	k.first = 7
	k.tend(t.Context())
	k.wantTroubles("begins at sequence 7 and the newest snapshot ends at 5")
	if _, err := k.Take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	k.wantTroubles()
	wantSeqs(t, k.bucket, 10, 5, 4, 3, 2, 1)
}

// A stream that was trimmed is a trouble when there is no snapshot to begin with, but
// for those who accept that.
func TestTrimmedStream(t *testing.T) {
	s := streamtest.Start(t)
	k := newKept(t, s, func(o *KeeperOptions) { o.Every = 0 })
	k.tend(t.Context())
	k.wantTroubles()
	k.first = 2
	k.tend(t.Context())
	k.wantTroubles("no snapshot to begin with")
	accepting := newKept(t, s, func(o *KeeperOptions) { o.Every, o.Trimmed = 0, true })
	accepting.first = 2
	accepting.tend(t.Context())
	accepting.wantTroubles()
	// Others are of no use.
	for i, change := range []func(*Meta){
		func(m *Meta) { m.Format = 1 }, func(m *Meta) { m.Fold = 9 }, func(m *Meta) { m.At.Stream.Created = began },
	} {
		m := metaAt(100+uint64(i), 0)
		change(&m)
		put(t, k.bucket, m, 10)
	}
	k.tend(t.Context())
	k.wantTroubles("no snapshot to begin with")
	put(t, k.bucket, metaAt(50, 0), 10)
	k.tend(t.Context())
	k.wantTroubles()
}

// Replicas share a bucket: one of them takes the snapshot.
func TestReplicasShareABucket(t *testing.T) {
	s := streamtest.Start(t)
	a, b := newKept(t, s, nil), newKept(t, s, nil)
	for seq := uint64(10); seq < 60; seq += 10 {
		a.apply(seq, every)
		b.apply(seq+1, every) // a little ahead
		a.tend(t.Context())
		b.tend(t.Context())
		if seqs := seqs(t, a.bucket); seqs[0] != seq || len(seqs) != min(3, int(seq)/10) {
			t.Errorf("at %d: %d", seq, seqs)
		}
	}
	// One that is behind has nothing to add.
	b.apply(49, 10*every)
	b.tend(t.Context())
	wantSeqs(t, a.bucket, 50, 40, 30)
	b.wantTroubles()
	// One whose stream has parted has an incarnation of its own, and takes its own.
	b.apply(49, 0)
	b.index.meta.At.Stream.Incarnation = "two"
	b.tend(t.Context())
	wantSeqs(t, a.bucket, 50, 49, 40)
}

// Two that look at the same moment take two, and no more comes of it.
func TestRaceOfTwo(t *testing.T) {
	s := streamtest.Start(t)
	a, b := newKept(t, s, nil), newKept(t, s, nil)
	var all sync.WaitGroup
	for i, k := range []*kept{a, b} {
		k.apply(10, time.Duration(i)*time.Second)
		k.index.began, k.index.goOn = make(chan struct{}), make(chan struct{})
		all.Go(func() { k.tend(t.Context()) })
	}
	<-a.index.began
	<-b.index.began // both have found that one is due
	close(a.index.goOn)
	close(b.index.goOn)
	all.Wait()
	wantSeqs(t, a.bucket, 10, 10)
	for _, name := range names(t, a.bucket) {
		if got, err := read(t, a.bucket, name); err != nil || len(got) != 1000 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	a.index.began, b.index.began = nil, nil
	for _, k := range []*kept{a, b} {
		k.apply(20, every/2)
		k.tend(t.Context())
	}
	wantSeqs(t, a.bucket, 10, 10)
	for _, k := range []*kept{a, b} {
		k.apply(20, every)
		k.tend(t.Context())
	}
	wantSeqs(t, a.bucket, 20, 10, 10)
}

func TestFailures(t *testing.T) {
	s := streamtest.Start(t)
	k := newKept(t, s, nil)
	k.began = k.now
	tick := func() { t.Helper(); k.tend(t.Context()) }
	tick()
	k.apply(10, every)
	k.index.fail = errors.New("a broken block")
	tick()
	k.wantTroubles()
	k.apply(20, 3*every)
	tick()
	k.wantTroubles("no snapshot was taken for 4h0m0s, and one is due every 1h0m0s: ")
	if all := k.Troubles(k.now); !strings.Contains(all[0], "a broken block") {
		t.Errorf("troubles: %q", all)
	}
	if n := gathered(t, k.Keeper)["assigndex_snapshot_failures_total"]; n != 2 {
		t.Errorf("%v failures were counted", n)
	}
	wantSeqs(t, k.bucket)
	k.index.fail = nil
	tick()
	wantSeqs(t, k.bucket, 20)
	k.wantTroubles()

	k.away = errors.New("no stream")
	k.apply(30, 4*every)
	tick()
	k.wantTroubles("no stream")
	k.away = nil

	k.full = true
	tick()
	wantSeqs(t, k.bucket, 20)
	if _, err := k.Take(t.Context(), nil); !errors.Is(err, ErrFull) {
		t.Errorf("on a full disk: %v", err)
	}
	k.full = false
	tick()
	wantSeqs(t, k.bucket, 30, 20)
	k.wantTroubles()
}

func TestTake(t *testing.T) {
	k := newKept(t, streamtest.Start(t), nil)
	if _, err := k.Take(t.Context(), nil); !errors.Is(err, ErrEmpty) {
		t.Errorf("of nothing: %v", err)
	}
	k.apply(10, 0)
	var told []int64
	one, err := k.Take(t.Context(), func(n int64) { told = append(told, n) })
	if err != nil || one.At.Seq != 10 || one.Bytes != 1000 || !slices.IsSorted(told) || told[len(told)-1] != 1000 {
		t.Errorf("%+v, %v, told %d", one, err, told)
	}
	k.index.began, k.index.goOn = make(chan struct{}), make(chan struct{})
	first := make(chan error)
	k.apply(11, 0)
	go func() { _, err := k.Take(t.Context(), nil); first <- err }()
	<-k.index.began
	if _, err := k.Take(t.Context(), nil); !errors.Is(err, ErrRunning) {
		t.Errorf("a second one: %v", err)
	}
	// The disk becomes full meanwhile.
	k.full = true
	close(k.index.goOn)
	if err := <-first; !errors.Is(err, ErrFull) {
		t.Errorf("the first: %v", err)
	}
	wantSeqs(t, k.bucket, 10)
}

// gathered gives the values of metrics by name.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		all[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return all
}

func TestMetrics(t *testing.T) {
	k := newKept(t, streamtest.Start(t), nil)
	if got := gathered(t, k.Keeper); len(got) != 2 {
		t.Errorf("before anything is known: %v", got)
	}
	k.apply(10, 0)
	k.tend(t.Context())
	got := gathered(t, k.Keeper)
	if got["assigndex_snapshot_last_duration_seconds"] <= 0 {
		t.Errorf("took %v", got)
	}
	delete(got, "assigndex_snapshot_last_duration_seconds")
	if want := map[string]float64{
		"assigndex_snapshots": 1, "assigndex_snapshot_last_sequence": 10, "assigndex_snapshot_last_bytes": 1000,
		"assigndex_snapshot_last_timestamp_seconds": float64(began.UnixNano()) / 1e9,
		"assigndex_snapshots_taken_total":           1, "assigndex_snapshot_failures_total": 0,
	}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
