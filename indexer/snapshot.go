package indexer

import (
	"context"
	"io"

	"github.com/assigndex/assigndex/indexer/snapshot"
)

// Snapshot writes a snapshot of the index at the last applied sequence, while events go
// on being applied. See snapshot.Write.
func (x *Index) Snapshot(ctx context.Context, w io.Writer, o snapshot.WriteOptions) (snapshot.Summary, error) {
	s := x.enter()
	defer s.leave()
	return snapshot.Write(ctx, w, s.store, o)
}
