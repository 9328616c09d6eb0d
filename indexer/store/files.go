package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"
)

// Damage is a file of an index that does not hold what was written to it.
type Damage struct {
	File    string // its name in the directory of the index
	Problem string
}

// CheckFiles reads the marker, the manifest and every table file of the index in a
// directory and compares them with their checksums. It tells how many files that
// were, and those that are damaged or missing. The files are read as they lie on the
// disk, past every cache, with a block in memory at a time; the store may be open
// meanwhile, in this process or another one. progress is told of bytes.
//
// A file of a directory that is no index of this version is an error, ErrFormat.
func CheckFiles(ctx context.Context, dir string, progress func(done, of int64)) (files int, damaged []Damage, err error) {
	if age, err := AgeOf(dir); err != nil || age != OldRules {
		if err := readMarker(dir); err != nil {
			return 0, nil, err
		}
	}
	tables, problem, err := listed(dir)
	if err != nil {
		return 0, nil, err
	}
	if problem != nil {
		return 2, []Damage{{badger.ManifestFilename, problem.Error()}}, nil //nolint:nilerr // what was found, and no failure to look
	}
	c := fileCheck{ctx: ctx, dir: dir, progress: progress}
	ids := make([]uint64, 0, len(tables))
	for id := range tables {
		ids = append(ids, id)
		if st, err := os.Stat(c.path(id)); err == nil {
			c.of += st.Size()
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		problem, err := c.table(id, tables[id].Compression)
		if err != nil {
			return files, damaged, err
		}
		if problem == nil {
			continue
		}
		// A compaction may have replaced it meanwhile.
		now, manifestProblem, err := listed(dir)
		if err != nil {
			return files, damaged, err
		}
		if _, still := now[id]; still || manifestProblem != nil {
			damaged = append(damaged, Damage{filepath.Base(c.path(id)), problem.Error()})
		}
	}
	return len(ids) + 2, damaged, nil
}

// CheckFiles is CheckFiles of the open index.
func (s *Store) CheckFiles(ctx context.Context, progress func(done, of int64)) (files int, damaged []Damage, err error) {
	return CheckFiles(ctx, s.db.Opts().Dir, progress)
}

// listed gives the tables that the manifest of a directory lists. What is wrong with
// the manifest itself is a problem.
func listed(dir string) (tables map[uint64]badger.TableManifest, problem, err error) {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("is missing"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // only read
	manifest, _, problem := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	return manifest.Tables, problem, nil
}

// fileCheck is one run of CheckFiles.
type fileCheck struct {
	ctx      context.Context //nolint:containedctx // of one call
	dir      string
	progress func(done, of int64)
	done, of int64 // bytes
}

func (c *fileCheck) path(id uint64) string { return table.NewFilename(id, c.dir) }

// passed tells of bytes that were read.
func (c *fileCheck) passed(n int64) error {
	c.done += n
	if c.progress != nil {
		c.progress(c.done, max(c.done, c.of))
	}
	return c.ctx.Err()
}

// maxTablePart bounds what of a table is read at once, in bytes, where only damage
// could ask for more. Badger's own parts are blocks of 4 KiB and an index of one
// entry for each of them.
const maxTablePart = 1 << 30

// table reads one file in the form of Badger's tables: blocks, and behind them an
// index of the blocks, its length, its checksum and the checksum's length.
func (c *fileCheck) table(id uint64, compression options.CompressionType) (problem, err error) {
	f, err := os.Open(c.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("is missing"), nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r := tableReader{f: f, end: st.Size(), compression: compression}
	index, problem := r.index()
	if problem != nil {
		return problem, nil
	}
	if err := c.passed(st.Size() - r.end); err != nil {
		return nil, err
	}
	for i := range index.OffsetsLength() {
		var block fb.BlockOffset
		if !index.Offsets(&block, i) {
			return fmt.Errorf("block %d is not in its index", i), nil
		}
		if problem := r.block(&block); problem != nil {
			return fmt.Errorf("block %d at byte %d: %w", i, block.Offset(), problem), nil
		}
		if err := c.passed(int64(block.Len())); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// tableReader reads parts of a table file. Its errors are problems of the file.
type tableReader struct {
	f           io.ReaderAt
	end         int64 // of what lies before the parts that were read from the end
	compression options.CompressionType
	buf, plain  []byte
}

// last gives the last n bytes before the end and moves it.
func (r *tableReader) last(n int64) ([]byte, error) {
	if n < 0 || n > r.end || n > maxTablePart {
		return nil, errors.New("the lengths in it do not fit its size")
	}
	part := make([]byte, n)
	if _, err := r.f.ReadAt(part, r.end-n); err != nil {
		return nil, err
	}
	r.end -= n
	return part, nil
}

// index reads the index of blocks.
func (r *tableReader) index() (*fb.TableIndex, error) {
	var parts [2][]byte // the checksum and what it is of, each with its length behind it
	for i := range parts {
		length, err := r.last(4)
		if err != nil {
			return nil, err
		}
		if parts[i], err = r.last(int64(binary.BigEndian.Uint32(length))); err != nil {
			return nil, err
		}
	}
	if err := checksum(parts[1], parts[0]); err != nil {
		return nil, fmt.Errorf("the index of its blocks: %w", err)
	}
	if len(parts[1]) < 8 {
		return nil, errors.New("it has no index of its blocks")
	}
	return fb.GetRootAsTableIndex(parts[1], 0), nil
}

// block reads one block. Its checksum is of what was compressed.
func (r *tableReader) block(at *fb.BlockOffset) error {
	length := int64(at.Len())
	if int64(at.Offset())+length > r.end || length > maxTablePart {
		return errors.New("it does not lie in the file")
	}
	r.buf = slices.Grow(r.buf[:0], int(length))[:length]
	if _, err := r.f.ReadAt(r.buf, int64(at.Offset())); err != nil {
		return err
	}
	data := r.buf
	switch r.compression {
	case options.None:
	case options.Snappy:
		size, err := snappy.DecodedLen(data)
		if err != nil || size > maxTablePart {
			return errors.New("it cannot be decompressed")
		}
		r.plain = slices.Grow(r.plain[:0], size)[:size]
		if data, err = snappy.Decode(r.plain, data); err != nil {
			return errors.New("it cannot be decompressed")
		}
	default:
		return fmt.Errorf("its compression %d is not one that this program writes", r.compression)
	}
	// Behind the data are its checksum and the checksum's length.
	end := len(data) - 4
	if end < 0 {
		return errors.New("it is too short")
	}
	from := int64(end) - int64(binary.BigEndian.Uint32(data[end:]))
	if from < 0 {
		return errors.New("it is too short for its checksum")
	}
	return checksum(data[:from], data[from:end])
}

// checksum compares data with an encoded checksum.
func checksum(data, encoded []byte) error {
	var want pb.Checksum
	if err := proto.Unmarshal(encoded, &want); err != nil {
		return errors.New("the checksum cannot be read")
	}
	if want.Algo != pb.Checksum_CRC32C && want.Algo != pb.Checksum_XXHash64 {
		return errors.New("the checksum is of no known kind")
	}
	if y.CalculateChecksum(data, want.Algo) != want.Sum {
		return errors.New("the checksum does not match")
	}
	return nil
}

// ErrDamaged is returned by Open for an index with a file that does not hold what was
// written to it.
var ErrDamaged = errors.New("a file of the index is damaged")

// refuseDamaged reads all files before Badger does. Badger's iterators take a block
// with a wrong checksum for the end of its table: rows would be missing without an
// error, and some damage ends the process.
func refuseDamaged(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, badger.ManifestFilename)); errors.Is(err, fs.ErrNotExist) {
		return nil // a new one
	}
	_, damaged, err := CheckFiles(context.Background(), dir, nil)
	if err != nil || len(damaged) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s in %s: %s; have the index made again from the stream with rebuild --data-dir",
		ErrDamaged, damaged[0].File, dir, damaged[0].Problem)
}

// Keys estimates how many versions of keys are stored, those in memory left out.
func (s *Store) Keys() int64 {
	var n uint64
	for _, t := range s.db.Tables() {
		n += uint64(t.KeyCount)
	}
	return int64(min(n, math.MaxInt64)) //nolint:gosec // bounded
}
