package snapshotbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/position"
)

// Errors of Take.
var (
	// ErrRunning is returned while another snapshot is being taken.
	ErrRunning = errors.New("a snapshot is being taken")
	// ErrFull is returned while the disk has no room.
	ErrFull = errors.New("the disk has no room for a snapshot")
	// ErrEmpty is returned for an index that has applied nothing.
	ErrEmpty = errors.New("the index has applied nothing that a snapshot could hold")
)

// Source is the index that snapshots are taken of.
type Source interface {
	// Applied is its sequence and incarnation; the rest need not be there. At sequence 0
	// none is taken.
	Applied() position.Position
	// Snapshot writes one at a position at or after that, and describes it.
	Snapshot(ctx context.Context, w io.Writer) (Meta, error)
}

// Bounds are the first and the last sequence of a stream, and when it was created.
type Bounds struct {
	Created     time.Time
	First, Last uint64
}

// KeeperOptions configure a Keeper. Source and Stream must be given.
type KeeperOptions struct {
	Source Source
	Stream func(ctx context.Context) (Bounds, error)
	// Every is the age of the newest snapshot at which another one is taken; 0: none is
	// taken by itself, and none removed.
	Every  time.Duration
	Keep   int           // how many are kept; 0: any number
	MaxAge time.Duration // at which they are removed, but for the newest; 0: any
	// Format and Fold are those that this program can open.
	Format, Fold int
	// Trimmed says that an index may be built of a stream that lost its first messages.
	Trimmed bool
	Full    func() bool // reports that the disk has no room; nil: never
	Logger  zerolog.Logger

	Ticks <-chan time.Time // when to look at the bucket; nil: every 30 s, or more often for a short Every
	Now   func() time.Time // nil: time.Now
}

// Keeper takes snapshots of an index on a schedule and removes old ones.
type Keeper struct {
	bucket *Bucket
	opts   KeeperOptions
	taking sync.Mutex // held while a snapshot is taken

	failures prometheus.Counter
	taken    prometheus.Counter

	mu       sync.Mutex // guards what follows
	began    time.Time  // when Run was called; zero: it was not
	good     time.Time  // when the bucket last held what it should; zero: never
	newest   *Stored    // that an index could begin with, of those that were there at the last look
	count    int        // how many were there
	looked   bool       // what was there is known
	bounds   Bounds     // of the stream then
	duration time.Duration
	why      error // of the last failure; nil: none since the last success
}

const (
	lookEvery    = 30 * time.Second
	minLookEvery = time.Second
	// overdue is how many intervals after the last success operators are told.
	overdue = 3
)

// NewKeeper makes a keeper of the snapshots in a bucket. Nothing runs before Run.
func NewKeeper(b *Bucket, o KeeperOptions) *Keeper {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Full == nil {
		o.Full = func() bool { return false }
	}
	return &Keeper{
		bucket: b, opts: o,
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assigndex_snapshot_failures_total", Help: "Snapshots that could not be taken, stored, looked at or removed.",
		}),
		taken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "assigndex_snapshots_taken_total", Help: "Snapshots that this server has stored since it was started.",
		}),
	}
}

// Run looks at the bucket again and again, takes a snapshot when one is due and removes
// those that are not to be kept. Failures are logged, and tried again at the next look.
// It returns nil when the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticks := k.opts.Ticks
	if ticks == nil {
		every := lookEvery
		if k.opts.Every > 0 {
			every = max(minLookEvery, min(every, k.opts.Every/4))
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		ticks = tick.C
	}
	k.mu.Lock()
	k.began = k.opts.Now()
	k.mu.Unlock()
	for {
		k.tend(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
	}
}

// tend does once what Run does again and again.
func (k *Keeper) tend(ctx context.Context) {
	due, outdated, err := k.look(ctx)
	if err != nil {
		k.failed(ctx, err, "looking at the snapshots in the object store failed")
		return
	}
	if k.opts.Every <= 0 {
		return
	}
	if due {
		_, err := k.Take(ctx, nil)
		if errors.Is(err, ErrRunning) || errors.Is(err, ErrFull) {
			k.opts.Logger.Warn().Err(err).Msg("a snapshot that is due is not taken now")
			return
		}
		if err != nil {
			return // Take has told
		}
	}
	if !due && !outdated {
		return
	}
	removed, err := k.bucket.Prune(ctx, k.opts.Keep, k.opts.MaxAge, k.opts.Now())
	for _, name := range removed {
		k.opts.Logger.Info().Str("snapshot", name).Msg("removed an old snapshot")
	}
	if err != nil {
		k.failed(ctx, err, "removing old snapshots failed")
		return
	}
	if _, _, err := k.look(ctx); err != nil {
		k.failed(ctx, err, "looking at the snapshots in the object store failed")
	}
}

// look notes what is in the bucket and where the stream begins, and tells whether a
// snapshot is due and whether others are to be removed.
func (k *Keeper) look(ctx context.Context) (due, old bool, err error) {
	bounds, err := k.opts.Stream(ctx)
	if err != nil {
		return false, false, err
	}
	if k.opts.Every <= 0 && bounds.First <= 1 {
		// Who takes none need not be allowed to look, as long as the stream is whole.
		k.mu.Lock()
		k.looked, k.bounds, k.why = true, bounds, nil
		k.mu.Unlock()
		return false, false, nil
	}
	list, err := k.bucket.List(ctx)
	if err != nil {
		return false, false, err
	}
	var newest *Stored
	for i := range list {
		if k.opens(list[i].Meta) && list[i].At.Stream.Created.Equal(bounds.Created) {
			newest = &list[i]
			break
		}
	}
	now := k.opts.Now()
	due, good := k.due(list, now)
	k.mu.Lock()
	k.looked, k.count, k.newest, k.bounds = true, len(list), newest, bounds
	if !due {
		k.good, k.why = good, nil
	}
	k.mu.Unlock()
	return due, len(outdated(list, k.opts.Keep, k.opts.MaxAge, now)) > 0, nil
}

// opens reports whether this program could open what a snapshot is restored to.
func (k *Keeper) opens(m Meta) bool { return m.Format == k.opts.Format && m.Fold == k.opts.Fold }

// due reports whether a snapshot is to be taken: whether the last one of this index, by
// whichever replica, is old enough, and this index has more to tell. Otherwise it gives
// when all was last well.
func (k *Keeper) due(list []Stored, now time.Time) (due bool, good time.Time) {
	at := k.opts.Source.Applied()
	if k.opts.Every <= 0 || at.Seq == 0 {
		return false, now
	}
	due = true
	for i := range list {
		one := &list[i]
		if !k.opens(one.Meta) || one.At.Stream.Incarnation != at.Stream.Incarnation {
			continue
		}
		if one.At.Seq >= at.Seq {
			return false, now
		}
		if now.Sub(one.Taken) < k.opts.Every {
			due = false
			if one.Taken.After(good) {
				good = one.Taken
			}
		}
	}
	return due, good
}

// Take takes a snapshot now and stores it. progress, unless nil, is told how many bytes
// were stored, in the calling goroutine.
func (k *Keeper) Take(ctx context.Context, progress func(bytes int64)) (Stored, error) {
	if !k.taking.TryLock() {
		return Stored{}, ErrRunning
	}
	defer k.taking.Unlock()
	if k.opts.Full() {
		return Stored{}, ErrFull
	}
	if k.opts.Source.Applied().Seq == 0 {
		return Stored{}, ErrEmpty
	}
	began := time.Now()
	stored, err := k.bucket.Put(ctx, func(w io.Writer) (Meta, error) {
		return k.opts.Source.Snapshot(ctx, &counted{w: w, told: progress, full: k.opts.Full})
	})
	if err != nil {
		k.failed(ctx, err, "taking a snapshot failed")
		return stored, err
	}
	took := time.Since(began)
	k.taken.Inc()
	k.mu.Lock()
	k.duration, k.good, k.why = took, stored.Taken, nil
	if k.newest == nil || k.newest.At.Seq <= stored.At.Seq {
		k.newest = &stored
	}
	k.mu.Unlock()
	k.opts.Logger.Info().Str("bucket", k.bucket.name).Str("snapshot", stored.Name).Uint64("seq", stored.At.Seq).
		Int64("bytes", stored.Bytes).Dur("took", took).Msg("took a snapshot")
	return stored, nil
}

// List gives the snapshots in the bucket, newest first.
func (k *Keeper) List(ctx context.Context) ([]Stored, error) { return k.bucket.List(ctx) }

// failed notes a failure, unless it is that the context has ended. What fails in the
// same way again and again is logged once.
func (k *Keeper) failed(ctx context.Context, err error, what string) {
	if ctx.Err() != nil {
		return
	}
	k.failures.Inc()
	k.mu.Lock()
	level := zerolog.ErrorLevel
	if k.why != nil && k.why.Error() == err.Error() {
		level = zerolog.DebugLevel
	}
	k.why = err
	k.mu.Unlock()
	k.opts.Logger.WithLevel(level).Err(err).Msg(what)
}

// counted tells how much was written, and fails when the disk has no room any longer.
type counted struct {
	w    io.Writer
	told func(int64)
	full func() bool
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	if c.full() {
		return 0, ErrFull
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	if c.told != nil {
		c.told(c.n)
	}
	return n, err
}

// Troubles tells operators what is wrong: that no snapshot could be taken for three
// intervals, and that no index could be built any more.
func (k *Keeper) Troubles(now time.Time) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	if since, late := k.late(now); late {
		text := fmt.Sprintf("no snapshot was taken for %s, and one is due every %s", now.Sub(since).Round(time.Second), k.opts.Every)
		if k.why != nil {
			text += ": " + k.why.Error()
		}
		all = append(all, text)
	}
	if !k.looked || k.bounds.First <= 1 {
		return all
	}
	const remedy = "take one with assigndex snapshot --store"
	switch {
	case k.newest == nil && !k.opts.Trimmed:
		all = append(all, fmt.Sprintf("the stream begins at sequence %d and there is no snapshot to begin with: no index could be built anew; %s",
			k.bounds.First, remedy))
	case k.newest != nil && k.bounds.First > k.newest.At.Seq+1:
		all = append(all, fmt.Sprintf("the stream begins at sequence %d and the newest snapshot ends at %d: no index could be built anew; %s",
			k.bounds.First, k.newest.At.Seq, remedy))
	}
	return all
}

// late reports that the last success is too long ago. k.mu must be held.
func (k *Keeper) late(now time.Time) (since time.Time, late bool) {
	if k.opts.Every <= 0 || k.began.IsZero() {
		return since, false
	}
	since = k.began // what was before is not this server's doing
	if k.good.After(since) {
		since = k.good
	}
	return since, now.Sub(since) > overdue*k.opts.Every
}

var (
	countDesc    = prometheus.NewDesc("assigndex_snapshots", "Snapshots in the object store, as of the last look.", nil, nil)
	seqDesc      = prometheus.NewDesc("assigndex_snapshot_last_sequence", "Sequence of the newest snapshot that an index can begin with.", nil, nil)
	takenDesc    = prometheus.NewDesc("assigndex_snapshot_last_timestamp_seconds", "When the newest snapshot was taken, Unix time.", nil, nil)
	bytesDesc    = prometheus.NewDesc("assigndex_snapshot_last_bytes", "Size of the newest snapshot as it is stored.", nil, nil)
	durationDesc = prometheus.NewDesc("assigndex_snapshot_last_duration_seconds", "How long this server took for the last snapshot that it stored.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (k *Keeper) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{countDesc, seqDesc, takenDesc, bytesDesc, durationDesc, k.failures.Desc(), k.taken.Desc()} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector. What is not known is left out.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	k.failures.Collect(ch)
	k.taken.Collect(ch)
	k.mu.Lock()
	defer k.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	if k.looked {
		gauge(countDesc, float64(k.count))
	}
	if k.newest != nil {
		gauge(seqDesc, float64(k.newest.At.Seq))
		gauge(takenDesc, float64(k.newest.Taken.UnixNano())/float64(time.Second))
		gauge(bytesDesc, float64(k.newest.Bytes))
	}
	if k.duration > 0 {
		gauge(durationDesc, k.duration.Seconds())
	}
}
