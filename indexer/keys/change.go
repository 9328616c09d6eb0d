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

// ChangeOf is the key of a change. Its value is a Logged.
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

// Logged is what the change log tells of a change.
type Logged struct {
	Nano int64 // time of the event, Unix nanoseconds
	Row        // without an application
}

// Encode gives the stored form: the time, the assignee and the entitlement. The
// tenant is in the key.
func (l Logged) Encode() []byte {
	b := make([]byte, 0, 24+len(l.Assignee.ID)+len(l.EntID))
	b = binary.BigEndian.AppendUint64(b, uint64(l.Nano))
	return Append(AppendAssignee(b, l.Assignee), l.EntID)
}

// ParseLogged reads what Encode wrote.
func ParseLogged(tenant string, b []byte) (l Logged, err error) {
	if len(b) < 8 {
		return l, ErrMalformed
	}
	l.Nano, l.Tenant = int64(binary.BigEndian.Uint64(b)), tenant
	if l.Assignee, b, err = CutAssignee(b[8:]); err != nil {
		return l, err
	}
	if l.EntID, b, err = Cut(b); err != nil || len(b) != 0 {
		return l, ErrMalformed
	}
	return l, nil
}
