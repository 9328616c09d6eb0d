package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/ristretto/v2/z"
	"github.com/go-json-experiment/json"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/keys"
)

// ErrUnfinished is returned for a directory that an import did not finish.
var ErrUnfinished = errors.New("the restore of this index was cut short")

// ErrNotExported is returned for a version that no Export visits, or not in this order.
var ErrNotExported = errors.New("no index holds this, or not here")

// unfinishedFile lies in a directory from the beginning of an import to its end.
const unfinishedFile = "RESTORING"

// unfinished reports whether a directory was left by an import that was cut short. One
// that has its marker is whole.
func unfinished(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// refuseUnfinished returns ErrUnfinished for such a directory.
func refuseUnfinished(dir string) error {
	left, err := unfinished(dir)
	if err == nil && left {
		err = fmt.Errorf("%w: %s; restore again, which removes what is there, or remove the directory", ErrUnfinished, dir)
	}
	return err
}

// Import makes an index of what an Export visited. It is one goroutine's, and
// ends with Finish or Abort. What it writes is no index before Finish has made it
// durable: nothing opens it.
type Import struct {
	dir   string
	fault fault.Hook
	db    *badger.DB
	tree  *badger.StreamWriter // nil: it has ended
	part  *z.Buffer            // what goes to the tree next

	last   Version // the one added last
	latest uint64  // the highest sequence of any
}

// importBytes is how much is handed to Badger at once.
const importBytes = 4 << 20

// NewImport begins an index in a directory that is absent or empty, or that an import
// which was cut short has left: that is removed first. The logger, the fault hook and
// the directory of the options are used.
func NewImport(o Options) (_ *Import, err error) {
	if err := clearUnfinished(o.Dir); err != nil {
		return nil, fmt.Errorf("restore into %s: %w", o.Dir, err)
	}
	im := &Import{dir: o.Dir, fault: o.Fault}
	if err := o.Fault.Step(fault.RestoreBegin, im.begin); err != nil {
		return nil, errors.Join(fmt.Errorf("restore into %s: %w", o.Dir, err), im.Abort())
	}
	if im.db, err = openBadger(o); err != nil {
		return nil, errors.Join(fmt.Errorf("restore into %s: %w", o.Dir, err), im.Abort())
	}
	im.tree, im.part = im.db.NewStreamWriter(), z.NewBuffer(importBytes+importBytes/4, "restore")
	if err := im.tree.Prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("restore into %s: %w", o.Dir, err), im.Abort())
	}
	return im, nil
}

// clearUnfinished leaves an empty directory.
func clearUnfinished(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, markerFile)); err == nil {
		return errors.New("it is an index; name an empty directory")
	}
	if left, err := unfinished(dir); err != nil || !left {
		return errors.Join(err, fmt.Errorf("it holds %q; name an empty directory", entries[0].Name()))
	}
	return removeImport(dir)
}

// removeImport removes all that an import wrote, the file that says so last.
func removeImport(dir string) error {
	// Without its marker first, or what is left of it would count as an index.
	if err := os.Remove(filepath.Join(dir, markerFile)); err == nil {
		err = syncDir(dir)
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == unfinishedFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	err = os.Remove(filepath.Join(dir, unfinishedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (im *Import) begin() error {
	if err := writeSynced(filepath.Join(im.dir, unfinishedFile), nil); err != nil {
		return err
	}
	return errors.Join(syncDir(im.dir), syncDir(filepath.Dir(filepath.Clean(im.dir))))
}

// Add adds a version, in the order in which Export.Each visits them. What no index
// holds, or not in this order, is refused.
func (im *Import) Add(v *Version) error {
	if err := im.check(v); err != nil {
		return err
	}
	kv := pb.KV{Key: v.Key, Value: v.Value, Version: v.Seq, StreamId: 1}
	if v.Deleted {
		kv.Meta, kv.Value = []byte{badgerDeleted}, nil
	}
	badger.KVToBuffer(&kv, im.part)
	im.last.Key, im.last.Seq = append(im.last.Key[:0], v.Key...), v.Seq
	if im.part.LenNoPadding() < importBytes {
		return nil
	}
	return im.flush()
}

// badgerDeleted marks an entry as a deletion. Badger has no name for it outside.
const badgerDeleted = 1 << 0

// maxKeyBytes is what Badger takes.
const maxKeyBytes = 65_000

func (im *Import) check(v *Version) error {
	if len(v.Key) == 0 || len(v.Key) > maxKeyBytes || v.Seq == 0 || v.Seq == ^uint64(0) {
		return ErrNotExported
	}
	switch keys.Tag(v.Key[0]) {
	case keys.CounterTag:
		return ErrNotExported
	case keys.MetaTag:
		seq, ok := rungOf(v.Key)
		if !ok || v.Seq != constant || v.Deleted {
			return ErrNotExported
		}
		im.latest = max(im.latest, seq)
	}
	im.latest = max(im.latest, v.Seq)
	if order := bytes.Compare(im.last.Key, v.Key); order > 0 || (order == 0 && im.last.Seq <= v.Seq) {
		return ErrNotExported
	}
	return nil
}

// flush hands what was added to Badger.
func (im *Import) flush() error {
	err := im.fault.Step(fault.RestoreWrite, func() error { return im.tree.Write(im.part) })
	im.part.Reset()
	return err
}

// Tables moves all that was added into tables. Nothing can be added after it.
func (im *Import) Tables() error {
	if err := im.flush(); err != nil {
		return err
	}
	return im.fault.Step(fault.RestoreTables, func() error {
		tree := im.tree
		im.tree = nil // it lets Badger go on, whatever it returns
		return tree.Flush()
	})
}

// Finish makes the index that of a watermark and a floor, durable, and one that opens.
// Tables must have been called. What was added must not be above the watermark. After
// an error Abort is to be called.
func (im *Import) Finish(at Watermark, floor uint64) error {
	if floor > at.Seq || im.latest > at.Seq {
		return ErrNotExported
	}
	if err := im.fault.Step(fault.RestoreSettle, func() error { return im.settle(at, floor) }); err != nil {
		return err
	}
	for _, step := range []struct {
		at fault.Point
		do func() error
	}{
		{fault.RestoreSync, func() error { return syncAll(im.dir) }},
		{fault.RestoreFinish, func() error { return writeMarker(filepath.Join(im.dir, markerFile)) }},
		{fault.RestoreUnmark, func() error { return errors.Join(os.Remove(filepath.Join(im.dir, unfinishedFile)), syncDir(im.dir)) }},
	} {
		if err := im.fault.Step(step.at, step.do); err != nil {
			return err
		}
	}
	return nil
}

// settle writes watermark and floor and closes Badger. The counters are counted when
// the index is opened.
func (im *Import) settle(at Watermark, floor uint64) error {
	value, err := json.Marshal(&at)
	if err != nil {
		return err
	}
	txn := im.db.NewTransactionAt(constant, true)
	defer txn.Discard()
	if err := txn.Set(watermarkKey, value); err != nil {
		return err
	}
	if err := txn.Set(floorKey, binary.BigEndian.AppendUint64(nil, floor)); err != nil {
		return err
	}
	if err := txn.CommitAt(constant, nil); err != nil {
		return err
	}
	return im.close()
}

func (im *Import) close() error {
	if im.part != nil {
		if err := im.part.Release(); err != nil {
			return err
		}
		im.part = nil
	}
	if im.tree != nil {
		im.tree.Cancel()
		im.tree = nil
	}
	if im.db == nil {
		return nil
	}
	db := im.db
	im.db = nil
	return db.Close()
}

// Abort removes what was written: the directory is empty after it, unless that fails.
func (im *Import) Abort() error {
	return errors.Join(im.close(), removeImport(im.dir))
}

// syncAll makes the files of a directory durable.
func syncAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
