package generation

import (
	"errors"
	"fmt"
	"os"
)

// ErrInUse is returned by Lock for a data directory that somebody else works in.
var ErrInUse = errors.New("the data directory is in use")

// Lock claims a data directory, which must exist, until unlock is called or the process
// ends. On Windows and on systems without such locks it claims nothing.
func Lock(data string) (unlock func() error, err error) {
	dir, err := os.Open(data)
	if err != nil {
		return nil, err
	}
	held, err := lockDir(dir)
	if err == nil && held {
		err = fmt.Errorf("%w: a server or a rebuild works in %s; wait for its end, or stop it", ErrInUse, data)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir.Close, nil // gives the lock back
}
