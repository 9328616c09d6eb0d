package indexer

import (
	"context"
	"time"
)

// reclaimEvery is how often the index is looked at for room to give back.
const reclaimEvery = time.Minute

// reclaim gives room back that the history window has left behind, when there is
// much of it, until the context ends. A failure is logged and no more: what could
// not be given back does no harm, and a disk that fails ends the next commit.
func (x *Indexer) reclaim(ctx context.Context) error {
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	var last reclaimed
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			x.fitWindow()
			last = x.reclaimIfWorth(ctx, last)
		}
	}
}

// fitWindow makes the history window shorter when history takes more room than it
// may, and longer again, up to the whole, when it takes less. What a window takes
// grows with its length, so the length is corrected in proportion.
func (x *Indexer) fitWindow() {
	if x.opts.HistoryBytes <= 0 {
		return
	}
	window := time.Duration(x.window.Load())
	used := x.store.History()
	share := 2.0 // no more than twice as long at a time
	if used > 0 {
		share = min(share, float64(x.opts.HistoryBytes)/float64(used))
	}
	if share > 0.9 && share < 1.1 {
		return // close enough: the estimate is no better
	}
	fitting := max(min(cursorLife, x.opts.History), min(x.opts.History, time.Duration(share*float64(window))))
	if fitting == window {
		return
	}
	x.window.Store(int64(fitting))
	x.log.Info().Int64("history_bytes", used).Int64("history_max_bytes", x.opts.HistoryBytes).
		Stringer("before", window.Round(time.Second)).Stringer("window", fitting.Round(time.Second)).Msg("the history window was fitted to its size")
}

// reclaimed is how the index was left.
type reclaimed struct {
	floor uint64 // for which it was looked at last
	dead  int64  // bytes that could not be given back after all
	short bool   // the disk had too little room for it
}

func (x *Indexer) reclaimIfWorth(ctx context.Context, last reclaimed) reclaimed {
	floor := x.store.Floor()
	if floor == last.floor && !last.short {
		return last
	}
	last.floor = floor
	before := x.store.Space()
	if !before.Worth() || before.Dead < 2*last.dead {
		return last
	}
	// While it compacts, the disk holds the index twice in the worst case.
	if was := last.short; !x.opts.Disk.Room(before.Tables) {
		if last.short = true; !was {
			x.log.Warn().Int64("needs_bytes", before.Tables).Msg("room in the index is not given back: the disk has too little for that")
		}
		return last
	}
	last.short = false
	began := time.Now()
	if err := x.store.Reclaim(ctx); err != nil {
		if ctx.Err() == nil {
			x.log.Error().Err(err).Msg("room in the index could not be given back")
			last.dead = before.Dead
		}
		return last
	}
	after := x.store.Space()
	last.dead = after.Dead
	x.opts.Metrics.reclaimed(before.Tables - after.Tables)
	x.log.Info().Int64("bytes_before", before.Tables).Int64("bytes_after", after.Tables).Dur("took", time.Since(began)).
		Msg("gave room of the index back")
	return last
}
