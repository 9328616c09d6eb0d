package store

import (
	"context"
	"math"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
)

// pruneChunk is how many changes are removed together, so that a commit never
// waits long behind them.
const pruneChunk = 2_000

// PruneChanges removes the change log up to the floor and returns how many
// changes that were. It may run beside batches and readers: who reads the log
// begins at the floor or above it. When it is interrupted the next call goes on.
func (s *Store) PruneChanges(ctx context.Context) (pruned int, err error) {
	for floor := s.Floor(); ; {
		n, err := s.pruneChanges(floor)
		if pruned += n; err != nil || n < pruneChunk {
			return pruned, err
		}
		if err := ctx.Err(); err != nil {
			return pruned, err
		}
	}
}

// pruneChanges removes at most pruneChunk changes.
func (s *Store) pruneChanges(floor uint64) (pruned int, err error) {
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{byte(keys.ChangeTag)}, false
	it := txn.NewIterator(o)
	defer it.Close()
	wb := s.db.NewManagedWriteBatch()
	defer wb.Cancel()
	for it.Rewind(); it.Valid() && pruned < pruneChunk; {
		key := it.Item().KeyCopy(nil)
		tenant, change, err := keys.ParseChange(key)
		if err != nil {
			return pruned, err
		}
		if change.Seq > floor { // the tenant's other changes are later still
			it.Seek(keys.End(keys.Prefix(nil, keys.ChangeTag, tenant)))
			continue
		}
		if err := wb.DeleteAt(key, floor); err != nil {
			return pruned, err
		}
		pruned++
		it.Next()
	}
	return pruned, s.fault.Step(fault.Prune, wb.Flush)
}
