//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package generation

import (
	"errors"
	"os"
	"syscall"
)

// lockDir takes the lock of a directory; held: somebody else has it.
func lockDir(dir *os.File) (held bool, err error) {
	for {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
