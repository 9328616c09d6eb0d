package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/modeltest"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store"
)

// TestReadersSeeWholeEvents lists from other goroutines while events are applied
// and the floor moves: every listing that Check confirms is the model's at the
// sequence that it was read at.
func TestReadersSeeWholeEvents(t *testing.T) {
	eachSeed(t, func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 3))
		stream := makeStream(modeltest.NewGenerator(seed), rng, 300)
		model := modeltest.New()
		want := [][]string{nil} // by sequence
		for _, m := range stream {
			model.Apply(m.at, m.Message)
			var all []string
			for _, r := range model.Rows("t") {
				all = append(all, r.JSON)
			}
			want = append(want, all)
		}
		x := openIndex(t, t.TempDir())
		last := stream[len(stream)-1].at.Seq
		var readers sync.WaitGroup
		var reads atomic.Int64
		failed := make(chan error, 3)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		for i := range 3 {
			rng := rand.New(rand.NewPCG(seed, uint64(10+i)))
			readers.Go(func() {
				for seq := uint64(0); seq < last; {
					if err := x.Wait(ctx, seq+1); err != nil {
						failed <- err
						return
					}
					seq = x.Applied().Seq
					if err := readAt(ctx, x.Store, seq-rng.Uint64N(min(seq, 30)+1), want); err != nil {
						failed <- err
						return
					}
					reads.Add(1)
				}
			})
		}
		for next := 0; next < len(stream); {
			batch := x.NewBatch(nil)
			for size := 1 + rng.IntN(10); size > 0 && next < len(stream); size-- {
				apply(t, batch, stream[next])
				next++
			}
			if err := batch.Commit(watermark(stream[next-1])); err != nil {
				t.Error(err)
				stop()
				break
			}
			if seq := x.Applied().Seq; seq > 20 {
				if err := x.AdvanceFloor(seq - 20); err != nil {
					t.Error(err)
				}
			}
		}
		readers.Wait()
		close(failed)
		for err := range failed {
			t.Error(err)
		}
		if reads.Load() == 0 {
			t.Error("nothing was read meanwhile")
		}
	})
}

func readAt(ctx context.Context, st *store.Store, seq uint64, want [][]string) error {
	view, err := st.View(seq)
	if errors.Is(err, store.ErrPruned) {
		return nil
	}
	if err != nil {
		return err
	}
	defer view.Close()
	var got []string
	if _, err := listing.List(ctx, view, listing.Selector{Tenant: "t", Kinds: events.Kinds}, nil, 1<<30, func(f rows.Face) {
		got = append(got, string(f.JSON()))
	}); err != nil {
		return err
	}
	if errors.Is(view.Check(), store.ErrPruned) {
		return nil
	}
	if !slices.Equal(got, want[seq]) {
		return fmt.Errorf("at %d a reader saw %q, want %q", seq, got, want[seq])
	}
	return nil
}
