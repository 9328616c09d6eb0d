package spill

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Options of a Set.
type Options struct {
	Dir    string // made, and removed by Close; it must not exist
	Memory int64  // bytes that everything takes; at least MinMemory
	// Floor is the lowest timestamp that will be read at: of older versions only what is
	// seen there is kept.
	Floor uint64
	// Got and Scanned are the first bytes of the keys that Get and Scan may ask for.
	Got, Scanned []byte
	// Step is called around the writing of each file; nil: it is just done.
	Step func(merge bool, do func() error) error
}

// MinMemory is the least that Options.Memory may be, and a run of very few keys.
const MinMemory = 16 << 10

var seed = maphash.MakeSeed()

func hash(key []byte) uint64 { return maphash.Bytes(seed, key) }

// ErrUnread is returned when a key is asked for that Options do not name.
var ErrUnread = errors.New("keys of this kind are not kept to be read")

// Set is a set of versions of keys.
type Set struct {
	opts         Options
	got, scanned [256]bool
	seen         *filter // keys that can be got, of all that was written
	active       *buffer
	full         *buffer // being written; nil: none
	spare        *buffer // empty; nil: none
	runs         []*run  // the oldest first
	files        int     // that were made; owned by who writes
	writing      chan written
	failed       error // that a buffer could not be written; nothing is taken any more
	work         int64 // what reading runs has cost since they were merged last, in nanoseconds, roughly
}

// written is what became of a buffer.
type written struct {
	runs   []*run // all that there are now
	merged []*run // those that are no longer
	err    error
}

// New makes an empty set.
func New(o Options) (*Set, error) {
	if o.Memory < MinMemory {
		o.Memory = MinMemory
	}
	if o.Step == nil {
		o.Step = func(_ bool, do func() error) error { return do() }
	}
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Set{opts: o, seen: newFilter(int(o.Memory / 8 / 64 / 2))}
	for _, tag := range o.Got {
		s.got[tag] = true
	}
	for _, tag := range o.Scanned {
		s.scanned[tag] = true
	}
	s.active = newBuffer(s.bufferBytes())
	return s, nil
}

// Of the memory three eighths are for each buffer, and an eighth at most for what finds
// keys in runs; the rest is for the filter of all keys and the file that is written.
func (s *Set) bufferBytes() int { return int(min(s.opts.Memory*3/8, math.MaxInt32)) }
func (s *Set) findBytes() int   { return int(s.opts.Memory / 8) }

// mostRuns is how many runs there are before they are merged in any case: all are read
// together in the end, and each takes two blocks then.
func (s *Set) mostRuns() int { return int(min(max(s.opts.Memory>>20, 4), 128)) }

// Put writes a version, Delete one without a value. The timestamps of one key must
// rise. Neither keeps key or value.
func (s *Set) Put(key, value []byte, ts uint64) error {
	return s.write(&Version{Key: key, Value: value, TS: ts})
}

// Delete writes that a key has no value from a timestamp on.
func (s *Set) Delete(key []byte, ts uint64) error {
	return s.write(&Version{Key: key, TS: ts, Deleted: true})
}

func (s *Set) write(v *Version) error {
	if !s.active.room(len(v.Key) + len(v.Value)) {
		if err := s.turn(); err != nil {
			return err
		}
	}
	i := s.active.add(v)
	if s.got[v.Key[0]] {
		h := hash(v.Key)
		s.active.remember(i, h)
		s.seen.add(h)
	}
	return nil
}

// Get gives the newest value of a key, which is the caller's; nil: none.
func (s *Set) Get(key []byte) ([]byte, error) {
	if !s.got[key[0]] {
		return nil, fmt.Errorf("get %q: %w", key[:1], ErrUnread)
	}
	h := hash(key)
	if !s.seen.has(h) {
		return nil, nil
	}
	var v Version
	for _, b := range []*buffer{s.active, s.full} {
		if b != nil && b.get(key, h, &v) {
			return valueOf(&v), nil
		}
	}
	for i := len(s.runs) - 1; i >= 0; i-- {
		s.work += filterCost
		if !s.runs[i].filter.has(h) {
			continue
		}
		v, blocks, err := s.runs[i].get(key)
		s.work += int64(blocks) * blockCost
		if v != nil || err != nil {
			return valueOf(v), err
		}
	}
	return nil, nil
}

// What reading costs, and merging a version, in nanoseconds, roughly.
const (
	filterCost = 50
	blockCost  = 10_000
	mergeCost  = 500
)

func valueOf(v *Version) []byte {
	if v == nil || v.Deleted {
		return nil
	}
	return append([]byte{}, v.Value...)
}

// Scan visits the newest values of the keys with a prefix, as they are when it is
// called, in bytewise order, until visit fails. Key and value are valid until visit
// returns; visit may write.
func (s *Set) Scan(prefix []byte, visit func(key, value []byte) error) (err error) {
	if !s.scanned[prefix[0]] {
		return fmt.Errorf("scan %q: %w", prefix[:1], ErrUnread)
	}
	var open scanning
	defer func() { err = errors.Join(err, open.close()) }()
	for _, b := range []*buffer{s.active, s.full} {
		if b != nil {
			open.buffer(b, b.under(prefix, &s.scanned))
		}
	}
	for _, r := range s.runs {
		x, first, err := r.reader(prefix, after(prefix), 4*blockBytes)
		s.work += int64(x.blocks) * blockCost
		if err != nil {
			return err
		}
		open.run(x, first)
	}
	return visitNewest(&open.merging, visit)
}

// scanning is an open scan. What it reads is kept until it is closed.
type scanning struct {
	merging
	buffers []*buffer
	runs    []*run
}

func (o *scanning) buffer(b *buffer, order []uint32) {
	r := &reading{b: b, order: order}
	first, _ := r.next() // it does not fail
	if first != nil {
		b.pins++
		o.buffers = append(o.buffers, b)
		o.add(r, first)
	}
}

func (o *scanning) run(x *runReader, first *Version) {
	if first != nil {
		x.run.pins++
		o.runs = append(o.runs, x.run)
		o.add(x, first)
	}
}

func (o *scanning) close() (err error) {
	for _, b := range o.buffers {
		b.pins--
	}
	for _, r := range o.runs {
		err = errors.Join(err, unpin(r))
	}
	return err
}

func visitNewest(m *merging, visit func(key, value []byte) error) error {
	var last []byte
	for {
		v, err := m.next()
		if v == nil || err != nil {
			return err
		}
		if last != nil && bytes.Equal(v.Key, last) {
			continue
		}
		last = append(last[:0], v.Key...)
		if v.Deleted {
			continue
		}
		if err := visit(v.Key, v.Value); err != nil {
			return err
		}
	}
}

// after gives the first key behind those with a prefix, nil when there is none.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xFF {
			end := bytes.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

// turn lets the active buffer be written and makes another one active.
func (s *Set) turn() error {
	if err := s.join(); err != nil {
		return err
	}
	s.full = s.active
	if s.active, s.spare = s.spare, nil; s.active == nil {
		s.active = newBuffer(s.bufferBytes())
	}
	s.writing = make(chan written, 1)
	merge := s.toMerge()
	go func(done chan<- written, b *buffer, runs []*run) { done <- s.writeOut(b, runs, merge) }(s.writing, s.full, slices.Clone(s.runs))
	return nil
}

// join waits until the full buffer is written.
func (s *Set) join() error {
	if s.writing == nil {
		return s.failed
	}
	w := <-s.writing
	s.writing = nil
	s.runs = w.runs
	if len(w.merged) > 0 {
		s.work = 0
	}
	err := w.err
	for _, r := range w.merged {
		r.dropped = true
		if r.pins == 0 {
			err = errors.Join(err, r.remove())
		}
	}
	if err != nil {
		s.failed = err
		return err
	}
	if s.full.pins == 0 {
		s.full.reset()
		s.spare = s.full
	}
	s.full = nil
	s.coarsen()
	return nil
}

func unpin(r *run) error {
	if r.pins--; r.pins == 0 && r.dropped {
		return r.remove()
	}
	return nil
}

// coarsen makes what finds keys in runs smaller while it takes more than its share.
func (s *Set) coarsen() {
	for {
		sum, largest := 0, (*run)(nil)
		for _, r := range s.runs {
			sum += r.finds()
			if r.coarsens() && (largest == nil || r.finds() > largest.finds()) {
				largest = r
			}
		}
		if sum <= s.findBytes() || largest == nil {
			return
		}
		largest.coarsen()
	}
}

// toMerge gives how many of the newest runs are to be merged: as many as make each
// merge about double what it merges, once reading them has cost as much as merging
// them, or there are too many.
func (s *Set) toMerge() int {
	n, sum := 0, int64(0)
	for i := len(s.runs) - 1; i >= 0 && (n < 2 || s.runs[i].versions <= 2*sum); i-- {
		sum += s.runs[i].versions
		n++
	}
	if n < 2 || (len(s.runs) < s.mostRuns() && (n < 4 || s.work < sum*mergeCost)) {
		return 0
	}
	return n
}

// writeOut writes a buffer to a run behind others, and before that merges as many of
// those as it is told.
func (s *Set) writeOut(b *buffer, runs []*run, merge int) written {
	w := written{runs: runs}
	if merge > 0 {
		old := slices.Clone(runs[len(runs)-merge:])
		merged, err := s.mergeRuns(old, merge == len(runs))
		if err != nil {
			w.err = fmt.Errorf("merge %d files of the build: %w", merge, err)
			return w
		}
		w.runs, w.merged = append(runs[:len(runs)-merge], merged), old
	}
	r, err := s.writeBuffer(b, len(w.runs) == 0)
	if err != nil {
		w.err = fmt.Errorf("write a file of the build: %w", err)
		return w
	}
	w.runs = append(w.runs, r)
	return w
}

func (s *Set) writeBuffer(b *buffer, bottom bool) (*run, error) {
	return s.writeRun(false, b.got, bottom, func() (source, error) { return &reading{b: b, order: b.all()}, nil })
}

func (s *Set) mergeRuns(runs []*run, bottom bool) (*run, error) {
	got := 0
	for _, r := range runs {
		got += r.got
	}
	return s.writeRun(true, got, bottom, func() (source, error) {
		m := new(merging)
		for _, r := range runs {
			x, first, err := r.reader(nil, nil, aheadBytes)
			if err != nil {
				return nil, err
			}
			m.add(x, first)
		}
		return m, nil
	})
}

// aheadBytes is what is read of a run at once when all of it is read.
const aheadBytes = 64 << 10

// writeRun writes what a source gives. got is how many versions of it can be got.
func (s *Set) writeRun(merge bool, got int, bottom bool, open func() (source, error)) (r *run, err error) {
	s.files++
	path := filepath.Join(s.opts.Dir, strconv.Itoa(s.files))
	err = s.opts.Step(merge, func() error {
		w, err := newRunWriter(path, got, s.findBytes())
		if err != nil {
			return err
		}
		from, err := open()
		if err == nil {
			err = w.all(&keeping{from: from, floor: s.opts.Floor, bottom: bottom}, &s.got)
		}
		if err == nil {
			r, err = w.finish()
		}
		if err != nil {
			w.cancel()
		}
		return err
	})
	return r, err
}

func (w *runWriter) all(from source, got *[256]bool) error {
	for {
		v, err := from.next()
		if v == nil || err != nil {
			return err
		}
		if err := w.add(v, got[v.Key[0]]); err != nil {
			return err
		}
	}
}

// Part is a range of the keys of a Set.
type Part struct {
	from  keeping
	Count int64 // versions that were given so far
}

// Next gives the next version that a read at the floor or above it may see, by key and
// then the newest first; nil behind the last one. It is valid until the next call.
func (p *Part) Next() (*Version, error) {
	v, err := p.from.next()
	if v != nil {
		p.Count++
	}
	return v, err
}

// Versions tells how many versions are in the set, those that will be left out included.
func (s *Set) Versions() int64 {
	n := int64(len(s.active.entries))
	if s.full != nil {
		n += int64(len(s.full.entries))
	}
	for _, r := range s.runs {
		n += r.versions
	}
	return n
}

// Parts ends the writing and gives all versions in so many parts of about a size, or
// fewer, in order. All versions of a key are in one part.
func (s *Set) Parts(n int) ([]*Part, error) {
	if err := s.join(); err != nil {
		return nil, err
	}
	s.spare = nil
	order := s.active.all()
	borders := s.borders(n, order)
	parts := make([]*Part, 0, len(borders)+1)
	for i := range len(borders) + 1 {
		var from, until []byte
		if i > 0 {
			from = borders[i-1]
		}
		if i < len(borders) {
			until = borders[i]
		}
		p, err := s.part(order, from, until)
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (s *Set) part(order []uint32, from, until []byte) (*Part, error) {
	m := new(merging)
	for _, r := range s.runs {
		x, first, err := r.reader(from, until, aheadBytes)
		if err != nil {
			return nil, err
		}
		m.add(x, first)
	}
	place := func(key []byte, otherwise int) int {
		if key == nil {
			return otherwise
		}
		at, _ := slices.BinarySearchFunc(order, key, func(i uint32, key []byte) int { return bytes.Compare(s.active.key(i), key) })
		return at
	}
	mine := &reading{b: s.active, order: order[place(from, 0):place(until, len(order))]}
	first, err := mine.next()
	m.add(mine, first)
	return &Part{from: keeping{from: m, floor: s.opts.Floor, bottom: true}}, err
}

// borders gives keys that cut all keys into so many parts of about a size.
func (s *Set) borders(n int, order []uint32) [][]byte {
	var sample [][]byte
	for _, r := range s.runs {
		for i := range r.index.blocks {
			sample = append(sample, r.index.key(i))
		}
	}
	for i := 0; i < len(order); i += 64 {
		sample = append(sample, s.active.key(order[i]))
	}
	slices.SortFunc(sample, bytes.Compare)
	var borders [][]byte
	for i := 1; i < n; i++ {
		at := len(sample) * i / n
		if at < len(sample) && (len(borders) == 0 || !bytes.Equal(borders[len(borders)-1], sample[at])) {
			borders = append(borders, sample[at])
		}
	}
	return borders
}

// Close removes everything that the set wrote. No part may be read any longer.
func (s *Set) Close() error {
	err := s.join()
	if s.failed != nil {
		err = nil // it was told
	}
	for _, r := range s.runs {
		err = errors.Join(err, r.f.Close())
	}
	s.runs = nil
	return errors.Join(err, os.RemoveAll(s.opts.Dir))
}
