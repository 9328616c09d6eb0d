package assignmentcode

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

// ErrInvalid is returned for a text that Encode did not give, or gave for another
// tenant.
var ErrInvalid = errors.New("not the code of an assignment of this tenant")

// A code's text is base64url without padding of
//
//	version  1 byte
//	kind     1 byte: the kind of assignee
//	id       2 bytes of length, then bytes: the assignee,
//	ent      2 bytes of length, then bytes: and the entitlement
//	check    8 bytes, the beginning of the SHA-256 of the tenant, a byte 0 and all before
//
// with numbers big endian. No tenant has a byte 0 in its name. The check finds
// damage and the codes of other tenants; it is no authentication, so whatever
// decodes is still checked as a stranger's.

// version is the first byte of a code. A change of the layout takes a new one and
// a line here. Codes are kept by clients, so older versions stay readable.
//
//	1: the first
const version = 1

const (
	checkBytes  = 8
	fixedBytes  = 1 + 1 + 2 + 2 + checkBytes
	inlineBytes = 256 // a code of usual size is made and read without allocating its bytes

	maxBytes = fixedBytes + 2*events.MaxIDBytes

	// MaxText is the length of the longest code, in bytes.
	MaxText = (maxBytes*8 + 5) / 6
)

// encoding takes one text for the same bytes: no stray bits in the last character.
var encoding = base64.RawURLEncoding.Strict()

// Encode gives the code of an assignment of a tenant, whether or not there is one.
// Ids are at most events.MaxIDBytes long.
func Encode(tenant string, at listing.Position) string {
	return string(Append(nil, tenant, at))
}

// Append adds the code of an assignment to b.
func Append(b []byte, tenant string, at listing.Position) []byte {
	var inline [inlineBytes]byte
	raw := append(inline[:0], version, byte(at.Assignee.Kind))
	raw = appendText(raw, at.Assignee.ID)
	raw = appendText(raw, at.EntID)
	sum := check(tenant, raw)
	return encoding.AppendEncode(b, append(raw, sum[:]...))
}

// Decode gives the identity that Encode was given for the same tenant. The only
// error is ErrInvalid.
func Decode(tenant, text string) (listing.Position, error) {
	var inline [inlineBytes]byte
	var at listing.Position
	if len(text) > MaxText || strings.ContainsAny(text, "\r\n") { // the decoder would pass over them
		return at, ErrInvalid
	}
	raw, err := encoding.AppendDecode(inline[:0], []byte(text))
	if err != nil || len(raw) < fixedBytes || raw[0] != version {
		return at, ErrInvalid
	}
	covered := raw[:len(raw)-checkBytes]
	if check(tenant, covered) != [checkBytes]byte(raw[len(covered):]) {
		return at, ErrInvalid
	}
	kind, rest := events.Kind(covered[1]), covered[2:]
	id, rest, whole := cutText(rest)
	if !whole {
		return at, ErrInvalid
	}
	entID, rest, whole := cutText(rest)
	at = listing.Position{Assignee: events.Assignee{Kind: kind, ID: id}, EntID: entID}
	if !whole || len(rest) > 0 || !possible(at) {
		return listing.Position{}, ErrInvalid
	}
	return at, nil
}

func check(tenant string, covered []byte) [checkBytes]byte {
	var inline [inlineBytes + events.MaxTenantBytes]byte
	b := append(inline[:0], tenant...)
	b = append(b, 0)
	sum := sha256.Sum256(append(b, covered...))
	return [checkBytes]byte(sum[:checkBytes])
}

// appendText adds a text of at most 65,535 bytes; ids are shorter.
func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
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

// possible reports whether there could be an assignment of this identity.
func possible(at listing.Position) bool {
	switch at.Assignee.Kind {
	case events.KindUser, events.KindGroup, events.KindDynamicGroup:
		return validID(at.Assignee.ID) && validID(at.EntID)
	case events.KindAll:
		return at.Assignee.ID == "" && validID(at.EntID)
	default:
		return false
	}
}

func validID(id string) bool {
	return id != "" && len(id) <= events.MaxIDBytes && utf8.ValidString(id)
}
