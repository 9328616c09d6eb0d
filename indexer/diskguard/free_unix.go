//go:build linux || darwin || freebsd

package diskguard

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// FreeBytes gives what is free for us on the file system of a directory, in bytes:
// without what it keeps for the superuser. A directory that does not exist is
// looked for above.
func FreeBytes(dir string) (int64, error) {
	dir = existing(dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	// The types differ between systems, and FreeBSD's count of blocks may be below 0.
	blocks, block := max(0, int64(st.Bavail)), int64(st.Bsize) //nolint:unconvert // it is one on other systems
	if block > 0 && blocks > math.MaxInt64/block {
		return math.MaxInt64, nil
	}
	return blocks * block, nil
}
