package loopfstest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// dirPrefix and the id of the process name every directory of ours.
const dirPrefix = "assigndex-loopfs-"

// FIFREEZE and FITHAW of linux/fs.h.
const (
	ioctlFreeze = 0xc0045877
	ioctlThaw   = 0xc0045878
)

// FS is a mounted file system.
type FS struct {
	Dir   string // where it is mounted
	image string // the file that is its disk
}

var sweepOnce sync.Once

// Require skips the test, with the reason, where file systems cannot be mounted.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("mounting a file system needs %s: %v", tool, err)
		}
	}
	sweepOnce.Do(sweep)
}

// New makes a file system of so many bytes on a disk in dir, and mounts it until
// the test ends. The disk's file is sparse.
func New(t testing.TB, dir string, bytes int64) *FS {
	t.Helper()
	Require(t)
	image := filepath.Join(dir, "disk.img")
	Format(t, image, bytes)
	return Mount(t, image)
}

// Format makes a sparse file that is a disk with an empty file system.
func Format(t testing.TB, image string, bytes int64) {
	t.Helper()
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(bytes); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A small journal, so that copies are; nothing kept for root, so that full is full.
	if err := run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=8", image); err != nil {
		t.Fatal(err)
	}
}

// Mount mounts a disk, and so replays its journal, until Unmount or the test's end.
// It skips the test where the system has no loop device to give.
func Mount(t testing.TB, image string) *FS {
	t.Helper()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-") //nolint:usetesting // it is known by its name when the test is killed
	if err != nil {
		t.Fatal(err)
	}
	// What nobody syncs is written by the kernel after 30 seconds, and with a commit of
	// the journal, which comes every 5 unless it is told otherwise.
	if err := run("mount", "-o", "loop,noatime,commit=600", image, dir); err != nil {
		_ = os.Remove(dir) // empty
		if strings.Contains(err.Error(), "loop device") {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	fs := &FS{Dir: dir, image: image}
	t.Cleanup(func() { fs.Unmount(t) })
	return fs
}

// Unmount unmounts the file system. It may be called again.
func (fs *FS) Unmount(t testing.TB) {
	t.Helper()
	if fs.Dir == "" {
		return
	}
	if err := run("umount", fs.Dir); err != nil {
		t.Error(err)
		if err := run("umount", "--lazy", fs.Dir); err != nil {
			t.Error(err)
			return
		}
	}
	if err := os.Remove(fs.Dir); err != nil {
		t.Error(err)
	}
	fs.Dir = ""
}

// Copy copies a file of this file system, which another one uses as its disk, as it
// is at one instant after the call. The copy is sparse.
func (fs *FS) Copy(t testing.TB, from, to string) {
	t.Helper()
	d, err := os.Open(fs.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.IoctlSetInt(int(d.Fd()), ioctlFreeze, 0); err != nil {
		t.Fatalf("freeze %s: %v", fs.Dir, err)
	}
	defer func() {
		if err := unix.IoctlSetInt(int(d.Fd()), ioctlThaw, 0); err != nil {
			t.Fatalf("thaw %s: %v", fs.Dir, err)
		}
	}()
	if err := copySparse(from, to); err != nil {
		t.Error(err) // not Fatal: thaw first
	}
}

// CopySparse copies a file that nobody writes to, without its holes.
func CopySparse(t testing.TB, from, to string) {
	t.Helper()
	if err := copySparse(from, to); err != nil {
		t.Fatal(err)
	}
}

func copySparse(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(st.Size()); err != nil {
		return err
	}
	for end := int64(0); ; {
		begin, err := src.Seek(end, unix.SEEK_DATA)
		if err != nil { // ENXIO: no more data
			break
		}
		if end, err = src.Seek(begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(dst, src, begin, end-begin); err != nil {
			return err
		}
	}
	return dst.Close()
}

func copyRange(dst, src *os.File, at, n int64) error {
	_, err := io.Copy(io.NewOffsetWriter(dst, at), io.NewSectionReader(src, at, n))
	return err
}

// sweep unmounts what killed tests have left.
func sweep() {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return
	}
	// The last one first: it may lie on one before it.
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) < 2 || !strings.HasPrefix(filepath.Base(fields[1]), dirPrefix) {
			continue
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(fields[1]), dirPrefix), "-")
		pid, err := strconv.Atoi(text)
		if err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		if d, err := os.Open(fields[1]); err == nil {
			_ = unix.IoctlSetInt(int(d.Fd()), ioctlThaw, 0) // it fails unless it is frozen
			d.Close()
		}
		if run("umount", "--lazy", fields[1]) == nil {
			_ = os.Remove(fields[1])
		}
	}
}

func run(name string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), name, args...) // its own bound is the test's
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// Fill writes a file of ballast that leaves about so many bytes free, and returns
// its path.
func (fs *FS) Fill(t testing.TB, leave int64) (ballast string) {
	t.Helper()
	ballast = filepath.Join(fs.Dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at int64
	for step := int64(64 << 20); step >= 4096; {
		n := min(step, fs.Free(t)-leave)
		if n < 4096 || unix.Fallocate(int(f.Fd()), 0, at, n) != nil {
			step /= 2
			continue
		}
		at += n
	}
	return ballast
}

// Free gives the bytes that are free.
func (fs *FS) Free(t testing.TB) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(fs.Dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}
