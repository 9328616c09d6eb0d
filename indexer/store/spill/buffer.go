package spill

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Version is what a key holds from a timestamp on.
type Version struct {
	Key, Value []byte
	TS         uint64
	Deleted    bool // then there is no value
}

// compare orders versions: keys bytewise, and of one key the newest first.
func compare(a, b *Version) int {
	if order := bytes.Compare(a.Key, b.Key); order != 0 {
		return order
	}
	return cmp.Compare(b.TS, a.TS)
}

// buffer holds versions in the order in which they were written.
type buffer struct {
	arena   []byte // keys, each with its value behind it
	entries []entry
	slots   []uint32 // by hash, 1 + the newest entry of a key that can be got; 0: free
	got     int      // slots taken
	// common are how many bytes all keys with a first byte begin with, and first one of
	// them, 1 + its entry.
	common [256]uint32
	first  [256]uint32

	// segments are sorted entries of keys that can be scanned, as far as scans needed them.
	segments [][]uint32
	sorted   int // entries that are in segments, or need not be
	pins     int // open scans
}

// entry is a version in a buffer.
type entry struct {
	off        uint32
	klen, vlen uint32 // vlen deleted: no value
	ts         uint64
}

const (
	deleted = 1<<32 - 1
	// entryBytes is what an entry takes beside its key and value, with its slots and the
	// sorting.
	entryBytes = 48
)

func newBuffer(room int) *buffer { return &buffer{arena: make([]byte, 0, room)} }

// room reports whether another key and value fit. In an empty buffer everything does.
func (b *buffer) room(bytes int) bool {
	return len(b.entries) == 0 || len(b.arena)+bytes+(len(b.entries)+1)*entryBytes <= cap(b.arena)
}

func (b *buffer) key(i uint32) []byte {
	e := &b.entries[i]
	return b.arena[e.off : e.off+e.klen : e.off+e.klen]
}

func (b *buffer) version(i uint32, v *Version) {
	e := &b.entries[i]
	v.Key, v.Value, v.TS, v.Deleted = b.key(i), nil, e.ts, e.vlen == deleted
	if !v.Deleted {
		from := e.off + e.klen
		v.Value = b.arena[from : from+e.vlen : from+e.vlen]
	}
}

// add writes a version. Timestamps of one key must rise.
func (b *buffer) add(v *Version) uint32 {
	e := entry{off: uint32(len(b.arena)), klen: uint32(len(v.Key)), vlen: uint32(len(v.Value)), ts: v.TS} //nolint:gosec // a buffer is below 4 GiB
	if v.Deleted {
		e.vlen = deleted
	}
	b.arena = append(append(b.arena, v.Key...), v.Value...)
	b.entries = append(b.entries, e)
	i := uint32(len(b.entries) - 1) //nolint:gosec // likewise
	tag := v.Key[0]
	if b.first[tag] == 0 {
		b.first[tag], b.common[tag] = i+1, e.klen
		return i
	}
	first, most := b.key(b.first[tag]-1), min(b.common[tag], e.klen)
	n := uint32(0)
	for n < most && v.Key[n] == first[n] {
		n++
	}
	b.common[tag] = n
	return i
}

// remember lets get find an entry, the newest of its key.
func (b *buffer) remember(i uint32, h uint64) {
	if b.got*2 >= len(b.slots) {
		b.grow()
	}
	slot := b.slot(b.key(i), h)
	if b.slots[slot] == 0 {
		b.got++
	}
	b.slots[slot] = i + 1
}

// slot gives the place of a key, or a free one.
func (b *buffer) slot(key []byte, h uint64) uint64 {
	mask := uint64(len(b.slots) - 1)
	at := h & mask
	for b.slots[at] != 0 && !bytes.Equal(b.key(b.slots[at]-1), key) {
		at = (at + 1) & mask
	}
	return at
}

func (b *buffer) grow() {
	old := b.slots
	b.slots = make([]uint32, max(1024, 2*len(old)))
	for _, i := range old {
		if i != 0 {
			key := b.key(i - 1)
			b.slots[b.slot(key, hash(key))] = i
		}
	}
}

// get finds the newest version of a key.
func (b *buffer) get(key []byte, h uint64, v *Version) bool {
	if b.got == 0 {
		return false
	}
	i := b.slots[b.slot(key, h)]
	if i == 0 {
		return false
	}
	b.version(i-1, v)
	return true
}

// reset empties the buffer, whose memory is used again.
func (b *buffer) reset() {
	b.arena, b.entries, b.got = b.arena[:0], b.entries[:0], 0
	b.segments, b.sorted = nil, 0
	clear(b.slots)
	clear(b.first[:])
}

// all gives every entry in order.
func (b *buffer) all() []uint32 {
	var counts [257]int
	for i := range b.entries {
		counts[int(b.arena[b.entries[i].off])+1]++
	}
	for i := 1; i < len(counts); i++ {
		counts[i] += counts[i-1]
	}
	starts := counts
	order := make([]uint32, len(b.entries))
	for i := range b.entries {
		tag := b.arena[b.entries[i].off]
		order[starts[tag]] = uint32(i) //nolint:gosec // below 4 GiB
		starts[tag]++
	}
	for tag := range 256 {
		b.sort(order[counts[tag]:counts[tag+1]], int(b.common[tag]))
	}
	return order
}

// ranked is an entry with the bytes of its key behind those that all have in common.
type ranked struct {
	rank uint64
	i    uint32
}

// sort sorts entries whose keys begin with common bytes. Most comparisons end at eight
// bytes that lie together.
func (b *buffer) sort(order []uint32, common int) {
	if len(order) < 2 {
		return
	}
	list := make([]ranked, len(order))
	for at, i := range order {
		var eight [8]byte
		copy(eight[:], b.key(i)[common:])
		list[at] = ranked{binary.BigEndian.Uint64(eight[:]), i}
	}
	slices.SortFunc(list, func(x, y ranked) int {
		if x.rank != y.rank {
			return cmp.Compare(x.rank, y.rank)
		}
		if order := bytes.Compare(b.key(x.i)[common:], b.key(y.i)[common:]); order != 0 {
			return order
		}
		return cmp.Compare(y.i, x.i) // written later
	})
	for at := range list {
		order[at] = list[at].i
	}
}

// under gives the newest entries of the keys with a prefix, in order, those of
// deleted keys included. scanned tells of a first byte whether its keys are scanned.
func (b *buffer) under(prefix []byte, scanned *[256]bool) []uint32 {
	b.catchUp(scanned)
	var found []uint32
	for _, segment := range b.segments {
		from, _ := slices.BinarySearchFunc(segment, prefix, func(i uint32, prefix []byte) int { return bytes.Compare(b.key(i), prefix) })
		for _, i := range segment[from:] {
			if !bytes.HasPrefix(b.key(i), prefix) {
				break
			}
			found = append(found, i)
		}
	}
	slices.SortFunc(found, b.compare)
	return slices.CompactFunc(found, func(x, y uint32) bool { return bytes.Equal(b.key(x), b.key(y)) })
}

func (b *buffer) compare(x, y uint32) int {
	if order := bytes.Compare(b.key(x), b.key(y)); order != 0 {
		return order
	}
	return cmp.Compare(y, x)
}

// catchUp puts the entries since the last scan into a segment, and merges segments
// of about a size, so that there are few.
func (b *buffer) catchUp(scanned *[256]bool) {
	var fresh []uint32
	for i := b.sorted; i < len(b.entries); i++ {
		if scanned[b.arena[b.entries[i].off]] {
			fresh = append(fresh, uint32(i)) //nolint:gosec // below 4 GiB
		}
	}
	b.sorted = len(b.entries)
	if len(fresh) == 0 {
		return
	}
	slices.SortFunc(fresh, b.compare)
	for n := len(b.segments); n > 0 && len(b.segments[n-1]) <= 2*len(fresh); n-- {
		fresh = b.mergeSegments(b.segments[n-1], fresh)
		b.segments = b.segments[:n-1]
	}
	b.segments = append(b.segments, fresh)
}

func (b *buffer) mergeSegments(x, y []uint32) []uint32 {
	merged := make([]uint32, 0, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		if b.compare(x[0], y[0]) < 0 {
			merged, x = append(merged, x[0]), x[1:]
		} else {
			merged, y = append(merged, y[0]), y[1:]
		}
	}
	return append(append(merged, x...), y...)
}

// reading is a source of entries of a buffer.
type reading struct {
	b     *buffer
	order []uint32
	v     Version
}

func (r *reading) next() (*Version, error) {
	if len(r.order) == 0 {
		return nil, nil //nolint:nilnil // the end
	}
	r.b.version(r.order[0], &r.v)
	r.order = r.order[1:]
	return &r.v, nil
}
