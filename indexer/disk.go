package indexer

import (
	"context"
	"time"

	"github.com/assigndex/assigndex/indexer/fold"
)

// Disk tells whether the index may be written to. A full disk would end the
// process, so nothing is begun while little is free. See package diskguard.
type Disk interface {
	// Wait returns when there is room, or with the context's error.
	Wait(ctx context.Context) error
	// Low reports that there is none in a place; with no name: in any.
	Low(place string) bool
	// Room reports whether so many more bytes may be written.
	Room(bytes int64) bool
}

// anyDisk is a disk that always has room.
type anyDisk struct{}

func (anyDisk) Wait(context.Context) error { return nil }
func (anyDisk) Low(string) bool            { return false }
func (anyDisk) Room(int64) bool            { return true }

// waitForRoom returns when the disk has room. Messages that are not taken tell
// nothing of the stream's end, so meanwhile it is asked for: the lag is to be seen.
func (x *Indexer) waitForRoom(ctx context.Context) error {
	for {
		limited, cancel := context.WithTimeout(ctx, askEvery)
		err := x.opts.Disk.Wait(limited)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if _, err := x.stream.Ask(ctx, time.Now()); err != nil {
			x.log.Debug().Err(err).Msg("the end of the stream is not known while the disk has no room")
		}
	}
}

// askEvery is how often the stream's end is asked for while the disk has no room.
const askEvery = 2 * time.Second

// paced writes what an event writes, and waits for room on the way: one event may
// write any number of rows, and Badger takes them to the disk before the batch is
// committed.
type paced struct {
	fold.Writer
	wait   func() error
	writes int
}

// pacedWrites is how many writes go between two looks at the disk, about 10 MB of
// usual rows.
const pacedWrites = 10_000

func (p *paced) pace() error {
	if p.writes++; p.writes%pacedWrites != 0 {
		return nil
	}
	return p.wait()
}

// Put is part of fold.Writer.
func (p *paced) Put(key, value []byte) error {
	if err := p.pace(); err != nil {
		return err
	}
	return p.Writer.Put(key, value)
}

// Delete is part of fold.Writer.
func (p *paced) Delete(key []byte) error {
	if err := p.pace(); err != nil {
		return err
	}
	return p.Writer.Delete(key)
}
