package query

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/assigndex/assigndex/indexer/feed"
)

// feedCursor is the place after a page of differences or of a history, and all that
// is needed to read on from it.
//
// Its text is standard base64 of
//
//	version      1 byte, diffVersion or historyVersion
//	incarnation  1 byte of length, then bytes
//	from, to     8 bytes each, the sequences that are compared; of a history the one that it reads at, twice
//	query        16 bytes
//	place        8 bytes of sequence, 4 bytes of number: where to go on
//	check        8 bytes, as that of a listing's cursor
//
// with numbers big endian. What is said of cursor holds for it as well.
type feedCursor struct {
	version  byte
	stream   string // incarnation, at most maxStreamBytes
	from, to uint64
	query    hash
	at       feed.Place
}

const feedCursorFixed = 1 + 1 + 8 + 8 + len(hash{}) + 8 + 4 + checkBytes

// feedHash covers what makes two queries of a version different.
func feedHash(version byte, queries ...hash) hash {
	b := []byte{version}
	for _, q := range queries {
		b = append(b, q[:]...)
	}
	sum := sha256.Sum256(b)
	return hash(sum[:len(hash{})])
}

// encode gives the cursor's text.
func (c *feedCursor) encode() string {
	b := append(make([]byte, 0, feedCursorFixed+len(c.stream)), c.version, byte(len(c.stream)))
	b = append(b, c.stream...)
	b = binary.BigEndian.AppendUint64(b, c.from)
	b = binary.BigEndian.AppendUint64(b, c.to)
	b = append(b, c.query[:]...)
	b = binary.BigEndian.AppendUint64(b, c.at.Seq)
	b = binary.BigEndian.AppendUint32(b, c.at.N)
	b = append(b, check(b)...)
	return base64.StdEncoding.EncodeToString(b)
}

// decodeFeedCursor reads what encode wrote of a version. It reports false for
// anything else, and for a place that no page ends at.
func decodeFeedCursor(version byte, text string) (c feedCursor, ok bool) {
	b, ok := unbase64(nil, text)
	if !ok || len(b) < feedCursorFixed || b[0] != version || len(b) != feedCursorFixed+int(b[1]) {
		return c, false
	}
	covered := len(b) - checkBytes
	if string(check(b[:covered])) != string(b[covered:]) {
		return c, false
	}
	c.version = version
	n := int(b[1])
	c.stream, b = string(b[2:2+n]), b[2+n:]
	c.from, c.to, b = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16:]
	b = b[copy(c.query[:], b):]
	c.at = feed.Place{Seq: binary.BigEndian.Uint64(b), N: binary.BigEndian.Uint32(b[8:])}
	if version == historyVersion {
		return c, c.from == c.to && c.at.Seq < c.to && c.at.N == 0
	}
	return c, c.from < c.at.Seq && c.at.Seq <= c.to
}

// open reads the cursor of a request and checks that it belongs to the query.
func (c *feedCursor) open(text string) error {
	read, ok := decodeFeedCursor(c.version, text)
	switch {
	case !ok:
		return damaged()
	case read.query != c.query:
		return mismatch("the cursor is of another query or tenant: send it with everything that its first page was asked for with")
	case read.stream != c.stream:
		return otherStream("the cursor is of another incarnation of the stream; start again without it")
	}
	*c = read
	return nil
}
