package store

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
	"github.com/assigndex/assigndex/indexer/rows"
	"github.com/assigndex/assigndex/indexer/store/spill"
)

// BuildOptions make a Builder.
type BuildOptions struct {
	// Dir must not exist. Before Finish is over Open refuses it with ErrFormat.
	Dir string
	// Floor is the index's when it is done, if it is not above its watermark then; of
	// the history below only what can be seen at the floor is kept.
	Floor uint64
	// Memory is how many bytes collecting takes; 0: DefaultBuildMemory. Writing the
	// tables in the end takes about 60 MB for each processor, up to four, on top of a
	// half of it.
	Memory     int64
	Thresholds *rows.Thresholds // as Options.Thresholds
	// Room returns when the disk has room for another file, or with an error that ends
	// the build; nil: there is always room.
	Room  func() error
	Fault fault.Hook // see package fault
}

// DefaultBuildMemory is what a Builder takes unless it is told otherwise.
const DefaultBuildMemory = 128 << 20

// Builder makes a new index from events, all at once: nothing can be read before it is
// done, but for what the fold reads, and nothing is durable. It is the fold's State and
// Writer, as a Batch is, and what it makes answers as an index that was made by batches
// and whose floor was moved.
//
// What was written lies in sorted files in a directory inside Dir, until Finish merges
// them into tables. Both together take about twice what the index does.
//
// It is used by one goroutine, and ends with Close.
type Builder struct {
	opts     BuildOptions
	set      *spill.Set
	ts       uint64 // the sequence of the event that is being applied
	changes  uint32 // how many assignments it has changed so far
	tally    tally
	times    steps
	base     *heldRung // the last one at or below the floor; nil: none, or written
	entities entityCache
}

type heldRung struct {
	seq   uint64
	value []byte
}

// collectDir holds what is collected, in the directory of an index that is built.
const collectDir = "build"

// buildingFile keeps a directory from being taken for that of a new index, which an
// empty one is, until there are tables.
const (
	buildingFile = "UNFINISHED"
	buildingText = "An index was being built here, and is not finished. Remove this directory and build again.\n"
)

// NewBuilder makes the directory.
func NewBuilder(o BuildOptions) (*Builder, error) {
	if o.Memory <= 0 {
		o.Memory = DefaultBuildMemory
	}
	if o.Thresholds == nil {
		o.Thresholds = &rows.DefaultThresholds
	}
	if o.Room == nil {
		o.Room = func() error { return nil }
	}
	if err := os.MkdirAll(filepath.Dir(o.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("build an index: %w", err)
	}
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("build an index: %w", err)
	}
	if err := writeSynced(filepath.Join(o.Dir, buildingFile), []byte(buildingText)); err != nil {
		return nil, fmt.Errorf("build an index: %w", err)
	}
	b := &Builder{
		opts: o, entities: make(entityCache),
		tally: tally{thresholds: *o.Thresholds, deltas: make(map[string]rows.Counts)},
	}
	var err error
	b.set, err = spill.New(spill.Options{
		Dir: filepath.Join(o.Dir, collectDir), Memory: o.Memory, Floor: o.Floor,
		// What the rules of the fold read: records, guards and the quarantine one by one, and
		// rows by what they are revoked or moved along with.
		Got:     []byte{byte(keys.ByAssignee), byte(keys.EntityTag), byte(keys.GuardTag), byte(keys.QuarantineTag)},
		Scanned: []byte{byte(keys.ByAssignee), byte(keys.ByEntitlement), byte(keys.ByApp)},
		Step: func(merge bool, do func() error) error {
			at := fault.BuildRun
			if merge {
				at = fault.BuildMerge
			}
			if err := o.Room(); err != nil {
				return err
			}
			return o.Fault.Step(at, do)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("build an index: %w", err)
	}
	return b, nil
}

// At sets the sequence of the event that writes next.
func (b *Builder) At(seq uint64) { b.ts, b.changes = seq, 0 }

// Saw notes the time of the message at the event's sequence, Unix nanoseconds, for
// the timeline. An erased message has none.
func (b *Builder) Saw(nano int64) { b.times.saw(b.ts, nano) }

// Get returns the value of key just before the event, nil when absent. Only what the
// rules of the fold read can be asked for.
func (b *Builder) Get(key []byte) ([]byte, error) { return b.entities.through(key, b.set.Get) }

// Scan visits the keys with a prefix as they were when it was called. Only what the
// rules of the fold read can be asked for.
func (b *Builder) Scan(prefix []byte, visit func(key, value []byte) error) error {
	return b.set.Scan(prefix, visit)
}

// Put writes a key at the event's sequence. The builder keeps key and value.
func (b *Builder) Put(key, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	b.entities.wrote(key, value)
	return b.set.Put(key, value, b.ts)
}

// Delete removes a key at the event's sequence. The builder keeps key.
func (b *Builder) Delete(key []byte) error {
	b.entities.wrote(key, nil)
	return b.set.Delete(key, b.ts)
}

// Changed counts the change of an assignment and adds it to the change log. It is
// part of fold.Writer.
func (b *Builder) Changed(at rows.Moment, id keys.Row, before, after *rows.Row) error {
	b.tally.recount(id, before, after)
	n := b.changes
	b.changes++
	if b.ts <= b.opts.Floor {
		return nil // nobody may ask for it
	}
	return b.set.Put(keys.ChangeOf(id.Tenant, keys.Change{Seq: b.ts, N: n}), keys.Logged{Nano: at.Nano, Row: id}.Encode(), b.ts)
}

// Mark ends what would be a batch, with a rung of the timeline. It must be called every
// few thousand events; the watermark need not have a fingerprint.
func (b *Builder) Mark(w Watermark) error {
	b.times.saw(w.Seq, w.Nano)
	value := b.times.rungValue(w)
	b.times.grown = b.times.grown[:0]
	if w.Seq <= b.opts.Floor {
		b.base = &heldRung{w.Seq, value} // those before it are below the floor
		return nil
	}
	if err := b.putBase(); err != nil {
		return err
	}
	return b.set.Put(rungKey(w.Seq), value, constant)
}

// putBase writes the rung that covers the floor.
func (b *Builder) putBase() error {
	if b.base == nil {
		return nil
	}
	base := *b.base
	b.base = nil
	return b.set.Put(rungKey(base.seq), base.value, constant)
}

// Finish makes the index durable, at a watermark that the last Mark was at, or at the
// position before the first message. progress is told of keys. It gives the watermark
// as it is stored. After an error only Close may be called.
func (b *Builder) Finish(w Watermark, progress func(done, of int64)) (Watermark, error) {
	if b.times.peak != 0 { // otherwise there was no message
		w.Peak = b.times.peak
	}
	if err := b.putConstants(w); err != nil {
		return w, fmt.Errorf("build an index: %w", err)
	}
	if err := b.writeTables(progress); err != nil {
		return w, fmt.Errorf("build an index: %w", err)
	}
	err := b.opts.Fault.Step(fault.BuildMark, func() error {
		if err := syncDir(filepath.Dir(b.opts.Dir)); err != nil {
			return err
		}
		return writeMarker(filepath.Join(b.opts.Dir, markerFile))
	})
	if err != nil {
		return w, fmt.Errorf("mark the index that was built: %w", err)
	}
	return w, nil
}

// putConstants writes what the store keeps for itself.
func (b *Builder) putConstants(w Watermark) error {
	if err := b.putBase(); err != nil {
		return err
	}
	value, err := json.Marshal(&w)
	if err != nil {
		return err
	}
	if err := b.set.Put(watermarkKey, value, constant); err != nil {
		return err
	}
	if floor := min(b.opts.Floor, w.Seq); floor > 0 {
		if err := b.set.Put(floorKey, binary.BigEndian.AppendUint64(nil, floor), constant); err != nil {
			return err
		}
	}
	if b.tally.lost {
		return nil // counted when the index is opened
	}
	for key, sum := range b.tally.deltas {
		if sum == (rows.Counts{}) {
			continue
		}
		if err := b.set.Put([]byte(key), sum.Encode(), constant); err != nil {
			return err
		}
	}
	if value, err = json.Marshal(counting{Thresholds: b.tally.thresholds, Valid: true}); err != nil {
		return err
	}
	return b.set.Put(countingKey, value, constant)
}

// Close ends a build. One that was not finished leaves a directory that is no index
// and that is the caller's to remove.
func (b *Builder) Close() error { return b.set.Close() }
