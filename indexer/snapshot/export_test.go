package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
)

// LowerBlockBytes makes blocks smaller, until the function that it returns is called.
func LowerBlockBytes(n int) (restore func()) {
	before := blockBytes
	blockBytes = n
	return func() { blockBytes = before }
}

// MaxBlock bounds a block.
const MaxBlock = maxBlock

// WithHeader gives a snapshot another header, with a checksum that is right.
func WithHeader(file []byte, change func(*Header)) []byte {
	size := binary.BigEndian.Uint32(file[len(magic):])
	var h Header
	if err := json.Unmarshal(file[len(magic)+8:len(magic)+8+int(size)], &h); err != nil {
		panic(err)
	}
	change(&h)
	text, err := json.Marshal(&h)
	if err != nil {
		panic(err)
	}
	lead := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(text)))
	check := crc32.Update(crc32.Checksum(lead, castagnoli), castagnoli, text)
	out := append(binary.BigEndian.AppendUint32(lead, check), text...)
	return append(out, file[len(magic)+8+int(size):]...)
}

// Seal makes a snapshot of blocks with any content, with checksums that are right.
func Seal(h Header, keys, entries []byte, entryCount uint64) []byte {
	var out bytes.Buffer
	e := encoder{w: &out, sum: sha256.New(), summary: Summary{Header: h}, opts: WriteOptions{Keys: make([]Key, h.Keys)}}
	var err error
	if e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err != nil {
		panic(err)
	}
	for _, do := range []func() error{
		e.header,
		func() error { e.content = append(e.content, keys...); return e.block(blockKeys) },
		func() error { e.content = append(e.content, entries...); return e.block(blockEntries) },
		func() error { e.summary.Entries = entryCount; return e.end() },
	} {
		if err := do(); err != nil {
			panic(err)
		}
	}
	return out.Bytes()
}

// Content gives what the first block of entries of a snapshot without API keys holds.
func Content(file []byte) []byte {
	file = file[len(magic)+8+int(binary.BigEndian.Uint32(file[len(magic):])):]
	d, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	defer d.Close()
	content, err := d.DecodeAll(file[5:5+binary.BigEndian.Uint32(file[1:])], nil)
	if err != nil {
		panic(err)
	}
	return content
}
