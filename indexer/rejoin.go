package indexer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/stream"
)

// rung is the stream.Ladder of the store.
func (x *Indexer) rung(seq uint64) (stream.Rung, bool, error) {
	r, ok, err := x.store.RungAt(seq)
	return stream.Rung{Seq: r.Seq, Peak: r.Peak, Fingerprint: r.Fingerprint}, ok, err
}

// rejoin returns when the stream can be read on from the watermark, having undone
// what is not the stream's any longer. It looks again and again while it cannot.
// Nothing may be applied meanwhile.
func (x *Indexer) rejoin(ctx context.Context, parting *stream.Parting) error {
	for stuck := stream.Kind(""); ; { // what operators were told last
		at := x.store.Applied()
		to, err := x.stream.Rejoin(ctx, at, x.store.Floor(), x.rung)
		still, parted := errors.AsType[*stream.Parting](err)
		switch {
		case err == nil:
			return x.resume(at, to, parting)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, stream.ErrLadder):
			return err
		case !parted:
			x.log.Warn().Err(err).Dur("retry_in", x.opts.RejoinEvery).Msg("looking at the stream failed")
		case still.Kind != stuck:
			parting, stuck = still, still.Kind
			x.opts.Metrics.parting(stuck, partingStuck)
			x.log.Error().Str("kind", string(stuck)).Uint64("applied", at.Seq).Uint64("floor", x.store.Floor()).
				Str("what", parting.What()).Str("remedy", parting.Remedy()).
				Msg("the stream is not the one that was read, and nothing is in common inside the history window: the last state is served, nothing is read")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(x.opts.RejoinEvery):
		}
	}
}

// resume brings the index to where it can go on.
func (x *Indexer) resume(at, to position.Position, parting *stream.Parting) error {
	kind := string(parting.Kind)
	if to.Stream.Incarnation == at.Stream.Incarnation {
		x.opts.Metrics.parting(parting.Kind, partingReturned)
		x.log.Info().Str("kind", kind).Uint64("applied", at.Seq).Msg("the stream is the one that was read: reading goes on")
		return nil
	}
	x.log.Warn().Str("kind", kind).Str("what", parting.What()).Uint64("from", at.Seq).Uint64("to", to.Seq).
		Str("from_incarnation", at.Stream.Incarnation).Str("to_incarnation", to.Stream.Incarnation).
		Msg("the stream is not the one that was read: the index is undone to what both have in common, and goes on")
	if err := x.store.UndoTo(to); err != nil {
		return fmt.Errorf("undo what the stream has lost: %w", err)
	}
	x.given = nil // readers were given nothing of this incarnation yet
	x.opts.Metrics.parting(parting.Kind, partingUndone)
	return nil
}
