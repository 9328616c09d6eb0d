package snapshot

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/go-json-experiment/json"
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
