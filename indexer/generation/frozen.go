package generation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
)

// frozenFile marks a data directory whose index stays as it is.
const frozenFile = "FROZEN"

// Frozen tells of an index that was built up to a sequence, to stay there.
type Frozen struct {
	Seq    uint64 `json:"seq"`
	Stream string `json:"stream"` // the incarnation that Seq is of
}

// Freeze marks a data directory as one whose index is not kept up with its stream.
func Freeze(data string, f Frozen) error {
	content, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return write(data, frozenFile, append(content, '\n'))
}

// ReadFrozen tells whether the index of a data directory is frozen; nil: it is not.
func ReadFrozen(data string) (*Frozen, error) {
	path := filepath.Join(data, frozenFile)
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it is not frozen
	}
	if err != nil {
		return nil, err
	}
	var f Frozen
	if err := json.Unmarshal(content, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; build the index again with rebuild --until", path, err)
	}
	return &f, nil
}
