package main

import (
	"context"
	"errors"
	"io"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/listing"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/query"
	"github.com/assigndex/assigndex/query/httpapi"
)

// openSnapshots opens the bucket of snapshots, over a connection of its own: what goes
// there must not keep the readers' waiting.
func (n *node) openSnapshots() (err error) {
	if n.snapshotConn, err = n.dial("assigndex snapshots"); err != nil {
		return err
	}
	js, err := jetstream.New(n.snapshotConn)
	if err != nil {
		return err
	}
	n.bucket = snapshotbucket.New(js, n.cfg.Stream, snapshotbucket.Options{Replicas: n.replicas(), Logger: n.log})
	return nil
}

// newKeeper makes what takes snapshots and removes them.
func (n *node) newKeeper(reader *stream.Reader) *snapshotbucket.Keeper {
	s := n.cfg.Snapshots
	o := snapshotbucket.KeeperOptions{
		Source: snapshotSource{n},
		Every:  s.Every, Keep: s.Keep, MaxAge: s.MaxAge, Format: store.Format, Fold: fold.Version, Trimmed: n.cfg.AcceptTrimmed, Logger: n.log,
		Stream: func(ctx context.Context) (b snapshotbucket.Bounds, err error) {
			b.Created, b.First, b.Last, err = reader.Bounds(ctx)
			return b, err
		},
	}
	if n.nats != nil { // otherwise the bucket is on other disks than these
		o.Full = func() bool { return n.disk.Low("") }
	}
	return snapshotbucket.NewKeeper(n.bucket, o)
}

// snapshotSource takes snapshots of a node's index.
type snapshotSource struct{ *node }

// Applied is part of snapshotbucket.Source. An index of older rules, which is served while
// it is made again, is nothing to take a snapshot of.
func (s snapshotSource) Applied() position.Position {
	if s.upgrade != nil && len(s.upgrade.troubles()) > 0 {
		return position.Position{}
	}
	seq, incarnation := s.index.Applied()
	return position.Position{Seq: seq, Stream: position.Identity{Incarnation: incarnation}}
}

// Snapshot is part of snapshotbucket.Source. API keys are not in it: they lie in the
// same NATS already.
func (s snapshotSource) Snapshot(ctx context.Context, w io.Writer) (snapshotbucket.Meta, error) {
	sum, err := s.index.Snapshot(ctx, w, snapshot.WriteOptions{})
	if err != nil {
		return snapshotbucket.Meta{}, err
	}
	return snapshotbucket.Meta{At: sum.At, Floor: sum.Floor, Taken: sum.Taken, Format: sum.Index, Fold: sum.Fold}, nil
}

// snapshotStore is what the API takes and lists snapshots in the object store with.
type snapshotStore struct {
	keeper *snapshotbucket.Keeper
	log    zerolog.Logger
}

// Take is part of httpapi.SnapshotStore.
func (s snapshotStore) Take(ctx context.Context, progress func(int64)) (httpapi.StoredSnapshot, error) {
	stored, err := s.keeper.Take(ctx, progress)
	return storedSnapshot(stored), s.problem(ctx, err)
}

// List is part of httpapi.SnapshotStore.
func (s snapshotStore) List(ctx context.Context) ([]httpapi.StoredSnapshot, error) {
	list, err := s.keeper.List(ctx)
	all := make([]httpapi.StoredSnapshot, len(list))
	for i, one := range list {
		all[i] = storedSnapshot(one)
	}
	return all, s.problem(ctx, err)
}

func storedSnapshot(s snapshotbucket.Stored) httpapi.StoredSnapshot {
	return httpapi.StoredSnapshot{
		Name: s.Name, Seq: s.At.Seq, Floor: s.Floor, Stream: s.At.Stream.Incarnation, Created: s.At.Stream.Created, Format: s.Format, Fold: s.Fold,
		Taken: s.Taken, Bytes: s.Bytes,
	}
}

// problem turns an error into the answer to it.
func (s snapshotStore) problem(ctx context.Context, err error) error {
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, listing.ErrReplaced), errors.Is(err, store.ErrDamaged):
		return err
	case errors.Is(err, snapshotbucket.ErrRunning):
		return &query.Error{Code: httpapi.SnapshotRunning, Detail: "one snapshot is taken at a time; ask again when it has ended"}
	case errors.Is(err, snapshotbucket.ErrEmpty):
		return &query.Error{Code: httpapi.NothingApplied, Detail: "the index has applied nothing yet; publish events first"}
	case errors.Is(err, snapshotbucket.ErrFull):
		return &query.Error{Code: httpapi.DiskFull, Detail: "the disk is almost full, so no snapshot is stored on it until there is room"}
	}
	s.log.Warn().Err(err).Msg("the object store of snapshots could not be used")
	return &query.Error{Code: httpapi.ObjectStoreUnavailable, Detail: "the object store does not answer as it should, and the server has logged why; ask again"}
}
