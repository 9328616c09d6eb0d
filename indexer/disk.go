package indexer

import (
	"context"

	"github.com/assigndex/assigndex/indexer/store"
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

// paced writes what an event writes, and waits for room on the way: one event may
// write any number of rows, and Badger takes them to the disk before the batch is
// committed.
type paced struct {
	*store.Batch
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
	return p.Batch.Put(key, value)
}

// Delete is part of fold.Writer.
func (p *paced) Delete(key []byte) error {
	if err := p.pace(); err != nil {
		return err
	}
	return p.Batch.Delete(key)
}
