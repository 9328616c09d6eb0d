package store

import (
	"cmp"
	"math"
	"slices"
	"strings"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
)

// maxPending and maxPendingBytes bound the writes that a batch remembers to read
// them back. A cascade may write any number: past either it no longer remembers,
// and the batch must be committed before the next event (Full).
const (
	maxPending      = 50_000
	maxPendingBytes = 32 << 20 // of keys and values
)

// Batch collects what consecutive events write and makes it durable together.
// It reads as the index plus its own writes, so that each event sees the state
// just before it. It is the fold's State and Writer.
//
// A batch is not atomic in Badger. It need not be: until the watermark moves,
// nobody reads at its timestamps, and applying its events again writes the same.
type Batch struct {
	store   *Store
	txn     *badger.Txn // reads at the watermark
	wb      *badger.WriteBatch
	ts      uint64             // the sequence of the event that is being applied
	changes uint32             // how many assignments it has changed so far
	pending map[string]pending // the writes so far, for reading
	before  map[string]pending // those of the batch before, which may not be durable yet
	bytes   int                // of the writes so far
	full    bool
	tally   tally
	times   steps
	// entities are kept for reading, as the events so far left them; nil: absent.
	// Batches hand them on to each other.
	entities entityCache
}

type pending struct {
	value   []byte
	deleted bool
}

// NewBatch begins a batch after another one that is being committed, or at the
// watermark when that is nil. The one before must not be Full and may be
// committed by another goroutine meanwhile; the one before that must have been.
// A batch ends with Commit or Cancel.
func (s *Store) NewBatch(before *Batch) *Batch {
	b := &Batch{
		store: s,
		txn:   s.db.NewTransactionAt(s.Applied().Seq, false),
		wb:    s.db.NewManagedWriteBatch(),
		tally: tally{thresholds: s.thresholds, deltas: make(map[string]rows.Counts)},
	}
	if before != nil {
		b.before, b.entities, b.times.peak = before.pending, before.entities, before.times.peak
	} else {
		b.entities, b.times.peak = make(entityCache), peakOf(s.Applied())
	}
	b.pending = make(map[string]pending, len(b.before)) // batches in a row are of a size
	return b
}

// At sets the sequence of the event that writes next.
func (b *Batch) At(seq uint64) { b.ts, b.changes = seq, 0 }

// Saw notes the time of the message at the event's sequence, Unix nanoseconds, for
// the timeline. An erased message has none.
func (b *Batch) Saw(nano int64) { b.times.saw(b.ts, nano) }

// Full reports that the batch must be committed before the next event is applied,
// in this batch or in another one.
func (b *Batch) Full() bool {
	return b.full || b.tally.lost || b.tally.bytes > fullCounterBytes || (b.ts > 0 && b.ts < b.store.undone)
}

// Get returns the value of key just before the event, nil when absent.
func (b *Batch) Get(key []byte) ([]byte, error) { return b.entities.through(key, b.read) }

// read is Get without the kept entities.
func (b *Batch) read(key []byte) ([]byte, error) {
	for _, written := range []map[string]pending{b.pending, b.before} {
		if p, ok := written[string(key)]; ok {
			if p.deleted {
				return nil, nil
			}
			return p.value, nil
		}
	}
	return get(b.txn, key)
}

// Put writes a key at the event's sequence. The batch keeps key and value.
func (b *Batch) Put(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	b.entities.wrote(key, value)
	b.remember(key, pending{value: value})
	write := func(ts uint64) error { return b.wb.SetEntryAt(badger.NewEntry(key, value), ts) }
	if err := write(b.ts); err != nil {
		return err
	}
	return b.eachUndone(key, write)
}

// Delete removes a key at the event's sequence. The batch keeps key.
func (b *Batch) Delete(key []byte) error {
	b.entities.wrote(key, nil)
	b.remember(key, pending{deleted: true})
	write := func(ts uint64) error { return b.wb.DeleteAt(key, ts) }
	if err := write(b.ts); err != nil {
		return err
	}
	return b.eachUndone(key, write)
}

// Changed counts the change of an assignment and adds it to the change log. It is
// part of fold.Writer.
func (b *Batch) Changed(at rows.Moment, id keys.Row, before, after *rows.Row) error {
	b.tally.recount(id, before, after)
	key := keys.ChangeOf(id.Tenant, keys.Change{Seq: b.ts, N: b.changes})
	b.changes++
	return b.Put(key, keys.Logged{Nano: at.Nano, Row: id}.Encode())
}

// eachUndone visits the versions of key above the event's sequence. Only Open
// leaves such, when it undoes what a crash left: they repeat what the key held at
// the watermark of then. The events now need not be those of then (messages may
// have been erased or lost since), so each write is repeated over them, or they
// would hide it from readers at their sequences and above. Up to the highest of
// them each event has a batch of its own (Full), so that no such repetition can
// come after the write of a later event.
func (b *Batch) eachUndone(key []byte, visit func(ts uint64) error) error {
	if b.ts >= b.store.undone {
		return nil
	}
	txn := b.store.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	o := badger.DefaultIteratorOptions
	o.AllVersions, o.PrefetchValues, o.SinceTs = true, false, b.ts
	it := txn.NewKeyIterator(key, o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if ts := it.Item().Version(); ts > b.ts {
			if err := visit(ts); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Batch) remember(key []byte, p pending) {
	switch keys.Tag(key[0]) {
	case keys.ByAppAndEnt, keys.ChangeTag:
		return // no rule reads these families
	}
	b.bytes += len(key) + len(p.value)
	if len(b.pending) >= maxPending || b.bytes > maxPendingBytes {
		b.full = true // no event after this one will read here
		return
	}
	b.pending[string(key)] = p
}

// Scan visits the keys with a prefix as they were when it was called: the index
// at the watermark merged with what earlier events of the batch wrote.
func (b *Batch) Scan(prefix []byte, visit func(key, value []byte) error) error {
	mine := b.pendingUnder(string(prefix))
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = prefix, false
	it := b.txn.NewIterator(o)
	defer it.Close()
	it.Rewind()
	for it.Valid() || len(mine) > 0 {
		order := -1 // the stored key comes first
		switch {
		case !it.Valid():
			order = 1
		case len(mine) > 0:
			order = strings.Compare(string(it.Item().Key()), mine[0].key)
		}
		if order >= 0 {
			next := mine[0]
			mine = mine[1:]
			if order == 0 {
				it.Next() // written again by the batch
			}
			if next.deleted {
				continue
			}
			if err := visit([]byte(next.key), next.value); err != nil {
				return err
			}
			continue
		}
		item := it.Item()
		if err := item.Value(func(value []byte) error { return visit(item.Key(), value) }); err != nil {
			return err
		}
		it.Next()
	}
	return nil
}

type pendingKey struct {
	key string
	pending
}

// pendingUnder gives a sorted copy of the writes so far under a prefix.
func (b *Batch) pendingUnder(prefix string) []pendingKey {
	var under []pendingKey
	for key, p := range b.before {
		if _, again := b.pending[key]; !again && strings.HasPrefix(key, prefix) {
			under = append(under, pendingKey{key, p})
		}
	}
	for key, p := range b.pending {
		if strings.HasPrefix(key, prefix) {
			under = append(under, pendingKey{key, p})
		}
	}
	slices.SortFunc(under, func(x, y pendingKey) int { return cmp.Compare(x.key, y.key) })
	return under
}

// Commit makes the batch durable and then moves the watermark, whose Peak it sets
// to what was seen; the watermark's own time was seen at its sequence at the
// latest. After an error the store must be closed: part of the batch may have been
// written.
func (b *Batch) Commit(w Watermark) error {
	b.txn.Discard()
	b.times.saw(w.Seq, w.Nano)
	w.Peak = b.times.peak
	if err := b.store.fault.Step(fault.Flush, b.wb.Flush); err != nil {
		return err
	}
	return b.store.commitWatermark(w, b.times.rungValue(w), &b.tally)
}

// Cancel gives the batch up. Part of it may have been written above the
// watermark, where nobody reads and the next open undoes it.
func (b *Batch) Cancel() {
	b.txn.Discard()
	b.wb.Cancel()
}
