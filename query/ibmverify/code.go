package ibmverify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/assigndex/assigndex/events"
	"github.com/assigndex/assigndex/indexer/listing"
)

// codeVersion is the first byte of a code. Codes are kept by those who got them,
// so a change of the layout takes a new version, and the old ones are read on.
//
//	1: the first
const codeVersion = 1

const (
	checkBytes = 8
	// maxCodeText is the length of the longest code.
	maxCodeText = (1 + 1 + 2*(2+events.MaxIDBytes) + checkBytes + 2) / 3 * 4
)

// Code names an assignment for as long as its assignee and entitlement have their
// ids: through updates, and after a revocation and a new grant too.
//
// It is base64 with the alphabet of URLs, without padding, of
//
//	version      1 byte, codeVersion
//	kind         1 byte: the kind of assignee,
//	id           2 bytes of length, then bytes: the assignee,
//	ent          2 bytes of length, then bytes: and the entitlement
//	check        8 bytes, the beginning of the SHA-256 of the tenant and all before
//
// with numbers big endian. The check finds damage and codes of other tenants; it is
// no authentication, and needs to be none: a code opens nothing that the caller
// could not search for.
func Code(tenant string, at listing.Position) string {
	b := make([]byte, 0, 128)
	b = append(b, codeVersion, byte(at.Assignee.Kind))
	b = appendText(b, at.Assignee.ID)
	b = appendText(b, at.EntID)
	b = append(b, check(tenant, b)...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCode reads what Code made for the same tenant. It reports false for
// anything else.
func ParseCode(tenant, code string) (at listing.Position, ok bool) {
	if len(code) > maxCodeText || strings.ContainsAny(code, "\r\n") { // which the decoder would pass over
		return at, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil || len(b) < 2+checkBytes || b[0] != codeVersion {
		return at, false
	}
	covered := len(b) - checkBytes
	if string(check(tenant, b[:covered])) != string(b[covered:]) {
		return at, false
	}
	at.Assignee.Kind, b = events.Kind(b[1]), b[2:covered]
	if at.Assignee.ID, b, ok = cutText(b); !ok {
		return at, false
	}
	if at.EntID, b, ok = cutText(b); !ok || len(b) > 0 {
		return at, false
	}
	return at, slices.Contains(Kinds, at.Assignee.Kind) && at.Assignee.ID != "" && isID(at.Assignee.ID) && at.EntID != "" && isID(at.EntID)
}

func check(tenant string, b []byte) []byte {
	sum := sha256.Sum256(append(appendText(nil, tenant), b...))
	return sum[:checkBytes]
}

// appendText adds a text of at most 65,535 bytes; ids and tenants are shorter.
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
