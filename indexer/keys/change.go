package keys

import "encoding/binary"

// Change is the place of one change in the change log: its sequence, and its
// number among the changes of that sequence, from 0.
type Change struct {
	Seq uint64
	N   uint32
}

// changeBytes is the length of what AppendChange adds.
const changeBytes = 12

// AppendChange adds the place of a change to a prefix of the change log.
func AppendChange(key []byte, c Change) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(key, c.Seq), c.N)
}

// ChangeOf is the key of a change. Its value names the assignment, see
// AppendIdentity.
func ChangeOf(tenant string, c Change) []byte {
	return AppendChange(Prefix(make([]byte, 0, 8+len(tenant)+changeBytes), ChangeTag, tenant), c)
}

// ParseChange reads a key that ChangeOf made.
func ParseChange(key []byte) (tenant string, c Change, err error) {
	if len(key) == 0 || Tag(key[0]) != ChangeTag {
		return "", c, ErrMalformed
	}
	tenant, rest, err := Cut(key[1:])
	if err != nil || len(rest) != changeBytes {
		return "", c, ErrMalformed
	}
	return tenant, Change{binary.BigEndian.Uint64(rest), binary.BigEndian.Uint32(rest[8:])}, nil
}

// AppendIdentity adds the identity of an assignment without its tenant: assignee
// and entitlement.
func AppendIdentity(b []byte, r Row) []byte { return Append(AppendAssignee(b, r.Assignee), r.EntID) }

// ParseIdentity reads what AppendIdentity made.
func ParseIdentity(tenant string, b []byte) (r Row, err error) {
	r.Tenant = tenant
	if r.Assignee, b, err = CutAssignee(b); err != nil {
		return r, err
	}
	if r.EntID, b, err = Cut(b); err != nil || len(b) != 0 {
		return r, ErrMalformed
	}
	return r, nil
}
