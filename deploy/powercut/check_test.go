//go:build linux

package powercut_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// batch is what was acknowledged at once.
type batch struct {
	first, last uint64
	hash        string
}

// told is what the child had told before its power was cut.
type told struct {
	batches []batch
	applied uint64
}

// found is what a copy held.
type found struct {
	last, watermark uint64
	torn            bool // the stream ends in the midst of a batch, which was not acknowledged
}

// check opens what a power cut left in a directory, and gives the first thing that
// is not as it must be.
func check(t *testing.T, dir string, before told) (f found, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := open(ctx, dir)
	if err != nil {
		return f, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if f.last, f.torn, err = checkStream(ctx, p, before.batches); err != nil {
		return f, fmt.Errorf("the stream: %w", err)
	}
	f.watermark, err = checkIndex(ctx, t, p, f.last, before.applied)
	if err != nil {
		return f, fmt.Errorf("the index: %w", err)
	}
	return f, nil
}

// checkStream reads all of the stream, gives its last sequence and whether it
// ends in the midst of a batch, and fails unless what was acknowledged is in it, at its sequences.
func checkStream(ctx context.Context, p *parts, acked []batch) (last uint64, torn bool, err error) {
	st, err := p.js.Stream(ctx, streamName)
	if err != nil {
		return 0, false, err
	}
	head := st.CachedInfo().State.LastSeq
	if err := missing(acked, head); err != nil || head == 0 {
		return head, false, err
	}
	at, err := p.reader.Begin(ctx, false)
	if err != nil {
		return head, false, err
	}
	end := errors.New("the end")
	h := sha256.New()
	err = p.reader.Read(ctx, at, nil, func(m *stream.Message) error {
		if m.Erased > 0 || m.Seq != last+1 {
			return fmt.Errorf("sequence %d comes after %d, %d are missing", m.Seq, last, m.Erased)
		}
		last = m.Seq
		torn = len(m.Header["Nats-Batch-Id"]) > 0 && len(m.Header["Nats-Batch-Commit"]) == 0
		if len(acked) > 0 && m.Seq >= acked[0].first {
			h.Write(m.Data)
			if m.Seq == acked[0].last {
				if got := fmt.Sprintf("%x", h.Sum(nil)); got != acked[0].hash {
					return fmt.Errorf("sequences %d to %d are not what was acknowledged", acked[0].first, m.Seq)
				}
				h.Reset()
				acked = acked[1:]
			}
		}
		if last == head {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		return last, torn, err
	}
	return last, torn, nil
}

// missing tells when the stream ends before what was acknowledged.
func missing(acked []batch, head uint64) error {
	if n := len(acked); n > 0 && acked[n-1].last > head {
		return fmt.Errorf("it ends at %d, acknowledged was %d", head, acked[n-1].last)
	}
	return nil
}

// checkIndex compares the index with a fresh one, at its watermark and at the
// stream's end, and gives its watermark.
func checkIndex(ctx context.Context, t *testing.T, p *parts, last, applied uint64) (watermark uint64, err error) {
	watermark, _ = p.index.Applied()
	switch {
	case watermark > last:
		return watermark, fmt.Errorf("its watermark is %d, the stream ends at %d", watermark, last)
	case watermark < applied:
		return watermark, fmt.Errorf("its watermark is %d, and %d was told as applied", watermark, applied)
	case last == 0:
		return watermark, nil
	}
	fresh, err := store.Open(store.Options{Dir: t.TempDir(), Logger: zerolog.Nop()})
	if err != nil {
		return watermark, err
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	if err := build(ctx, fresh, p.reader, last); err != nil {
		return watermark, fmt.Errorf("build a fresh one: %w", err)
	}
	want := indexer.NewIndex(fresh, nil)
	if err := same(p.index, want, watermark); err != nil {
		return watermark, fmt.Errorf("as it was found: %w", err)
	}
	if err := build(ctx, p.store, p.reader, last); err != nil {
		return watermark, fmt.Errorf("read on from %d: %w", watermark, err)
	}
	return watermark, same(p.index, want, last)
}

// build applies the stream up to a sequence.
func build(ctx context.Context, st *store.Store, reader *stream.Reader, last uint64) error {
	run, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- indexer.New(st, reader, indexer.Options{History: time.Hour}).Run(run)
		stop() // it ended by itself
	}()
	err := st.Wait(run, last)
	stop()
	if ended := <-done; ended != nil {
		return ended
	}
	return err
}

// same compares two indexes at a sequence. Digest looks at whether the families
// agree as well.
func same(got, want *indexer.Index, seq uint64) error {
	if seq == 0 {
		return nil
	}
	wantDigest, wantRows, err := want.Digest(seq)
	if err != nil {
		return err
	}
	digest, rows, err := got.Digest(seq)
	if err != nil {
		return err
	}
	if digest != wantDigest || rows != wantRows {
		return fmt.Errorf("at %d it says %s of %d assignments, a fresh one %s of %d", seq, digest, rows, wantDigest, wantRows)
	}
	return nil
}
