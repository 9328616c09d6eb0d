package query

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

// cursor is the place after a page, and all that is needed to read on from it.
//
// Its text is standard base64 of
//
//	version      1 byte, cursorVersion
//	incarnation  1 byte of length, then bytes
//	snapshot     8 bytes, the sequence that the listing reads at
//	query        16 bytes, see queryHash
//	kind         1 byte: the last row's kind of assignee,
//	id           2 bytes of length, then bytes: its assignee,
//	ent          2 bytes of length, then bytes: and its entitlement
//	check        8 bytes, the beginning of the SHA-256 of all before
//
// with numbers big endian. There is one text for a cursor, apart from the padding
// at its end, which may be missing. The check finds damage; it is no
// authentication, so whatever decodes is still checked as a stranger's.
type cursor struct {
	stream string // incarnation, at most maxStreamBytes
	seq    uint64
	query  hash
	at     listing.Position
}

// cursorVersion is the first byte of a cursor. A change of the layout or of
// queryHash takes a new one and a line here. It is never '[', with which the
// cursors of the seed begin.
//
//	1: the first
//	2, 3: those of differences and of histories, see feedCursor
const (
	cursorVersion  = 1
	diffVersion    = 2
	historyVersion = 3
)

const (
	checkBytes  = 8
	fixedBytes  = 1 + 1 + 8 + len(hash{}) + 1 + 2 + 2 + checkBytes
	inlineBytes = 512 // a cursor of usual size is made and read without allocating its bytes

	maxStreamBytes = 255 // of an incarnation
	maxRawBytes    = fixedBytes + maxStreamBytes + 2*events.MaxIDBytes

	// MaxCursorText is the length of the longest cursor that a Page has.
	MaxCursorText = (maxRawBytes + 2) / 3 * 4
)

// hash tells queries apart.
type hash [16]byte

// queryHash covers what makes two listings different: everything but the page
// size, the cursor, how long to wait, and what rows tell beyond their faces. A
// level is covered as the scores that it has now.
func queryHash(sel listing.Selector, asOf *AsOf) hash {
	var inline [inlineBytes]byte
	b := append(inline[:0], cursorVersion)
	for _, s := range [...]string{sel.Tenant, sel.AssigneeID, sel.EntID, sel.AppID} {
		b = appendText(b, s)
	}
	b = append(b, byte(len(sel.Kinds)))
	for _, k := range sel.Kinds {
		b = append(b, byte(k))
	}
	switch {
	case asOf == nil:
	case asOf.Instant == nil:
		b = binary.BigEndian.AppendUint64(append(b, 1), asOf.Seq)
	default: // whatever the offset that it was written with
		b = binary.BigEndian.AppendUint64(append(b, 3), uint64(asOf.Instant.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(asOf.Instant.Nanosecond()))
	}
	if s := sel.Scores; s != nil {
		b = append(b, 2)
		for _, bound := range [...]*float64{s.Least, s.Most, s.Below} {
			if bound == nil {
				b = append(b, 0)
				continue
			}
			b = binary.BigEndian.AppendUint64(append(b, 1), math.Float64bits(*bound))
		}
		if s.Unscored {
			b = append(b, 1)
		}
	}
	sum := sha256.Sum256(b)
	return hash(sum[:len(hash{})])
}

// encode gives the cursor's text.
func (c *cursor) encode() string {
	var inline [inlineBytes]byte
	b := append(inline[:0], cursorVersion, byte(len(c.stream)))
	b = append(b, c.stream...)
	b = binary.BigEndian.AppendUint64(b, c.seq)
	b = append(b, c.query[:]...)
	b = append(b, byte(c.at.Assignee.Kind))
	b = appendText(b, c.at.Assignee.ID)
	b = appendText(b, c.at.EntID)
	b = append(b, check(b)...)
	return base64.StdEncoding.EncodeToString(b)
}

func check(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:checkBytes]
}

// appendText adds a text of at most 65,535 bytes; ids are shorter.
func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// decodeCursor reads what encode wrote. It reports false for anything else.
func decodeCursor(b []byte) (c cursor, ok bool) {
	if len(b) < fixedBytes || b[0] != cursorVersion {
		return c, false
	}
	covered := len(b) - checkBytes
	if string(check(b[:covered])) != string(b[covered:]) {
		return c, false
	}
	b = b[1:covered]
	n := int(b[0])
	if len(b) < 1+n+8+len(c.query)+1 {
		return c, false
	}
	c.stream, b = string(b[1:1+n]), b[1+n:]
	c.seq, b = binary.BigEndian.Uint64(b), b[8:]
	b = b[copy(c.query[:], b):]
	c.at.Assignee.Kind, b = events.Kind(b[0]), b[1:]
	if c.at.Assignee.ID, b, ok = cutText(b); !ok {
		return c, false
	}
	if c.at.EntID, b, ok = cutText(b); !ok || len(b) > 0 {
		return c, false
	}
	return c, validPosition(c.at)
}

func cutText(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}

// validPosition reports whether there could be a row at p.
func validPosition(p listing.Position) bool {
	if p.Assignee.Kind < events.KindUser || p.Assignee.Kind > events.KindAll {
		return false
	}
	assignee := validID(p.Assignee.ID)
	if p.Assignee.Kind == events.KindAll {
		assignee = p.Assignee.ID == ""
	}
	return assignee && validID(p.EntID)
}

func validID(id string) bool {
	return id != "" && len(id) <= events.MaxIDBytes && utf8.ValidString(id)
}

// unbase64 reads the standard alphabet, strictly: no line breaks, no stray bits
// in the last character, and the padding whole or absent.
func unbase64(dst []byte, text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false // the decoder would pass over them
	}
	encoding := base64.StdEncoding
	if len(text)%4 != 0 {
		encoding = base64.RawStdEncoding
	}
	b, err := encoding.Strict().AppendDecode(dst, []byte(text))
	return b, err == nil
}
