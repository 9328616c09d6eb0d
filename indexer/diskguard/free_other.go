//go:build !linux && !darwin && !freebsd && !windows

package diskguard

import (
	"errors"
	"fmt"
)

// FreeBytes fails: this system has no call for it that we know.
func FreeBytes(dir string) (int64, error) {
	return 0, fmt.Errorf("free space of %s: %w", existing(dir), errors.ErrUnsupported)
}
