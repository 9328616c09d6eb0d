package httpapi

import (
	"context"
	"time"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/admission"
)

// pausing is an index whose requests give their place among the reads back while
// they wait for a sequence: waiting is no work, and those who wait must not keep
// others out.
type pausing struct {
	query.Index
	reads *admission.Pool
}

func (p pausing) Wait(ctx context.Context, seq uint64) error {
	if applied, _ := p.Applied(); applied >= seq {
		return nil
	}
	return p.reads.Pause(func() error { return p.Index.Wait(ctx, seq) })
}

func (p pausing) SequenceAt(ctx context.Context, instant time.Time) (seq uint64, err error) {
	err = p.reads.Pause(func() error {
		seq, err = p.Index.SequenceAt(ctx, instant)
		return err
	})
	return seq, err
}

// pausingSettler is a settler whose requests give their place among the reads back
// while they wait for the stream. They keep that among the ingests.
type pausingSettler struct {
	settler Settler
	reads   *admission.Pool
}

func (p pausingSettler) Stored(ctx context.Context, seq uint64) (m events.Message, at time.Time, err error) {
	err = p.reads.Pause(func() error {
		m, at, err = p.settler.Stored(ctx, seq)
		return err
	})
	return m, at, err
}

func (p pausingSettler) Settle(ctx context.Context, tenant string, all []Settlement) (last uint64, repeated bool, err error) {
	err = p.reads.Pause(func() error {
		last, repeated, err = p.settler.Settle(ctx, tenant, all)
		return err
	})
	return last, repeated, err
}
