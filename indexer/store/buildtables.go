package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/store/spill"
)

// Badger's StreamWriter would do what follows, too. It takes each entry as an encoded
// message, keeps all tables mapped, and syncs the list of tables at each.

const (
	// builtTableBytes is the size of a table. Badger's own have up to twice that size in
	// the last level of an index of some gigabytes. Making one takes about fourteen times
	// as much memory: what is compressed, and what is not yet, lie side by side.
	builtTableBytes = 4 << 20
	// builtLevel is the last level: the tables hold everything, in order.
	builtLevel = 6
	// deletedMeta is how Badger marks a deletion.
	deletedMeta = 1
	// mostParts is how many tables are made at once.
	mostParts = 4
)

// writeTables merges what was collected into the tables of a Badger directory, and
// makes those durable.
func (b *Builder) writeTables(progress func(done, of int64)) error {
	if err := b.opts.Room(); err != nil {
		return err
	}
	t := tables{Builder: b, of: b.set.Versions(), progress: progress}
	if err := b.opts.Fault.Step(fault.BuildTables, t.write); err != nil {
		return err
	}
	if err := b.set.Close(); err != nil { // nothing but tables may be there when the marker is
		return err
	}
	return b.opts.Fault.Step(fault.BuildManifest, t.writeManifest)
}

// tables are those of an index that is being finished.
type tables struct {
	*Builder
	of     int64
	lastID atomic.Uint64

	mu       sync.Mutex // guards what follows
	done     int64
	progress func(done, of int64)
	ids      []uint64
}

func (t *tables) write() error {
	parts, err := t.set.Parts(min(runtime.GOMAXPROCS(0), mostParts))
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, p := range parts {
		g.Go(func() error { return t.writePart(p) })
	}
	return g.Wait()
}

// writePart makes the tables of a part. One is made while the one before it is written.
func (t *tables) writePart(p *spill.Part) error {
	var g errgroup.Group
	g.SetLimit(1)
	told := int64(0)
	err := eachTable(p, func(content []byte) error {
		if err := t.opts.Room(); err != nil {
			return err
		}
		versions := p.Count - told
		told = p.Count
		g.Go(func() error { return t.writeTable(content, versions) })
		return nil
	})
	return errors.Join(err, g.Wait())
}

// eachTable makes the tables of a part, one after the other.
func eachTable(p *spill.Part, made func(content []byte) error) error {
	var b *table.Builder // nil: none is begun
	var key, last []byte
	for {
		v, err := p.Next()
		if err != nil {
			return err
		}
		// All versions of a key must lie in one table.
		if b != nil && (v == nil || (b.ReachedCapacity() && string(v.Key) != string(last))) {
			content := b.Finish()
			b.Close()
			b = nil
			if err := made(content); err != nil {
				return err
			}
		}
		if v == nil {
			return nil
		}
		if b == nil {
			b = table.NewTableBuilder(builtTableOptions())
		}
		value := y.ValueStruct{Value: v.Value}
		if v.Deleted {
			value.Meta = deletedMeta
		}
		key = append(append(key[:0], v.Key...), 0, 0, 0, 0, 0, 0, 0, 0)
		binary.BigEndian.PutUint64(key[len(v.Key):], ^v.TS) // as y.KeyWithTs does
		b.Add(key, value, 0)
		last = append(last[:0], v.Key...)
	}
}

func builtTableOptions() table.Options {
	return table.Options{
		TableSize: builtTableBytes, BlockSize: 4 << 10, BloomFalsePositive: 0.01,
		ChkMode: options.OnBlockRead, Compression: options.Snappy,
	}
}

func (t *tables) writeTable(content []byte, versions int64) error {
	id := t.lastID.Add(1)
	if err := writeSynced(table.NewFilename(id, t.opts.Dir), content); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ids = append(t.ids, id)
	t.done += versions
	if t.progress != nil {
		t.progress(t.done, t.of)
	}
	return nil
}

// writeManifest writes Badger's list of tables: a magic number, and one record with its
// length and checksum.
func (t *tables) writeManifest() error {
	slices.Sort(t.ids)
	var set pb.ManifestChangeSet
	for _, id := range t.ids {
		set.Changes = append(set.Changes, &pb.ManifestChange{
			Id: id, Op: pb.ManifestChange_CREATE, Level: builtLevel, Compression: uint32(options.Snappy),
		})
	}
	record, err := proto.Marshal(&set)
	if err != nil {
		return err
	}
	const badgerVersion = 8
	content := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte("Bdgr"), 0), badgerVersion)
	content = binary.BigEndian.AppendUint32(content, uint32(len(record))) //nolint:gosec // some bytes a table
	content = binary.BigEndian.AppendUint32(content, crc32.Checksum(record, y.CastagnoliCrcTable))
	if err := writeSynced(filepath.Join(t.opts.Dir, badger.ManifestFilename), append(content, record...)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(t.opts.Dir, buildingFile)); err != nil {
		return err
	}
	return syncDir(t.opts.Dir)
}
