package diskguard

import (
	"fmt"
	"math"

	"golang.org/x/sys/windows"
)

// FreeBytes gives what is free for us on the file system of a directory, in bytes.
// A directory that does not exist is looked for above.
func FreeBytes(dir string) (int64, error) {
	dir = existing(dir)
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(min(free, math.MaxInt64)), nil
}
