package indexer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/store"
)

// Every step fails, without having been done and having been done all the same. What
// comes from outside is tried again; a fault of our own storage ends Run, or the open
// or the Reclaim that it was in. The next process finds all that was applied and goes
// on, to the index that is built afresh; and readers saw only that meanwhile.
func TestFaults(t *testing.T) {
	t.Parallel()
	seed, rng := random(t)
	th := newTheatre(t, seed)
	eachPoint(t, rng, !testing.Short(), func(t *testing.T, at fault.Point, done bool, nth int) {
		scene := scenes[at]
		st := th.of(scene.from)
		l := st.life(st.copyOf(t, scene.from), scene.doing)
		log := &syncBuffer{}
		l.log = zerolog.New(log)
		hits := 0
		l.hook = failing(at, done, nth, &hits)
		saw := &sights{seen: map[moment]string{}}
		l.opened = saw.begin
		ctx, cancel := context.WithTimeout(t.Context(), bounded)
		defer cancel()
		err := l.live(ctx)
		if hits != 1 {
			t.Fatalf("the step failed %d times, the process ended with %v: %s", hits, err, log)
		}
		if at == fault.Fetch {
			if err != nil || !strings.Contains(log.String(), errFault.Error()) {
				t.Errorf("a fault that passes ended the process with %v, or was not told: %s", err, log)
			}
		} else if !errors.Is(err, errFault) {
			t.Errorf("the process ended with %v", err)
		}
		saw.compare(t, st)
		opened := st.healthy(t, rng, l.dir)
		if opened < saw.last.seq && scene.doing != undoing {
			t.Errorf("sequence %d was seen, and the next process began at %d", saw.last.seq, opened)
		}
	})
}

// sights is what a reader saw while an index was applied.
type sights struct {
	seen   map[moment]string // digests
	last   moment
	failed error
}

// begin reads until the index is closed.
func (s *sights) begin(st *store.Store, x *indexer.Index) (closing func()) {
	over := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		again := time.NewTicker(2 * time.Millisecond) // leave some of the machine to the index
		defer again.Stop()
		for {
			select {
			case <-over:
				return
			case <-again.C:
			}
			at := st.Applied()
			if at.Seq == 0 {
				continue
			}
			digest, _, err := x.Digest(at.Seq)
			switch {
			case errors.Is(err, listing.ErrPruned), errors.Is(err, listing.ErrReplaced), errors.Is(err, listing.ErrAhead):
				continue // refused, and not answered wrongly
			case err != nil:
				s.failed = err
				return
			}
			if now := st.Applied().Stream.Partings; now == at.Stream.Partings {
				s.last = moment{now, at.Seq}
				s.seen[s.last] = digest
			}
		}
	})
	return func() {
		close(over)
		reader.Wait()
	}
}

// compare compares what was seen with the fresh index.
func (s *sights) compare(t *testing.T, st *stage) {
	t.Helper()
	if s.failed != nil {
		t.Errorf("a reader: %v", s.failed)
	}
	for at, digest := range s.seen {
		if digest != st.want(t, at) {
			t.Errorf("a reader at %+v saw what never was", at)
		}
	}
}
