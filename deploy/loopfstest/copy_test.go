//go:build linux

package loopfstest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/assigndex/assigndex/deploy/loopfstest"
)

// TestACopyHoldsWhatWasSyncedAndNothingElse shows that a copy is a power cut: a
// file that was written and not synced is not in it.
func TestACopyHoldsWhatWasSyncedAndNothingElse(t *testing.T) {
	outer := loopfstest.New(t, t.TempDir(), 256<<20)
	disk := filepath.Join(outer.Dir, "inner.img")
	loopfstest.Format(t, disk, 64<<20)
	inner := loopfstest.Mount(t, disk)
	write := func(name string, sync bool) {
		t.Helper()
		f, err := os.Create(filepath.Join(inner.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(name); err != nil {
			t.Fatal(err)
		}
		if sync {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("unsynced", false)
	write("synced", true)
	copied := filepath.Join(t.TempDir(), "copy.img")
	outer.Copy(t, disk, copied)
	cut := loopfstest.Mount(t, copied)
	if got, err := os.ReadFile(filepath.Join(cut.Dir, "synced")); err != nil || string(got) != "synced" {
		t.Errorf("the synced file holds %q, %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(cut.Dir, "unsynced")); len(got) > 0 {
		t.Errorf("the file that was not synced holds %q, %v", got, err)
	}
	cut.Unmount(t)
	inner.Unmount(t) // before the one that holds its disk
}
