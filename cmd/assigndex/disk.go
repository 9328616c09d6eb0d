package main

import (
	"context"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assigndex/assigndex/indexer/diskguard"
	"github.com/assigndex/assigndex/indexer/stream"
)

// Places whose disks are watched. They may be on different file systems.
const (
	placeIndex  = "index"
	placeStream = "stream" // of the embedded server
)

// newDiskGuard takes a first look at the disks of the data directory.
func (n *node) newDiskGuard() *diskguard.Guard {
	places := []diskguard.Place{{Name: placeIndex, Dir: n.cfg.DataDir}}
	if n.nats != nil {
		places = append(places, diskguard.Place{Name: placeStream, Dir: filepath.Join(n.cfg.DataDir, "nats")})
	}
	return diskguard.New(diskguard.Options{Places: places, Reserve: n.cfg.MinFreeBytes, Logger: n.log})
}

// guardDisk watches the disks, and keeps the embedded server from filling its own,
// until the context ends, which it returns.
func (n *node) guardDisk(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.disk.Run(ctx) })
	if n.nats != nil {
		g.Go(func() error { return n.holdStream(ctx) })
		g.Go(func() error { return n.nats.Heal(ctx, func() bool { return !n.disk.Low(placeStream) }) })
	}
	return g.Wait()
}

// holdEvery is how often holdStream looks at what the guard says.
const holdEvery = 500 * time.Millisecond

// holdStream makes the embedded server's stream refuse events while its disk is
// low, and take them again. What fails is tried again: a server that is being
// started does not answer.
func (n *node) holdStream(ctx context.Context) error {
	tick := time.NewTicker(holdEvery)
	defer tick.Stop()
	held, told := false, false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		low := n.disk.Low(placeStream)
		if low == held {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 10*holdEvery)
		var err error
		if low {
			err = stream.Hold(limited, n.js, n.streamConfig(), n.disk.Free(placeStream))
		} else {
			err = stream.Ensure(limited, n.js, n.streamConfig())
		}
		cancel()
		switch {
		case err == nil:
			held, told = low, false
			n.log.Info().Bool("refuses", held).Str("stream", n.cfg.Stream).Msg("the stream follows the room on its disk")
		case ctx.Err() == nil && !told:
			told = true
			n.log.Warn().Err(err).Bool("refuse", low).Msg("the stream's limit could not be set to the room on its disk; trying on")
		}
	}
}

// streamConfig is how the stream is made.
func (n *node) streamConfig() stream.Config {
	return stream.Config{
		Name: n.cfg.Stream, MaxAge: n.cfg.StreamMaxAge, MaxBytes: n.cfg.StreamMaxBytes, Replicas: n.replicas(), Own: n.cfg.EmbeddedNATS(),
		// An index that cannot be read was built from a stream as well.
		Present: n.applied() > 0 || n.upgrade != nil || n.frozen != nil,
	}
}
