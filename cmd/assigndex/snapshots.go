package main

import (
	"context"
	"io"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/snapshot"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
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
		Source: snapshotSource{func() *store.Store { return n.store }},
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

// snapshotSource takes snapshots of the store.
type snapshotSource struct{ store func() *store.Store }

// Applied is part of snapshotbucket.Source.
func (s snapshotSource) Applied() position.Position { return s.store().Applied() }

// Snapshot is part of snapshotbucket.Source. API keys are not in it: they lie in the
// same NATS already.
func (s snapshotSource) Snapshot(ctx context.Context, w io.Writer) (snapshotbucket.Meta, error) {
	sum, err := snapshot.Write(ctx, w, s.store(), snapshot.WriteOptions{})
	if err != nil {
		return snapshotbucket.Meta{}, err
	}
	return snapshotbucket.Meta{At: sum.At, Floor: sum.Floor, Taken: sum.Taken, Format: sum.Index, Fold: sum.Fold}, nil
}
