package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrStoreInUse is wrapped by the error of Start when another server of ours,
// in this process or in another one, has the store directory open. A NATS server
// that was started by other means takes no lock and is not seen.
var ErrStoreInUse = errors.New("the store directory is in use by another server")

// lockName is the file in the store directory that a running server holds.
const lockName = "embedded.lock"

// lockStore creates dir when it is absent and takes its lock. The lock goes
// with the file or with the process, so that a crash leaves none behind.
func lockStore(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	held, err := lockFile(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock store directory %s: %w", dir, err), f.Close())
	}
	if held {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrStoreInUse, dir), f.Close())
	}
	return f, nil
}
