package spill

import "bytes"

// source gives versions in order; nil behind the last one. A version is valid until the
// next call.
type source interface {
	next() (*Version, error)
}

// merging is sources as one. Of equal versions, which there are none of, the order is any.
type merging struct {
	heads []head // a heap
	begun bool
}

type head struct {
	v    *Version
	from source
}

func (m *merging) add(s source, first *Version) {
	if first != nil {
		m.heads = append(m.heads, head{first, s})
	}
}

func (m *merging) next() (*Version, error) {
	if !m.begun {
		for at := len(m.heads)/2 - 1; at >= 0; at-- {
			m.sink(at)
		}
		m.begun = true
	} else if len(m.heads) > 0 {
		if err := m.advance(); err != nil {
			return nil, err
		}
	}
	if len(m.heads) == 0 {
		return nil, nil //nolint:nilnil // the end
	}
	return m.heads[0].v, nil
}

// advance moves the source of the version that was given last.
func (m *merging) advance() error {
	v, err := m.heads[0].from.next()
	if err != nil {
		return err
	}
	if v == nil {
		last := len(m.heads) - 1
		m.heads[0] = m.heads[last]
		m.heads = m.heads[:last]
	} else {
		m.heads[0].v = v
	}
	m.sink(0)
	return nil
}

// sink puts a head where it belongs among those below it.
func (m *merging) sink(at int) {
	h := m.heads
	if at >= len(h) {
		return
	}
	moved := h[at]
	for {
		child := 2*at + 1
		if child >= len(h) {
			break
		}
		if right := child + 1; right < len(h) && compare(h[right].v, h[child].v) < 0 {
			child = right
		}
		if compare(moved.v, h[child].v) <= 0 {
			break
		}
		h[at] = h[child]
		at = child
	}
	h[at] = moved
}

// keeping leaves out what no read at the floor or above it sees: of the versions of a
// key at or below the floor all but the newest, and that one, too, when it deletes the
// key and nothing older lies elsewhere.
type keeping struct {
	from    source
	floor   uint64
	bottom  bool // nothing older lies elsewhere
	key     []byte
	settled bool // one at or below the floor has been seen
}

func (k *keeping) next() (*Version, error) {
	for {
		v, err := k.from.next()
		if v == nil || err != nil {
			return nil, err
		}
		if k.key == nil || !bytes.Equal(v.Key, k.key) {
			k.key, k.settled = append(k.key[:0], v.Key...), false
		}
		if v.TS > k.floor {
			return v, nil
		}
		if k.settled {
			continue
		}
		k.settled = true
		if v.Deleted && k.bottom {
			continue
		}
		return v, nil
	}
}
