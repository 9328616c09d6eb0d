package indexer

import (
	"context"
	"fmt"
	"time"

	"github.com/assigndex/assigndex/indexer/store"
)

// sealed is a batch that is ready to be made durable.
type sealed struct {
	batch  *store.Batch
	mark   store.Watermark
	events int
	began  time.Time
	done   chan struct{} // closed after a commit; nil when nobody waits
}

// apply folds what was decoded and hands it over in batches. While a batch is
// being made durable the next one is folded, so a batch is as large as the
// events that come in during a commit: one when the stream is quiet.
func (x *Indexer) apply(ctx context.Context, decoded <-chan item, commits chan<- sealed) error {
	var before *store.Batch
	mark := x.store.Applied()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case first := <-decoded:
			if err := x.waitForRoom(ctx); err != nil {
				return err
			}
			s, err := x.fill(ctx, before, mark, first, decoded, commits)
			if err != nil {
				s.batch.Cancel()
				return err
			}
			before, mark = s.batch, s.mark
			if s.done == nil {
				continue
			}
			before = nil
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.done:
			}
		}
	}
}

// fill folds items into a batch after another one, that ends at mark, until it
// is handed over.
func (x *Indexer) fill(
	ctx context.Context, before *store.Batch, mark store.Watermark, it item, decoded <-chan item, commits chan<- sealed,
) (sealed, error) {
	s := sealed{batch: x.store.NewBatch(before), mark: mark, began: time.Now()}
	for {
		if err := x.applier.one(ctx, s.batch, it); err != nil {
			return s, fmt.Errorf("apply sequence %d: %w", it.msg.Seq, err)
		}
		s.events++
		s.mark.Seq, s.mark.Fingerprint = it.msg.Seq, nil
		if it.msg.Erased == 0 {
			s.mark.Nano = it.msg.Time.UnixNano()
		}
		more := decoded
		if s.events >= x.opts.BatchEvents || s.batch.Full() {
			more = nil
		}
		if next, ok := x.soon(more, it.msg.Seq); ok {
			it = next
			continue
		}
		if it.msg.Erased == 0 {
			s.mark.Fingerprint = it.msg.Fingerprint()
		}
		if s.batch.Full() {
			s.done = make(chan struct{})
		}
		select {
		case commits <- s:
			return s, nil
		case it = <-more:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}

// soonWait is how long a batch waits for a message that the stream is known to
// hold. While there is a backlog, full batches count for more than that time.
const soonWait = 2 * time.Millisecond

// soon gives the next item if it has come in already, or comes in a moment.
func (x *Indexer) soon(more <-chan item, after uint64) (item, bool) {
	select {
	case it := <-more:
		return it, true
	default:
	}
	if more == nil || x.stream.Head().Seq <= after {
		return item{}, false
	}
	wait := time.NewTimer(soonWait)
	defer wait.Stop()
	select {
	case it := <-more:
		return it, true
	case <-wait.C:
		return item{}, false
	}
}

// commit is the one goroutine that makes things durable.
func (x *Indexer) commit(ctx context.Context, commits <-chan sealed) error {
	window := time.NewTicker(x.floorEvery)
	defer window.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-window.C:
			if x.opts.Disk.Low("") {
				continue // what is pruned then is written first
			}
			if err := x.advanceFloor(time.Now()); err != nil {
				return fmt.Errorf("advance the history window: %w", err)
			}
		case s := <-commits:
			if err := s.batch.Commit(s.mark); err != nil {
				return fmt.Errorf("commit up to sequence %d: %w", s.mark.Seq, err)
			}
			x.opts.Metrics.committed(s.events, time.Since(s.began))
			if s.done != nil {
				close(s.done)
			}
		}
	}
}

// advanceFloor gives up the history that is older than the window. Ages are those
// of the messages; but an index that is behind its stream applies old messages
// now, so the floor stays below what readers were given in the last minute, or
// their cursors would end while they page.
func (x *Indexer) advanceFloor(now time.Time) error {
	x.given = append(x.given, given{seq: x.store.Applied().Seq, at: now})
	recent := 0
	for recent < len(x.given) && now.Sub(x.given[recent].at) >= min(cursorLife, x.opts.History) {
		recent++
	}
	if recent == 0 {
		return nil // the process is younger than that
	}
	oldest := x.given[recent-1]
	x.given = x.given[recent-1:]
	rung, ok, err := x.store.RungBefore(now.Add(-time.Duration(x.window.Load())).UnixNano())
	if err != nil || !ok {
		return err
	}
	if err := x.store.AdvanceFloor(min(rung.Seq, oldest.seq)); err != nil {
		return err
	}
	select {
	case x.floorMoved <- struct{}{}:
	default: // tidying looks at the floor itself, when it comes to it
	}
	return nil
}

// cursorLife is how long a cursor works at least, however old the messages are that
// are applied meanwhile.
const cursorLife = time.Minute

// given is a sequence that readers were given at a time.
type given struct {
	seq uint64
	at  time.Time // with the monotonic clock
}
