package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/assigndex/assigndex/indexer"
	"github.com/assigndex/assigndex/indexer/generation"
	"github.com/assigndex/assigndex/indexer/rebuild"
	"github.com/assigndex/assigndex/indexer/store"
	"github.com/assigndex/assigndex/indexer/stream"
	"github.com/assigndex/assigndex/indexer/stream/snapshotbucket"
	"github.com/assigndex/assigndex/indexer/verify"
)

// openIndex opens the index that is current in the data directory, to be kept up with
// the stream by a reader over the node's own connection. One that an older version of
// this program wrote is made again beside what is served; see upgrade.
func (n *node) openIndex(ctx context.Context, reader *stream.Reader) error {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return err
	}
	// The lock of the index does not do: which that is a rebuild of a stopped server may
	// be changing now.
	var err error
	if n.unlock, err = generation.Lock(n.cfg.DataDir); err != nil {
		return err
	}
	dir, err := generation.Current(n.cfg.DataDir)
	if err != nil {
		return err
	}
	if n.frozen, err = generation.ReadFrozen(n.cfg.DataDir); err != nil {
		return err
	}
	age, err := store.AgeOf(dir)
	if err != nil {
		return err
	}
	var g *indexer.Generation
	switch {
	case n.frozen != nil:
		g, err = openGeneration(n.storeOptions(dir))
	case age == store.OldRules:
		n.upgrade = newUpgrade(n, reader)
		o := n.storeOptions(dir)
		o.OldRules = true
		if g, err = openGeneration(o); err == nil {
			g.End = n.upgrade
		}
	case age == store.Older:
		n.upgrade = newUpgrade(n, reader)
		g, err = n.openNothing()
	default:
		if g, err = n.openOrBootstrap(ctx, reader, dir); err == nil {
			g.Stream = reader
		}
	}
	if err != nil {
		return err
	}
	n.metrics = indexer.NewMetrics()
	n.host = indexer.NewHost(g, n.indexerOptions())
	n.index = n.host.Index()
	if err := rebuild.Sweep(n.cfg.DataDir); err != nil {
		return fmt.Errorf("remove what an interrupted rebuild left: %w", err)
	}
	return nil
}

func openGeneration(o store.Options) (*indexer.Generation, error) {
	st, err := store.Open(o)
	if err != nil {
		return nil, err
	}
	return &indexer.Generation{Store: st, Close: st.Close}, nil
}

// openNothing stands in for an index that this program cannot read: it was never tied
// to a stream, so that every read is answered with a 503.
func (n *node) openNothing() (*indexer.Generation, error) {
	dir, err := os.MkdirTemp("", "assigndex-")
	if err != nil {
		return nil, err
	}
	o := n.storeOptions(dir)
	o.Temporary = true
	g, err := openGeneration(o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	closeStore := g.Close
	g.Close = func() error { return errors.Join(closeStore(), os.RemoveAll(dir)) }
	return g, nil
}

// storeOptions open an index as this node's settings want it.
func (n *node) storeOptions(dir string) store.Options {
	return store.Options{Dir: dir, Thresholds: n.levels(), Logger: n.log}
}

// indexerOptions are those of whichever generation is served.
func (n *node) indexerOptions() indexer.Options {
	return indexer.Options{
		History: n.cfg.HistoryWindow(), HistoryBytes: n.cfg.HistoryMaxBytes, AcceptTrimmed: n.cfg.AcceptTrimmed, Logger: n.log, Metrics: n.metrics,
		Disk: n.disk,
	}
}

// rebuildOptions are of what makes the index again. It reads the stream over
// connections of its own, one for the build and one that the fresh index keeps.
func (n *node) rebuildOptions() rebuild.Options {
	return rebuild.Options{
		DataDir: n.cfg.DataDir, AcceptTrimmed: n.cfg.AcceptTrimmed, Thresholds: n.levels(), Disk: n.disk, Logger: n.log,
		Stream:  func(context.Context, string) (verify.Stream, error) { return n.ownReader("assigndex rebuild") },
		Store:   func(dir string) (*store.Store, error) { return store.Open(n.storeOptions(dir)) },
		Restore: n.restoreForRebuild,
	}
}

// ownReader reads the stream over a connection of its own.
func (n *node) ownReader(name string) (*ownReader, error) {
	nc, err := n.dial(name)
	if err != nil {
		return nil, err
	}
	return newOwnReader(nc, n.cfg.Stream, n.log)
}

// applied is the last sequence of the index that is served.
func (n *node) applied() uint64 {
	seq, _ := n.index.Applied()
	return seq
}

// restoreForRebuild begins a rebuild with the newest snapshot in the object store.
func (n *node) restoreForRebuild(ctx context.Context, dir string, atMost uint64) (uint64, error) {
	reader := stream.NewReader(n.nc, n.js, n.cfg.Stream, n.log)
	return restoreNewest(ctx, n.bucket, reader, dir, atMost, snapshotbucket.RestoreOptions{Room: n.disk.Room, Logger: n.log})
}
