package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
)

// Directories of a bootstrap that is under way. Whatever is in them when a server
// starts was left by one that was cut short, and is nobody's.
const (
	bootstrapDir = "bootstrap"     // what is being restored
	replacedDir  = "bootstrap-old" // the new, empty index that gives way
)

// sweepBootstrap removes what a bootstrap has left that was cut short.
func sweepBootstrap(data string) error {
	for _, name := range []string{bootstrapDir, replacedDir} {
		if err := os.RemoveAll(filepath.Join(data, name)); err != nil {
			return fmt.Errorf("remove what an interrupted bootstrap left: %w", err)
		}
	}
	return nil
}

// openOrBootstrap opens an index. One that has read nothing begins with the newest
// snapshot that suits, when that is asked for; one that has is left alone. Wherever it
// is killed, the index is still new or all of the snapshot.
func (n *node) openOrBootstrap(ctx context.Context, reader *stream.Reader, dir string) (*indexer.Generation, error) {
	g, err := openGeneration(n.storeOptions(dir))
	if err != nil {
		return nil, err
	}
	// Not before: another server may have the index open.
	if err := sweepBootstrap(n.cfg.DataDir); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if !n.cfg.Snapshots.Bootstrap {
		return g, nil
	}
	if at := g.Store.Applied(); at.Stream.Name != "" {
		n.log.Info().Uint64("seq", at.Seq).Msg("there is an index already: --bootstrap does nothing")
		return g, nil
	}
	work := filepath.Join(n.cfg.DataDir, bootstrapDir)
	h, err := n.bucket.RestoreNewest(ctx, work, snapshotbucket.RestoreOptions{
		Suits: func(s snapshotbucket.Stored) error { return suits(ctx, reader, s) }, Room: n.disk.Room, Logger: n.log,
	})
	if errors.Is(err, snapshotbucket.ErrNone) {
		n.log.Warn().Err(err).Msg("--bootstrap found no snapshot to begin with: the index is built from the stream's beginning")
		return g, nil
	}
	if err = errors.Join(err, g.Close()); err == nil {
		err = n.adopt(work, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	n.log.Info().Uint64("seq", h.At.Seq).Uint64("floor", h.Floor).Str("incarnation", h.At.Stream.Incarnation).Time("taken", h.Taken).
		Msg("the index begins with a snapshot")
	return openGeneration(n.storeOptions(dir))
}

// adopt puts a restored index in the place of a new one, which is closed. By renames:
// were a part of the new index removed, nothing could open the rest.
func (n *node) adopt(restored, dir string) error {
	old := filepath.Join(n.cfg.DataDir, replacedDir)
	if err := os.Rename(dir, old); err != nil {
		return err
	}
	if err := os.Rename(restored, dir); err != nil {
		return err
	}
	return errors.Join(syncDir(n.cfg.DataDir), os.RemoveAll(old))
}

// restoreNewest makes an index, for a rebuild, of the newest snapshot that the stream
// reaches and that is of no later sequence, and gives its own.
func restoreNewest(
	ctx context.Context, bucket *snapshotbucket.Bucket, reader *stream.Reader, dir string, atMost uint64, o snapshotbucket.RestoreOptions,
) (uint64, error) {
	o.Suits = func(s snapshotbucket.Stored) error {
		if s.At.Seq > atMost {
			return fmt.Errorf("%w: it is of sequence %d, above %d", snapshotbucket.ErrUnsuited, s.At.Seq, atMost)
		}
		return suits(ctx, reader, s)
	}
	h, err := bucket.RestoreNewest(ctx, dir, o)
	return h.At.Seq, err
}

// suits reports whether an index could begin with a snapshot: whether this program can
// open what it holds, and the stream is its stream and goes on from it.
func suits(ctx context.Context, reader *stream.Reader, s snapshotbucket.Stored) error {
	if s.Format != store.Format || s.Fold != fold.Version {
		return fmt.Errorf("%w: it has format %d and fold %d, this program has format %d and fold %d",
			snapshotbucket.ErrUnsuited, s.Format, s.Fold, store.Format, fold.Version)
	}
	err := reader.Reaches(ctx, s.At)
	if _, parted := errors.AsType[*stream.Parting](err); parted {
		return fmt.Errorf("%w: %w", snapshotbucket.ErrUnsuited, err)
	}
	return err
}
