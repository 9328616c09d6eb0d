package spill

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"

	"github.com/klauspost/compress/s2"
)

// A run is a file of blocks. A block is
//
//	stored  4 bytes, big endian: how many bytes follow the header
//	sum     4 bytes: CRC-32C of those
//	...     the versions, compressed
//
// and a version is a varint of how many bytes its key begins with that the key before
// it begins with, a varint of how many follow, those, eight bytes of timestamp, a
// varint of the value's length plus one (0: deleted), and the value. The first key of
// a block is whole.
const (
	blockBytes  = 16 << 10 // of versions, before compression
	headerBytes = 8
	writeBytes  = 256 << 10 // written at once
)

// errDamaged is returned for a run that does not hold what was written to it.
var errDamaged = errors.New("a file of the build is damaged: build again")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// run is a sorted file.
type run struct {
	f        *os.File
	size     int64
	versions int64
	got      int // versions of keys that can be got
	filter   *filter
	index    index
	pins     int  // open scans; owned by the caller of the Set
	dropped  bool // its versions are in another run
}

// index tells where blocks begin: one in every so many.
type index struct {
	keys   []byte // of the first version of each
	blocks []blockAt
	every  int // 0: 1
	passed int // blocks since the last one
	most   int // bytes, past which there is one in twice as many; 0: any
}

type blockAt struct {
	key uint32 // where its key ends in keys
	off int64
}

// add takes the next block.
func (x *index) add(key []byte, off int64) {
	x.passed++
	if len(x.blocks) > 0 && x.passed < x.every {
		return
	}
	x.passed = 0
	x.put(key, off)
	for x.most > 0 && x.bytes() > x.most && len(x.blocks) > 1 {
		x.halve()
	}
}

func (x *index) put(key []byte, off int64) {
	x.keys = append(x.keys, key...)
	x.blocks = append(x.blocks, blockAt{uint32(len(x.keys)), off}) //nolint:gosec // thinned out before
}

func (x *index) key(i int) []byte {
	from := uint32(0)
	if i > 0 {
		from = x.blocks[i-1].key
	}
	return x.keys[from:x.blocks[i].key]
}

func (x *index) bytes() int { return len(x.keys) + 16*len(x.blocks) }

// halve leaves out every other block: whoever looks for a key there reads on from the
// one before it.
func (x *index) halve() {
	half := index{every: 2 * max(x.every, 1), most: x.most, passed: x.passed}
	if len(x.blocks)%2 == 0 {
		half.passed += max(x.every, 1)
	}
	for i := 0; i < len(x.blocks); i += 2 {
		half.put(x.key(i), x.blocks[i].off)
	}
	*x = half
}

// before gives the offset of a block that begins before a key, or the first one.
func (x *index) before(key []byte) int64 {
	// The version looked for may lie at the end of the block before one that begins
	// with the same key.
	i := sort.Search(len(x.blocks), func(i int) bool { return bytes.Compare(x.key(i), key) >= 0 })
	if i == 0 {
		return 0
	}
	return x.blocks[i-1].off
}

// runWriter writes a run.
type runWriter struct {
	run   *run
	block []byte
	out   []byte
	last  []byte // key of the last version in the block
}

// newRunWriter makes a file for at most so many versions of keys that can be got.
// What finds them takes at most so many bytes.
func newRunWriter(path string, got, most int) (*runWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	got = min(got, most/2*8/bitsPerKey)
	return &runWriter{run: &run{f: f, filter: filterFor(got), index: index{most: most / 2}}}, nil
}

func (w *runWriter) add(v *Version, got bool) error {
	if got {
		w.run.filter.add(hash(v.Key))
		w.run.got++
	}
	shared := 0
	if len(w.block) == 0 {
		w.run.index.add(v.Key, w.run.size)
	} else {
		most := min(len(v.Key), len(w.last))
		for shared < most && v.Key[shared] == w.last[shared] {
			shared++
		}
	}
	w.last = append(w.last[:0], v.Key...)
	b := binary.AppendUvarint(w.block, uint64(shared)) //nolint:gosec // not negative
	b = binary.AppendUvarint(b, uint64(len(v.Key)-shared))
	b = append(b, v.Key[shared:]...)
	b = binary.BigEndian.AppendUint64(b, v.TS)
	if v.Deleted {
		b = append(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(len(v.Value))+1)
		b = append(b, v.Value...)
	}
	w.block = b
	w.run.versions++
	if len(w.block) >= blockBytes {
		return w.endBlock()
	}
	return nil
}

func (w *runWriter) endBlock() error {
	if len(w.block) == 0 {
		return nil
	}
	from := len(w.out)
	most := headerBytes + s2.MaxEncodedLen(len(w.block))
	w.out = append(w.out, make([]byte, most)...)
	stored := s2.Encode(w.out[from+headerBytes:from+most], w.block)
	binary.BigEndian.PutUint32(w.out[from:], uint32(len(stored))) //nolint:gosec // a block
	binary.BigEndian.PutUint32(w.out[from+4:], crc32.Checksum(stored, castagnoli))
	w.out = w.out[:from+headerBytes+len(stored)]
	w.run.size += int64(headerBytes + len(stored))
	w.block = w.block[:0]
	if len(w.out) >= writeBytes {
		return w.flush()
	}
	return nil
}

func (w *runWriter) flush() error {
	_, err := w.run.f.Write(w.out)
	w.out = w.out[:0]
	return err
}

func (w *runWriter) finish() (*run, error) {
	if err := errors.Join(w.endBlock(), w.flush()); err != nil {
		return nil, err
	}
	return w.run, nil
}

// cancel removes what was written.
func (w *runWriter) cancel() { _ = w.run.remove() }

func (r *run) remove() error { return errors.Join(r.f.Close(), os.Remove(r.f.Name())) }

// finds gives the bytes of what finds keys in the run.
func (r *run) finds() int { return r.index.bytes() + r.filter.bytes() }

// coarsens reports that coarsen makes that less.
func (r *run) coarsens() bool { return len(r.index.blocks) > 1 || r.filter.mask > 0 }

func (r *run) coarsen() {
	if len(r.index.blocks) > 1 && (r.filter.mask == 0 || r.index.bytes() > r.filter.bytes()) {
		r.index.halve()
	} else {
		r.filter.halve()
	}
}

// runReader reads the versions of a run from a block on.
type runReader struct {
	run    *run
	off    int64  // of what follows chunk
	ahead  int    // bytes read at once
	chunk  []byte // read, from the next block on
	buf    []byte // holds chunk
	block  []byte // the rest of the block
	plain  []byte
	v      Version
	key    []byte
	until  []byte // the first key that is not read; nil: none
	blocks int    // that were read
}

// reader reads from a key on, all of it when from is nil. ahead is how many bytes are
// read at once.
func (r *run) reader(from, until []byte, ahead int) (*runReader, *Version, error) {
	x := &runReader{run: r, until: until, ahead: ahead}
	if from == nil {
		v, err := x.next()
		return x, v, err
	}
	x.off = r.index.before(from)
	for {
		v, err := x.next()
		if err != nil || v == nil || bytes.Compare(v.Key, from) >= 0 {
			return x, v, err
		}
	}
}

func (x *runReader) next() (*Version, error) {
	if len(x.block) == 0 {
		if more, err := x.nextBlock(); err != nil || !more {
			return nil, err
		}
	}
	b := x.block
	shared, n := binary.Uvarint(b)
	rest, m := binary.Uvarint(b[max(n, 0):])
	if n <= 0 || m <= 0 || shared > uint64(len(x.key)) || rest+8 > uint64(len(b)-n-m) {
		return nil, errDamaged
	}
	b = b[n+m:]
	x.key = append(x.key[:shared], b[:rest]...)
	b = b[rest:]
	x.v = Version{Key: x.key, TS: binary.BigEndian.Uint64(b)}
	b = b[8:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n)+1 {
		return nil, errDamaged
	}
	b = b[n:]
	if size == 0 {
		x.v.Deleted = true
	} else {
		x.v.Value, b = b[:size-1:size-1], b[size-1:]
	}
	x.block = b
	if x.until != nil && bytes.Compare(x.key, x.until) >= 0 {
		x.block, x.chunk, x.off = nil, nil, x.run.size
		return nil, nil //nolint:nilnil // the end
	}
	return &x.v, nil
}

// nextBlock makes the next block the one that is read.
func (x *runReader) nextBlock() (more bool, err error) {
	if x.off >= x.run.size && len(x.chunk) == 0 {
		return false, nil
	}
	if err := x.fill(headerBytes); err != nil {
		return false, err
	}
	stored := int(binary.BigEndian.Uint32(x.chunk))
	sum := binary.BigEndian.Uint32(x.chunk[4:])
	if err := x.fill(headerBytes + stored); err != nil {
		return false, err
	}
	data := x.chunk[headerBytes : headerBytes+stored]
	x.chunk = x.chunk[headerBytes+stored:]
	if crc32.Checksum(data, castagnoli) != sum {
		return false, fmt.Errorf("%s: %w", x.run.f.Name(), errDamaged)
	}
	if x.plain, err = s2.Decode(x.plain[:cap(x.plain)], data); err != nil {
		return false, fmt.Errorf("%s: %w", x.run.f.Name(), errDamaged)
	}
	x.block, x.key = x.plain, x.key[:0]
	x.blocks++
	return true, nil
}

// fill makes sure that so many bytes are in the chunk.
func (x *runReader) fill(need int) error {
	if len(x.chunk) >= need {
		return nil
	}
	size := int(min(int64(max(need, x.ahead)), int64(len(x.chunk))+x.run.size-x.off))
	if size < need {
		return fmt.Errorf("%s: %w", x.run.f.Name(), errDamaged)
	}
	if cap(x.buf) < size {
		buf := make([]byte, size)
		copy(buf, x.chunk)
		x.buf = buf
	} else {
		copy(x.buf[:cap(x.buf)], x.chunk)
	}
	have := len(x.chunk)
	x.chunk = x.buf[:size]
	n, err := x.run.f.ReadAt(x.chunk[have:], x.off)
	x.off += int64(n)
	if err != nil && !(errors.Is(err, io.EOF) && n == size-have) {
		return err
	}
	return nil
}

// get finds the newest version of a key.
func (r *run) get(key []byte) (v *Version, blocks int, err error) {
	x, v, err := r.reader(key, nil, blockBytes)
	if err != nil || v == nil || !bytes.Equal(v.Key, key) {
		return nil, x.blocks, err
	}
	return v, x.blocks, nil
}
