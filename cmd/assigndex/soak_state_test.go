package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Bounds of how much more a server may take at the end than when it was warm.
const (
	soakHeapShare = 0.5 // of the heap when warm, and
	// more: the cache of blocks fills up to 64 MiB, and Badger keeps some hundreds that its
	// compactions made tables in, and gives them back when it has been idle for a while
	soakHeapBytes  = 384 << 20
	soakGoroutines = 8
	soakHandles    = 8        // sockets and the like
	soakDeleted    = 4        // files that are deleted and still open
	soakEventBytes = 4 << 10  // on disk, for each event: the stream, and what the window keeps
	soakSlack      = 96 << 20 // on disk: logs and tables before they are compacted
)

// soakLooks is how often a server at rest is looked at, and soakBetween the time
// between two looks.
const soakLooks, soakBetween = 20, 100 * time.Millisecond

const (
	openFiles   = "/proc/self/fd"
	deletedFile = " (deleted)" // what Linux adds to the name
	bytesOfMB   = 1 << 20
)

// soakState is what a server takes at rest.
type soakState struct {
	heap       int64 // bytes in use, after collections
	goroutines int
	handles    int // open files that are none of the data directory; 0 where the system does not tell
	files      int // open files of the data directory
	deleted    int // those of them that are deleted
	disk       int64
}

// rest looks at the server some times while nothing goes on, and takes the least of
// each: connections take a moment to end.
func (s *soak) rest() (least soakState) {
	s.Helper()
	again := time.NewTicker(soakBetween)
	defer again.Stop()
	for i := range soakLooks {
		<-again.C
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := soakState{heap: int64(m.HeapInuse), goroutines: runtime.NumGoroutine()}
		now.handles, now.files, now.deleted = s.open()
		now.disk = s.disk()
		if i == 0 {
			least = now
		}
		least = soakState{
			heap: min(least.heap, now.heap), goroutines: min(least.goroutines, now.goroutines), handles: min(least.handles, now.handles),
			files: min(least.files, now.files), deleted: min(least.deleted, now.deleted), disk: min(least.disk, now.disk),
		}
	}
	return least
}

// open counts the open files of the process.
func (s *soak) open() (others, files, deleted int) {
	entries, err := os.ReadDir(openFiles)
	if err != nil {
		return 0, 0, 0 // not Linux
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(openFiles, e.Name()))
		switch {
		case err != nil: // the directory itself, closed by now
		case !strings.HasPrefix(target, s.n.cfg.DataDir):
			others++
		default:
			files++
			if strings.HasSuffix(target, deletedFile) {
				deleted++
			}
		}
	}
	return others, files, deleted
}

// disk gives the size of the files in the data directory. Those that Badger maps are
// counted with the room that they are to grow into.
func (s *soak) disk() (bytes int64) {
	err := filepath.WalkDir(s.n.cfg.DataDir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil { // or it is gone meanwhile
				bytes += info.Size()
			}
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return bytes
}

func (s soakState) report(b *testing.B, when string) {
	b.ReportMetric(float64(s.heap)/bytesOfMB, when+"-heap-MB")
	b.ReportMetric(float64(s.goroutines), when+"-goroutines")
	b.ReportMetric(float64(s.handles+s.files), when+"-open-files")
	b.ReportMetric(float64(s.disk)/bytesOfMB, when+"-disk-MB")
}

// beyond tells what has grown past its bound.
func (s soakState) beyond(warm soakState, events int64) (all []string) {
	for _, c := range []struct {
		name      string
		was, now  int64
		may, unit int64
	}{
		{"heap MB", warm.heap, s.heap, int64(soakHeapShare*float64(warm.heap)) + soakHeapBytes, bytesOfMB},
		{"goroutines", int64(warm.goroutines), int64(s.goroutines), soakGoroutines, 1},
		{"open files beside the data", int64(warm.handles), int64(s.handles), soakHandles, 1},
		{"deleted files held open", int64(warm.deleted), int64(s.deleted), soakDeleted, 1},
		{"disk MB", warm.disk, s.disk, events*soakEventBytes + soakSlack, bytesOfMB},
	} {
		if c.now-c.was > c.may {
			all = append(all, fmt.Sprintf("%s: %d after the warm-up, %d at the end; may grow by %d", c.name, c.was/c.unit, c.now/c.unit, c.may/c.unit))
		}
	}
	return all
}
