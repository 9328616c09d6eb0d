package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/assigndex/assigndex/indexer/store"
)

// ReadHeader reads the header of a snapshot and no more than that. Whether what follows
// is whole, only Check and Restore tell. A snapshot of another version has a header as
// well.
func ReadHeader(r io.Reader) (Header, error) {
	d := decoder{r: r, sum: sha256.New()}
	if err := d.header(); err != nil {
		return Header{}, err
	}
	return d.summary.Header, nil
}

// Check reads a snapshot to its end and tells whether it is whole. It is ErrDamaged
// when not, and ErrVersion when this program cannot restore from it. Errors of the
// reader and of the context are returned as they are.
func Check(ctx context.Context, r io.Reader) (Summary, error) {
	summary, _, err := read(ctx, r, nil, nil)
	return summary, err
}

// read reads a snapshot to its end. begin is told the header and visit each entry; nil:
// nobody is. An entry is valid until visit returns.
func read(ctx context.Context, r io.Reader, begin func(Header) error, visit func(*store.Version) error) (Summary, []Key, error) {
	d := decoder{r: r, sum: sha256.New(), visit: visit}
	if err := d.header(); err != nil {
		return Summary{}, nil, err
	}
	if err := d.summary.fits(); err != nil {
		return Summary{}, nil, err
	}
	if d.summary.Floor > d.summary.At.Seq || d.summary.Keys < 0 {
		return Summary{}, nil, d.damaged("the header contradicts itself")
	}
	if begin != nil {
		if err := begin(d.summary.Header); err != nil {
			return Summary{}, nil, err
		}
	}
	var err error
	d.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecoderLowmem(true))
	if err != nil {
		return Summary{}, nil, err
	}
	defer d.zstd.Close()
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return Summary{}, nil, err
		}
		if more, err = d.block(); err != nil {
			return Summary{}, nil, err
		}
	}
	d.summary.Bytes = d.at
	return d.summary, d.keys, nil
}

// decoder reads one snapshot.
type decoder struct {
	r       io.Reader
	sum     hash.Hash // of all that was read
	at      int64     // how many bytes that is
	zstd    *zstd.Decoder
	visit   func(*store.Version) error
	summary Summary
	keys    []Key

	in      []byte // a block
	content []byte // of the block
	v       store.Version
	newest  []byte // the key of the entry before
}

func (d *decoder) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: byte %d: %s", ErrDamaged, d.at, fmt.Sprintf(format, args...))
}

// take reads the next bytes into b, which it gives back.
func (d *decoder) take(b []byte) ([]byte, error) {
	n, err := io.ReadFull(d.r, b)
	d.sum.Write(b[:n])
	d.at += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, d.damaged("it is cut short here")
	}
	return b, err
}

func (d *decoder) header() error {
	lead, err := d.take(make([]byte, len(magic)+8))
	if err != nil {
		return err
	}
	if string(lead[:len(magic)]) != magic {
		d.at = 0
		return d.damaged("it does not begin as a snapshot of assigndex does")
	}
	size := binary.BigEndian.Uint32(lead[len(magic):])
	if size > maxHeader {
		return d.damaged("its header has %d bytes; at most %d are allowed", size, maxHeader)
	}
	text, err := d.take(make([]byte, size))
	if err != nil {
		return err
	}
	check := crc32.Update(crc32.Checksum(lead[:len(magic)+4], castagnoli), castagnoli, text)
	if check != binary.BigEndian.Uint32(lead[len(magic)+4:]) {
		return d.damaged("the checksum of the header does not match")
	}
	if err := json.Unmarshal(text, &d.summary.Header); err != nil {
		return d.damaged("the header cannot be read")
	}
	return nil
}

// block reads a block, or the end.
func (d *decoder) block() (more bool, err error) {
	kind, err := d.take(make([]byte, 1))
	if err != nil {
		return false, err
	}
	switch kind[0] {
	case blockEnd:
		return false, d.end()
	case blockKeys, blockEntries:
	default:
		return false, d.damaged("no block begins with %#02x", kind[0])
	}
	length, err := d.take(make([]byte, 4))
	if err != nil {
		return false, err
	}
	size := binary.BigEndian.Uint32(length)
	if size > maxBlock {
		return false, d.damaged("a block of %d bytes; at most %d are allowed", size, maxBlock)
	}
	// As it comes: a length that lies asks for no memory.
	d.in = d.in[:0]
	for rest := int(size); rest > 0; {
		part := min(rest, blockBytes)
		at := len(d.in)
		d.in = append(d.in, make([]byte, part)...)
		if _, err := d.take(d.in[at:]); err != nil {
			return false, err
		}
		rest -= part
	}
	if d.content, err = d.zstd.DecodeAll(d.in, d.content[:0]); err != nil {
		return false, d.damaged("the block before cannot be decompressed: %v", err)
	}
	if len(d.content) == 0 || len(d.content) > maxBlock {
		return false, d.damaged("the block before has %d bytes of content", len(d.content))
	}
	if kind[0] == blockKeys {
		return true, d.readKeys(d.content)
	}
	return true, d.readEntries(d.content)
}

func (d *decoder) readKeys(b []byte) error {
	if d.summary.Entries > 0 {
		return d.damaged("API keys behind entries")
	}
	for len(b) > 0 {
		var name, value []byte
		var ok bool
		if name, b, ok = cutBytes(b); ok {
			value, b, ok = cutBytes(b)
		}
		if !ok || len(d.keys) >= d.summary.Keys {
			return d.damaged("the block before holds what is no API key")
		}
		d.keys = append(d.keys, Key{string(name), append([]byte(nil), value...)})
	}
	return nil
}

func (d *decoder) readEntries(b []byte) error {
	d.v.Key = d.v.Key[:0]
	for len(b) > 0 {
		var ok bool
		if b, ok = d.entry(b); !ok || len(d.v.Key) == 0 || d.v.Seq == 0 || d.v.Seq > d.summary.At.Seq {
			return d.damaged("the block before holds what is no entry of this snapshot")
		}
		d.summary.count(&d.newest, &d.v)
		if d.visit == nil {
			continue
		}
		if err := d.visit(&d.v); err != nil {
			return err
		}
	}
	return nil
}

// entry reads an entry into d.v.
func (d *decoder) entry(b []byte) (rest []byte, ok bool) {
	flags := b[0]
	shared, n := binary.Uvarint(b[1:])
	if flags > flagDeleted || n <= 0 || shared > uint64(len(d.v.Key)) {
		return nil, false
	}
	part, b, ok := cutBytes(b[1+n:])
	if !ok {
		return nil, false
	}
	d.v.Key = append(d.v.Key[:shared], part...)
	if d.v.Seq, n = binary.Uvarint(b); n <= 0 {
		return nil, false
	}
	b = b[n:]
	d.v.Deleted, d.v.Value = flags == flagDeleted, nil
	if !d.v.Deleted {
		d.v.Value, b, ok = cutBytes(b)
	}
	return b, ok
}

func cutBytes(b []byte) (part, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	return b[n : n+int(size)], b[n+int(size):], true //nolint:gosec // it fits b
}

// end reads what stands behind the last block, and makes sure that it is the end.
func (d *decoder) end() error {
	counts, err := d.take(make([]byte, 16))
	if err != nil {
		return err
	}
	want := d.sum.Sum(nil)
	sum, err := d.take(make([]byte, sha256.Size))
	if err != nil {
		return err
	}
	if string(sum) != string(want) {
		return d.damaged("the checksum of the whole does not match")
	}
	if keys := binary.BigEndian.Uint64(counts); keys != uint64(len(d.keys)) || len(d.keys) != d.summary.Keys {
		return d.damaged("it holds %d API keys and should hold %d", len(d.keys), keys)
	}
	if entries := binary.BigEndian.Uint64(counts[8:]); entries != d.summary.Entries {
		return d.damaged("it holds %d entries and should hold %d", d.summary.Entries, entries)
	}
	n, err := io.ReadFull(d.r, make([]byte, 1))
	if n > 0 {
		return d.damaged("there are bytes behind its end")
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
