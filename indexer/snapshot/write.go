package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"github.com/assigndex/assigndex/indexer/fault"
	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/store"
)

// WriteOptions of a snapshot.
type WriteOptions struct {
	Keys []Key // API keys that go along
	// Begin is called before the first byte is written; its error ends the writing. nil:
	// nobody is told.
	Begin func(Header) error
	// Progress is told, now and then, how many entries and bytes were written.
	Progress func(entries uint64, bytes int64)
	// Fault makes steps fail in tests; nil in production.
	Fault fault.Hook
}

// Write writes a snapshot of an index at its last applied sequence, while the index is
// written to. The floor does not move meanwhile. w gets pieces of up to some 1 MiB, and
// none after an error.
//
// It returns listing.ErrReplaced when the index was undone meanwhile, store.ErrDamaged
// when a file of the index is damaged, and the errors of the context and of w.
func Write(ctx context.Context, w io.Writer, st *store.Store, o WriteOptions) (Summary, error) {
	if st.OldRules() {
		return Summary{}, fmt.Errorf("write a snapshot: %w: the index is of older rules, and is to be made again first", ErrVersion)
	}
	export := st.Export()
	defer export.Close()
	tables, _ := st.Sizes()
	e := encoder{w: w, sum: sha256.New(), opts: o, summary: Summary{Header: Header{
		Format: Format, Index: store.Format, Fold: fold.Version, At: export.At, Floor: export.Floor, Taken: time.Now().UTC(),
		Keys: len(o.Keys), IndexBytes: tables,
	}}}
	var err error
	if e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
		return Summary{}, err
	}
	defer func() { _ = e.zstd.Close() }() // it writes to nothing
	if err := e.header(); err != nil {
		return Summary{}, fmt.Errorf("write a snapshot: %w", err)
	}
	for _, k := range o.Keys {
		if err := e.key(k); err != nil {
			return Summary{}, fmt.Errorf("write a snapshot: %w", err)
		}
	}
	if err := e.block(blockKeys); err != nil {
		return Summary{}, fmt.Errorf("write a snapshot: %w", err)
	}
	if err := export.Each(ctx, e.entry); err != nil {
		return Summary{}, fmt.Errorf("write a snapshot: %w", err)
	}
	if err := e.end(); err != nil {
		return Summary{}, fmt.Errorf("write a snapshot: %w", err)
	}
	return e.summary, nil
}

// encoder writes one snapshot.
type encoder struct {
	w       io.Writer
	sum     hash.Hash // of all that was written
	opts    WriteOptions
	zstd    *zstd.Encoder
	summary Summary

	content []byte // of the block that is being filled
	out     []byte // a piece to write
	last    []byte // the key of the entry before, in the block
	newest  []byte // the key whose newest version was seen
}

func (e *encoder) write(piece []byte) error {
	if _, err := e.w.Write(piece); err != nil {
		return err
	}
	e.sum.Write(piece)
	e.summary.Bytes += int64(len(piece))
	return nil
}

func (e *encoder) header() error {
	if e.opts.Begin != nil {
		if err := e.opts.Begin(e.summary.Header); err != nil {
			return err
		}
	}
	text, err := json.Marshal(&e.summary.Header)
	if err != nil {
		return err
	}
	lead := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(text))) //nolint:gosec // some hundred bytes
	check := crc32.Update(crc32.Checksum(lead, castagnoli), castagnoli, text)
	return e.write(append(binary.BigEndian.AppendUint32(lead, check), text...))
}

func (e *encoder) key(k Key) error {
	e.content = appendBytes(appendBytes(e.content, []byte(k.Name)), k.Value)
	return e.fill(blockKeys)
}

func (e *encoder) entry(v *store.Version) error {
	flags := byte(0)
	if v.Deleted {
		flags = flagDeleted
	}
	shared := common(e.last, v.Key)
	e.content = binary.AppendUvarint(append(e.content, flags), uint64(shared)) //nolint:gosec // a length
	e.content = binary.AppendUvarint(appendBytes(e.content, v.Key[shared:]), v.Seq)
	if !v.Deleted {
		e.content = appendBytes(e.content, v.Value)
	}
	e.last = append(e.last[:shared], v.Key[shared:]...)
	e.summary.count(&e.newest, v)
	return e.fill(blockEntries)
}

// count takes an entry into the summary. newest is the key of the one before.
func (s *Summary) count(newest *[]byte, v *store.Version) {
	s.Entries++
	if string(*newest) == string(v.Key) {
		return
	}
	*newest = append((*newest)[:0], v.Key...)
	if v.Current() {
		s.Assignments++
	}
}

func appendBytes(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// common is the length of what two keys begin with.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// fill writes the block out when it is full.
func (e *encoder) fill(kind byte) error {
	if len(e.content) < blockBytes {
		return nil
	}
	return e.block(kind)
}

// block writes what was collected as a block, if there is any.
func (e *encoder) block(kind byte) error {
	if len(e.content) == 0 {
		return nil
	}
	e.out = append(e.out[:0], kind, 0, 0, 0, 0)
	e.out = e.zstd.EncodeAll(e.content, e.out)
	size := len(e.out) - 5
	if len(e.content) > maxBlock || size > maxBlock {
		return fmt.Errorf("an entry near sequence %d has %d bytes; at most %d fit", e.summary.At.Seq, len(e.content), maxBlock)
	}
	binary.BigEndian.PutUint32(e.out[1:], uint32(size)) //nolint:gosec // at most maxBlock
	e.content, e.last = e.content[:0], e.last[:0]
	if err := e.opts.Fault.Step(fault.SnapshotWrite, func() error { return e.write(e.out) }); err != nil {
		return err
	}
	if e.opts.Progress != nil {
		e.opts.Progress(e.summary.Entries, e.summary.Bytes)
	}
	return nil
}

func (e *encoder) end() error {
	if err := e.block(blockEntries); err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint64([]byte{blockEnd}, uint64(len(e.opts.Keys)))
	if err := e.write(binary.BigEndian.AppendUint64(out, e.summary.Entries)); err != nil {
		return err
	}
	return e.write(e.sum.Sum(nil))
}
