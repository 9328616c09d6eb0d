package indexer

import (
	"context"
	"fmt"
)

// tidy removes what the window no longer needs each time that the floor has
// moved. It has a goroutine of its own, so that commits do not wait for it.
func (x *Indexer) tidy(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.floorMoved:
			if err := x.opts.Disk.Wait(ctx); err != nil {
				return err
			}
			if _, err := x.store.PruneChanges(ctx); err != nil {
				return fmt.Errorf("prune the change log: %w", err)
			}
		}
	}
}
