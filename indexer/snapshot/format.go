package snapshot

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/assigndex/assigndex/indexer/fold"
	"github.com/assigndex/assigndex/indexer/position"
	"github.com/assigndex/assigndex/indexer/store"
)

// Format is the version of the layout. Every change of it takes a new version and a
// line here.
//
//	1: the first
const Format = 1

var (
	// ErrDamaged is returned for a file that is not a whole snapshot. The error names
	// what is wrong and the place, in bytes from the beginning.
	ErrDamaged = errors.New("the snapshot is damaged")
	// ErrVersion is returned for a whole snapshot that this program cannot restore from.
	ErrVersion = errors.New("the snapshot is of another version")
)

// Header stands at the beginning of a snapshot.
type Header struct {
	Format int `json:"format"` // of the snapshot
	Index  int `json:"index"`  // store.Format of the index
	Fold   int `json:"fold"`   // fold.Version of the index

	At    position.Position `json:"at"`    // of the index in its stream
	Floor uint64            `json:"floor"` // the lowest sequence that can be read
	Taken time.Time         `json:"taken"` // when, by the clock of who took it

	Keys       int   `json:"keys"`        // API keys in the snapshot
	IndexBytes int64 `json:"index_bytes"` // what the tables of the index took on disk
}

// Summary tells of a whole snapshot.
type Summary struct {
	Header
	Entries     uint64 // versions of keys
	Assignments uint64 // at the snapshot's sequence
	Bytes       int64  // of the snapshot
}

// Key is an API key in its stored form, which holds a hash and no secret. Package
// snapshot does not look into it.
type Key struct {
	Name  string
	Value []byte
}

const (
	magic     = "\x89ADXSNAP"
	maxHeader = 1 << 20
	// maxBlock bounds a block, compressed or not, and with it every entry. Badger takes
	// no larger transaction than a third of it.
	maxBlock = 16 << 20

	blockKeys    = 'k'
	blockEntries = 'e'
	blockEnd     = '.'

	flagDeleted = 1
)

// blockBytes is the content of a block, to which the entry adds that fills it. Tests
// lower it.
var blockBytes = 1 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fits refuses another version.
func (h *Header) fits() error {
	if h.Format == Format && h.Index == store.Format && h.Fold == fold.Version {
		return nil
	}
	return fmt.Errorf("%w: it has format %d, index format %d and fold %d; this program has format %d, index format %d and fold %d; "+
		"restore with the program that wrote it, or start with an empty directory: the index is rebuilt from the stream",
		ErrVersion, h.Format, h.Index, h.Fold, Format, store.Format, fold.Version)
}
